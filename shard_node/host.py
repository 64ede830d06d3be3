"""The rooms that this node owns: opened by fencing the store, ended when the store or the lease says so."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

import structlog

from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.ids import Incarnation, LogId, NodeName, RoomId
from director.contract.ownership import Claimed, Outrun, RoomOwners, RoomRecord
from persistence.contract.messages import Draft
from persistence.contract.store import Behind, Fenced, Opened, RoomHistory, RoomLog, StoreUnavailable
from persistence.contract.writing import DraftWriter, Settled
from shard_node.contract.events import MAX_ANSWER_BYTES, MAX_RECOVERED, Bye
from shard_node.core.overload import Overload
from shard_node.core.room import Disallowed, Room
from shard_node.fanout.connection import Connection
from shard_node.fanout.members import Member
from shard_node.fanout.packets import event_packet
from shard_node.hosted_room import HostedRoom, OnOutcome

OPEN_WITHIN = 3.0
MAX_CLAIMS = 3
STORE_DOUBTED_FOR = 10.0

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
        self.incarnation = Incarnation("")
        self._log = log
        self._history = history
        self._owners = owners
        self._writer = writer
        self._now = now
        self._new_log = new_log
        self._may_open = may_open
        self._end = end
        self._cpu = cpu
        self._rooms: dict[RoomId, HostedRoom] = {}
        self._opening: dict[RoomId, asyncio.Task[HostedRoom]] = {}
        self._closing: dict[RoomId, asyncio.Task[None]] = {}
        self._reported: dict[RoomId, int] = {}
        self._store_failed_at: float | None = None
        self.overload = Overload()

    def __iter__(self) -> Iterator[HostedRoom]:
        return iter(list(self._rooms.values()))

    def __len__(self) -> int:
        return len(self._rooms)

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
        store does not open it within 3 s; the room is then given back, so that the director can take another node. A
        caller that is cancelled leaves the opening to the others."""
        hosted = self._rooms.get(room)
        if hosted is not None:
            return hosted
        task = self._opening.get(room)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._open(room, record), name=f"open {room}")
            self._opening[room] = task
            task.add_done_callback(lambda done: self._opened(room, done))
        return await asyncio.shield(task)

    def _opened(self, room: RoomId, task: asyncio.Task[HostedRoom]) -> None:
        del self._opening[room]
        if not task.cancelled():
            task.exception()  # taken by whoever waits; nobody may

    async def _open(self, room: RoomId, record: RoomRecord | None) -> HostedRoom:
        closing = self._closing.get(room)
        if closing is not None:
            await asyncio.wait([closing])
            record = None
        if not self._may_open():
            raise Refusal(
                ErrorCode.OWNER_UNCONFIRMED, "the node cannot confirm its lease now; try again", retry_after_ms=1000
            )
        incarnation = self.incarnation
        held: list[RoomRecord] = []
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                if record is None:
                    record = await self._owners.room_record(room)
                if record is None or (record.owner, record.incarnation) != (self.node, incarnation):
                    raise _not_owner(room)
                held = [record]
                hosted = await self._fence(held)
        except ControlPathUnavailable as error:
            raise Refusal(
                ErrorCode.OWNER_UNCONFIRMED, "who owns the room cannot be confirmed now; try again", retry_after_ms=1000
            ) from error
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("room_not_opened", room=room, why=repr(error))
            if held:
                self._store_failed_at = self._now()
                await self._release(held[-1], held[-1].epoch)
            raise Refusal(
                ErrorCode.STORE_UNAVAILABLE, "the store does not open the room now; try again", retry_after_ms=1000
            ) from error
        if incarnation != self.incarnation or not self._may_open():
            raise _not_owner(room)
        self._rooms[room] = hosted
        self._store_failed_at = None
        _log.info("room_opened", room=room, epoch=hosted.room.epoch, head=hosted.room.head)
        return hosted

    @property
    def store_ok(self) -> bool:
        """Whether no opening has failed at the store in the last 10 s; directors prefer nodes that say so."""
        return self._store_failed_at is None or self._now() - self._store_failed_at > STORE_DOUBTED_FOR

    async def _fence(self, held: list[RoomRecord]) -> HostedRoom:
        """Open the store as the last of the records `held`; a record claimed anew is added to them."""
        for _ in range(MAX_CLAIMS):
            record = held[-1]
            opened = await self._log.open_room(
                record.room, epoch=record.epoch, incarnation=record.incarnation, fresh_log=self._new_log()
            )
            match opened:
                case Opened(state):
                    page = await self._history.read_before(
                        record.room, before=None, limit=MAX_RECOVERED, max_bytes=MAX_ANSWER_BYTES
                    )
                    room = Room(record.room, state, page.entries)
                    return HostedRoom(record, room, now=self._now, cpu=self._cpu)
                case Behind(epoch):
                    answer = await self._owners.renew_claim(
                        record.room,
                        node=record.owner,
                        incarnation=record.incarnation,
                        epoch=record.epoch,
                        floor=epoch,
                    )
                    match answer:
                        case Claimed(renewed):
                            held.append(renewed)
                        case Outrun():
                            raise _not_owner(record.room)
        raise _not_owner(held[-1].room)

    # members

    def add(self, hosted: HostedRoom, member: Member) -> None:
        """Register a member in the step in which it is told the head."""
        hosted.add(member)

    def remove(self, hosted: HostedRoom, connection: Connection) -> None:
        """A connection left; idempotent."""
        hosted.remove(connection)

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

        Raises Refusal with BUSY if too many wait. A draft that the room's mode forbids is answered with Disallowed, and
        not put."""
        match hosted.room.post(draft, self._now()):
            case Disallowed() as disallowed if not hosted.is_asked(draft):
                return disallowed
            case _:
                pass
        hosted.wait_for(draft, on_outcome)
        record = hosted.record
        epoch, head = hosted.room.epoch, hosted.room.head
        if not self._writer.put(record.room, draft, epoch=epoch, incarnation=record.incarnation, head=head):
            hosted.give_up(draft)
            raise Refusal(ErrorCode.BUSY, "the node has too many messages waiting; try again", retry_after_ms=500)
        return None

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
            _log.warning("room_fenced", room=settled.room, epoch=settled.epoch)
            self.drop(settled.room, ErrorCode.NOT_OWNER)

    # ending

    def drop(self, room: RoomId, code: ErrorCode, *, retry_after_ms: int = 0) -> None:
        """End a room that is no longer this node's: its members are sent back to the director. Idempotent."""
        hosted = self._rooms.pop(room, None)
        if hosted is None:
            return
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
            self._writer.forget(room, epoch=hosted.room.epoch)
            task = asyncio.get_running_loop().create_task(self._release(hosted.record, hosted.room.epoch))
            self._closing[room] = task
            task.add_done_callback(partial(self._closed, room))

    def _closed(self, room: RoomId, task: asyncio.Task[None]) -> None:
        del self._closing[room]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("release_failed", room=room, why=repr(error))

    async def _release(self, record: RoomRecord, epoch: int) -> None:
        try:
            await self._owners.release(
                record.room, node=record.owner, incarnation=record.incarnation, epoch=record.epoch
            )
        except ControlPathUnavailable:
            # the record stays: the next one who comes finds it, and the room opens again
            _log.warning("release_unanswered", room=record.room, epoch=epoch)
        else:
            _log.info("room_closed", room=record.room, epoch=epoch)

    async def confirm_rows(self) -> None:
        """Ask the store whether the rooms are still ours, and drop those that are not. Raises StoreUnavailable."""
        asked = dict(self._rooms)
        states = await self._log.row_states(list(asked))
        for room, hosted in asked.items():
            state = states.get(room)
            if self._rooms.get(room) is not hosted:
                continue
            ours = (hosted.room.log, hosted.room.epoch, hosted.record.incarnation)
            if state is None or (state.log, state.epoch, state.incarnation) != ours:
                self.drop(room, ErrorCode.NOT_OWNER)


def _not_owner(room: RoomId) -> Refusal:
    return Refusal(ErrorCode.NOT_OWNER, f"this node does not own {room}; ask the director")
