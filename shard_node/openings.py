"""Openings: how a room becomes this node's, by fencing the store, and how its record is given back."""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.ids import Incarnation, LogId, NodeName, RoomId
from director.contract.ownership import Claimed, Outrun, RoomOwners, RoomRecord
from persistence.contract.store import Behind, Opened, RoomHistory, RoomLog, StoreUnavailable
from shard_node.contract.events import MAX_ANSWER_BYTES, MAX_RECOVERED
from shard_node.core.room import Room
from shard_node.core.tally import NodeTally
from shard_node.hosted_room import HostedRoom

OPEN_WITHIN = 3.0
MAX_CLAIMS = 3
STORE_DOUBTED_FOR = 10.0

_log = structlog.get_logger()


class Openings:
    """One opening at a time for each room, and none before its record has been given back. `may_open` is the lease
    guard's word."""

    def __init__(
        self,
        *,
        node: NodeName,
        log: RoomLog,
        history: RoomHistory,
        owners: RoomOwners,
        now: Callable[[], float],
        new_log: Callable[[], LogId],
        may_open: Callable[[], bool],
        cpu: Callable[[], float] | None,
        tally: NodeTally,
    ) -> None:
        self.node = node
        self.incarnation = Incarnation("")
        self._log = log
        self._history = history
        self._owners = owners
        self._now = now
        self._new_log = new_log
        self._may_open = may_open
        self._cpu = cpu
        self._tally = tally
        self._opening: dict[RoomId, asyncio.Task[HostedRoom]] = {}
        self._closing: dict[RoomId, asyncio.Task[None]] = {}
        self._store_failed_at: float | None = None

    @property
    def store_ok(self) -> bool:
        """Whether no opening has failed at the store in the last 10 s; directors prefer nodes that say so."""
        return self._store_failed_at is None or self._now() - self._store_failed_at > STORE_DOUBTED_FOR

    def is_opening(self, room: RoomId) -> bool:
        """Whether the room is being opened now."""
        return room in self._opening

    async def open(self, room: RoomId, record: RoomRecord | None, on_open: Callable[[HostedRoom], None]) -> HostedRoom:
        """The room, opened; `on_open` is called once for each, in the step in which it may be served.

        Raises Refusal as RoomHost.open says. A caller that is cancelled leaves the opening to the others."""
        task = self._opening.get(room)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._open(room, record, on_open), name=f"open {room}")
            self._opening[room] = task
            task.add_done_callback(partial(self._opened, room))
        return await asyncio.shield(task)

    def _opened(self, room: RoomId, task: asyncio.Task[HostedRoom]) -> None:
        del self._opening[room]
        if not task.cancelled():
            problem = task.exception()  # taken by whoever waits; nobody may
            outcome = problem.code.lower() if isinstance(problem, Refusal) else "failed"
            self._tally.opened["opened" if problem is None else outcome] += 1

    async def _open(self, room: RoomId, record: RoomRecord | None, on_open: Callable[[HostedRoom], None]) -> HostedRoom:
        hosted = await self.fence(room, record)
        on_open(hosted)
        _log.info("room_opened", room=room, epoch=hosted.room.epoch, head=hosted.room.head)
        return hosted

    async def fence(self, room: RoomId, record: RoomRecord | None) -> HostedRoom:
        """The room as the store has it from now on, when no other owner's word counts there. When this returns the
        guard has just said that it may be served.

        Raises Refusal as RoomHost.open says; at a store that does not do it, the record has been given back."""
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
                    raise not_owner(room)
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
                await self._release(held[-1])
            raise Refusal(
                ErrorCode.STORE_UNAVAILABLE, "the store does not open the room now; try again", retry_after_ms=1000
            ) from error
        if incarnation != self.incarnation or not self._may_open():
            raise not_owner(room)
        self._store_failed_at = None
        return hosted

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
                    return HostedRoom(record, room, now=self._now, cpu=self._cpu, tally=self._tally)
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
                            raise not_owner(record.room)
        raise not_owner(held[-1].room)

    # giving back

    def give_back(self, record: RoomRecord) -> None:
        """Have the record removed; the room is not opened anew before."""
        task = asyncio.get_running_loop().create_task(self._release(record))
        self._closing[record.room] = task
        task.add_done_callback(partial(self._closed, record.room))

    def _closed(self, room: RoomId, task: asyncio.Task[None]) -> None:
        del self._closing[room]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("release_failed", room=room, why=repr(error))

    async def _release(self, record: RoomRecord) -> None:
        try:
            await self._owners.release(
                record.room, node=record.owner, incarnation=record.incarnation, epoch=record.epoch
            )
        except ControlPathUnavailable:
            # the record stays: the next one who comes finds it, and the room opens again
            _log.warning("release_unanswered", room=record.room, epoch=record.epoch)
        else:
            _log.info("room_closed", room=record.room, epoch=record.epoch)


def not_owner(room: RoomId) -> Refusal:
    """The room is another's."""
    return Refusal(ErrorCode.NOT_OWNER, f"this node does not own {room}; ask the director")
