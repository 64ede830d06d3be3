"""The rooms that this node owns: opened by fencing the store, ended when the store or the lease says so."""

from collections.abc import Callable, Iterator

import structlog

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Incarnation, LogId, NodeName, RoomId
from director.contract.ownership import RoomOwners, RoomRecord
from persistence.contract.messages import Draft
from persistence.contract.store import Fenced, RoomHistory, RoomLog
from persistence.contract.writing import DraftWriter, Settled
from shard_node.contract.events import Bye
from shard_node.core.overload import Overload
from shard_node.core.room import Disallowed
from shard_node.core.tally import NodeTally
from shard_node.fanout.connection import Connection
from shard_node.fanout.members import Member
from shard_node.fanout.packets import event_packet
from shard_node.farewell import Farewell, Farewells
from shard_node.hosted_room import HostedRoom, OnOutcome
from shard_node.openings import Openings

_log = structlog.get_logger()


class RoomHost:
    """Opens, keeps and ends rooms. `may_open` is the lease guard's word, `end` ends a client in good order. `cpu`
    counts the seconds that this thread has run; `now` stands for it where there is none."""

    def __init__(
        self,
        *,
        node: NodeName,
        log: RoomLog,
        history: RoomHistory,
        owners: RoomOwners,
        writer: DraftWriter,
        now: Callable[[], float],
        new_log: Callable[[], LogId],
        may_open: Callable[[], bool],
        end: Callable[[Connection], None],
        cpu: Callable[[], float] | None = None,
    ) -> None:
        self.node = node
        self.overload = Overload()
        self.tally = NodeTally()
        self._log = log
        self._writer = writer
        self._now = now
        self._may_open = may_open
        self._end = end
        self._openings = Openings(
            node=node,
            log=log,
            history=history,
            owners=owners,
            now=now,
            new_log=new_log,
            may_open=may_open,
            cpu=cpu,
            tally=self.tally,
        )
        self._rooms: dict[RoomId, HostedRoom] = {}
        self.farewells = Farewells()
        self._reported: dict[RoomId, int] = {}

    def __iter__(self) -> Iterator[HostedRoom]:
        return iter(list(self._rooms.values()))

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def incarnation(self) -> Incarnation:
        """The node's; rooms are opened as its."""
        return self._openings.incarnation

    @incarnation.setter
    def incarnation(self, incarnation: Incarnation) -> None:
        self._openings.incarnation = incarnation

    def room_of(self, room: RoomId) -> HostedRoom | None:
        """The room, if it is open here."""
        return self._rooms.get(room)

    def pace_of(self, room: RoomId) -> float:
        """How far apart the room's batches are to start, in seconds; a room that is not open here need not wait."""
        hosted = self._rooms.get(room)
        return 0.0 if hosted is None else hosted.pace_in(self.overload.mode)

    # opening

    async def open(self, room: RoomId, record: RoomRecord | None = None) -> HostedRoom:
        """The room, opened if need be; one opening at a time for each room. Without `record` Redis is asked for it.

        Raises Refusal: NOT_OWNER if another owns it, OWNER_UNCONFIRMED if nobody can say, STORE_UNAVAILABLE if the
        store does not open it within 3 s (the room is then given back, so that the director can take another node),
        MOVED if it has just moved away. A caller that is cancelled leaves the opening to the others."""
        hosted = self._rooms.get(room)
        if hosted is not None:
            return hosted
        if record is None and self.farewells.has(room) and not self._openings.is_opening(room):
            raise Refusal(ErrorCode.MOVED, "the room has moved to another node; ask the director")
        return await self._openings.open(room, record, self._take_in)

    def _take_in(self, hosted: HostedRoom) -> None:
        self._rooms[hosted.record.room] = hosted

    def is_opening(self, room: RoomId) -> bool:
        """Whether the room is being opened now."""
        return self._openings.is_opening(room)

    @property
    def store_ok(self) -> bool:
        """Whether no opening has failed at the store in the last 10 s; directors prefer nodes that say so."""
        return self._openings.store_ok

    # members

    def add(self, hosted: HostedRoom, member: Member) -> None:
        """Register a member in the step in which it is told the head."""
        hosted.add(member)

    def remove(self, hosted: HostedRoom, connection: Connection) -> None:
        """A connection left; idempotent."""
        hosted.remove(connection)
        farewell = self.farewells.of(hosted)
        if farewell is not None:
            farewell.left()

    def changed_counts(self) -> dict[RoomId, int]:
        """Members of the rooms in which their number differs from what was last reported."""
        counts = {room: len(hosted.members) for room, hosted in self._rooms.items()}
        return {room: count for room, count in counts.items() if self._reported.get(room) != count}

    def note_reported(self, counts: dict[RoomId, int]) -> None:
        """The director has been told these."""
        self._reported = {room: n for room, n in {**self._reported, **counts}.items() if room in self._rooms}

    # messages

    def post(self, hosted: HostedRoom, draft: Draft, on_outcome: OnOutcome) -> Disallowed | None:
        """Put a draft to the store, behind all that were posted before; `on_outcome` is called once, later.

        Raises Refusal with BUSY or FROZEN if too many wait. A draft that the room's mode forbids is answered with
        Disallowed, and not put. In a frozen room it waits until the room is thawed or has moved; then `on_outcome` may
        be given Disallowed, too."""
        disallowed = self._judge(hosted, draft)
        if disallowed is not None:
            return disallowed
        if hosted.is_frozen:
            hosted.hold(draft, on_outcome)
        elif not self._put(hosted, draft, on_outcome):
            raise _too_many()
        return None

    def _judge(self, hosted: HostedRoom, draft: Draft) -> Disallowed | None:
        match hosted.room.post(draft, self._now()):
            case Disallowed() as disallowed if not hosted.is_asked(draft):
                return disallowed
            case _:
                return None

    def _put(self, hosted: HostedRoom, draft: Draft, on_outcome: OnOutcome) -> bool:
        hosted.wait_for(draft, on_outcome)
        record = hosted.record
        epoch, head = hosted.room.epoch, hosted.room.head
        if self._writer.put(record.room, draft, epoch=epoch, incarnation=record.incarnation, head=head):
            return True
        hosted.give_up(draft)
        return False

    def settled(self, settled: Settled) -> None:
        """Take the store's word for one room's batch: answers first, then one frame, in one step."""
        hosted = self._rooms.get(settled.room)
        if hosted is None or hosted.room.epoch != settled.epoch:
            return
        try:
            hosted.settle(settled.results)
        except ValueError:
            _log.exception("log_out_of_step", room=settled.room)
            self.drop(settled.room, ErrorCode.NOT_OWNER)
            return
        if any(isinstance(outcome, Fenced) for _, outcome in settled.results):
            self.tally.fenced += 1
            _log.warning("room_fenced", room=settled.room, epoch=settled.epoch)
            self.drop(settled.room, ErrorCode.NOT_OWNER)

    # moving away

    def freeze(self, hosted: HostedRoom) -> None:
        """Hold what is posted from now on, and let what was put be settled soon."""
        hosted.freeze()
        self._writer.hurry(hosted.record.room)

    def thaw(self, hosted: HostedRoom) -> None:
        """The room stays: what was held is put, in order. Nothing happens to one that is not frozen, or not here."""
        if self._rooms.get(hosted.record.room) is hosted and hosted.is_frozen:
            for draft, on_outcome in hosted.thaw():
                if not self._put(hosted, draft, on_outcome):
                    on_outcome(_too_many())

    async def reopen(self, hosted: HostedRoom, record: RoomRecord) -> bool:
        """Go on with a frozen room as the owner by `record`, which is of a later epoch: its members are shown what
        another owner has committed meanwhile, and then what was held is put. False if it came to be another's, or the
        store does not open it: the room has been dropped then."""
        room = record.room
        try:
            fresh = await self._openings.fence(room, record)
        except Refusal as refusal:
            _log.warning("room_not_reopened", room=room, code=refusal.code)
            fresh = None
        if self._rooms.get(room) is not hosted:
            return False
        if fresh is None or not hosted.go_on_as(fresh):
            self.drop(room, ErrorCode.NOT_OWNER)
            return False
        self._reported.pop(room, None)  # the record of the new epoch counts nobody yet
        _log.info("room_reopened", room=room, epoch=hosted.room.epoch, head=hosted.room.head)
        for draft, on_outcome in hosted.thaw():
            disallowed = self._judge(hosted, draft)
            if disallowed is not None:
                on_outcome(disallowed)
            elif not self._put(hosted, draft, on_outcome):
                on_outcome(_too_many())
        return True

    def depart(self, hosted: HostedRoom, farewell: Farewell) -> None:
        """The room has moved: it is served here no more, and its members go where the farewell sends them."""
        room = hosted.record.room
        del self._rooms[room]
        self.farewells.add(hosted, farewell)
        self._writer.forget(room, epoch=hosted.room.epoch)
        _log.info("room_departed", room=room, epoch=hosted.room.epoch, members=hosted.members.connections)

    # ending

    def drop(self, room: RoomId, code: ErrorCode, *, retry_after_ms: int = 0) -> None:
        """End a room that is no longer this node's: its members are sent back to the director. Idempotent."""
        hosted = self._rooms.pop(room, None)
        if hosted is None:
            return
        self.tally.dropped[code] += 1
        hosted.showing.stop()
        hosted.fail_waiting(code, "this node no longer serves the room; ask the director")
        self._writer.forget(room, epoch=hosted.room.epoch)
        for member in hosted.members:
            self.bye(member.connection, code, retry_after_ms=retry_after_ms)
        _log.info("room_dropped", room=room, epoch=hosted.room.epoch, code=code)

    def drop_all(self, code: ErrorCode, *, retry_after_ms: int = 0) -> None:
        """End all rooms."""
        for room in list(self._rooms):
            self.drop(room, code, retry_after_ms=retry_after_ms)

    def bye(self, connection: Connection, code: ErrorCode, *, retry_after_ms: int = 0) -> None:
        """Tell a client why and what to do, and disconnect it."""
        self.tally.byes[code] += 1
        connection.write(event_packet("bye", Bye(code, code.action, retry_after_ms)))
        self._end(connection)

    def close_idle(self, linger: float) -> None:
        """Close the rooms that nobody has been in for `linger` seconds, and have their records removed; logs stay.

        None is closed while none could be opened again."""
        if not self._may_open():
            return
        now = self._now()
        idle = [h for h in self._rooms.values() if h.is_idle and now - (h.empty_since or now) >= linger]
        for hosted in idle:
            room = hosted.record.room
            del self._rooms[room]
            self.tally.closed += 1
            self._writer.forget(room, epoch=hosted.room.epoch)
            self._openings.give_back(hosted.record)

    async def confirm_rows(self) -> None:
        """Ask the store whether the rooms are still ours, and drop those that are not. Raises StoreUnavailable."""
        asked = dict(self._rooms)
        states = await self._log.row_states(list(asked))
        for room, hosted in asked.items():
            state = states.get(room)
            if self._rooms.get(room) is not hosted or hosted.is_frozen:
                continue  # of a frozen room its departure finds out
            ours = (hosted.room.log, hosted.room.epoch, hosted.record.incarnation)
            if state is None or (state.log, state.epoch, state.incarnation) != ours:
                self.tally.fenced += 1
                self.drop(room, ErrorCode.NOT_OWNER)


def _too_many() -> Refusal:
    return Refusal(ErrorCode.BUSY, "the node has too many messages waiting; try again", retry_after_ms=500)
