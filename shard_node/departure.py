"""Departure: one room's planned move to another node, as its owner carries it out.

1. Wait until the target is warm.
2. Freeze the room: what is said is held. Wait until the store has settled all that was put to it before.
3. Hand over: the record names the target from here on.
4. Wait until the store's row names the target, too: then the room has moved, and not before.
5. Where the target does not open the room, take it back with a new epoch and go on as if nothing had been.

At every moment at most one node's word counts, by the store's row; so whatever fails, and whoever dies, the room is
served here as before, or by whom the store says, or dropped here to be asked for at the director.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.lease import NodeLease, NodeLeases
from director.contract.ownership import Claimed, Outrun, RoomOwners, RoomRecord, Settling, Unfit
from persistence.contract.store import RoomLog, StoreUnavailable
from shard_node.farewell import NewHome
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom

WARM_WITHIN = 3.0
SETTLE_WITHIN = 1.0
OPEN_WITHIN = 3.0
ANSWER_WITHIN = 1.0
LOOK_EVERY = 0.02
MIN_LOOK = 0.5


@dataclass(frozen=True, slots=True)
class HasMoved:
    """The room is the target's, as the store says. `hosted` is what this node had of it, None if it was not open."""

    hosted: HostedRoom | None
    home: NewHome


@dataclass(frozen=True, slots=True)
class Stays:
    """The room is served here as before."""

    why: str


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The room was the target's for a moment, by the record, and is served here as before."""


@dataclass(frozen=True, slots=True)
class IsLost:
    """The room is somebody else's; it has been dropped here."""


Ended = HasMoved | Stays | TakenBack | IsLost


class Departure:
    """Carries out the move that `record` asks of this node. Whatever `run` returns, and also if it is cancelled, the
    room is not frozen afterwards, unless it HasMoved: then the caller says farewell in the same step."""

    def __init__(
        self,
        record: RoomRecord,
        *,
        host: RoomHost,
        owners: RoomOwners,
        log: RoomLog,
        leases: NodeLeases,
        now: Callable[[], float],
    ) -> None:
        self.record = record
        self.newest = record
        self.frozen_at: float | None = None
        self._is_gone = self._is_blind = False
        self._host = host
        self._owners = owners
        self._rows = log
        self._leases = leases
        self._now = now
        self._news = asyncio.Event()

    def hear(self, record: RoomRecord) -> None:
        """The room's record has changed."""
        if record.version >= self.newest.version or record.epoch > self.newest.epoch:
            self.newest = record
        self._news.set()

    def hear_gone(self) -> None:
        """The room's record was removed."""
        self._is_gone = True
        self._news.set()

    @property
    def unheeded(self) -> RoomRecord | None:
        """The newest record, if it is about something else than this move."""
        return None if _aim_of(self.newest) == _aim_of(self.record) else self.newest

    async def run(self) -> Ended:
        """From the asking to the end, one way or the other."""
        try:
            to = await self._until_warm()
        except ControlPathUnavailable:
            to = "Redis does not say where the target is"
        if not self._is_wanted:
            return Stays("the move was cancelled")
        if isinstance(to, str):
            return await self._stay(None, to)
        hosted = await self._opened()
        if hosted is None:
            return await self._give_unopened(to)
        self._host.freeze(hosted)
        self.frozen_at = self._now()
        ended: Ended = Stays("it was interrupted")
        try:
            ended = await self._move(hosted, to)
            return ended
        finally:
            if not isinstance(ended, HasMoved):
                self._host.thaw(hosted)

    # before the freeze

    async def _until_warm(self) -> NodeLease | str:
        """The target's lease, when it is ready; or why nothing comes of it."""
        try:
            async with asyncio.timeout(WARM_WITHIN):
                live = await self._leases.live_nodes()
                while not self.newest.is_warm:
                    self._news.clear()
                    if not self._is_wanted:
                        return "nobody wants it"
                    await self._news.wait()
        except TimeoutError:
            return "the target did not get ready in time"
        wanted = (self.record.target, self.record.target_incarnation)
        found = [it.lease for it in live.nodes if (it.lease.node, it.lease.incarnation) == wanted]
        return found[0] if found else "the target holds no lease"

    @property
    def _is_wanted(self) -> bool:
        """Whether the newest record asks for this very move."""
        return not self._is_gone and self.unheeded is None

    async def _opened(self) -> HostedRoom | None:
        room = self.record.room
        if self._host.is_opening(room):
            with suppress(Refusal):
                return await self._host.open(room, self.record)
        return self._host.room_of(room)

    async def _give_unopened(self, to: NodeLease) -> Ended:
        """A room that nobody is in, nor was any asked for: its record is all there is to hand over."""
        try:
            match await self._owners.hand_over(self.record):
                case Claimed(theirs):
                    return HasMoved(None, NewHome(to, theirs.epoch))
                case Unfit():
                    return Stays("the target has lost its lease")
                case Outrun():
                    return Stays("the move was cancelled")
        except ControlPathUnavailable:
            return Stays("Redis does not answer")

    # frozen

    async def _move(self, hosted: HostedRoom, to: NodeLease) -> Ended:
        try:
            async with asyncio.timeout(SETTLE_WITHIN):
                await hosted.until_settled()
        except TimeoutError:
            return await self._stay(hosted, "the store does not settle what was said")
        if not self._is_here(hosted):
            return IsLost()
        try:
            match await self._owners.hand_over(self.record):
                case Claimed(record):
                    theirs: RoomRecord | None = record
                case Unfit():
                    return await self._stay(hosted, "the target has lost its lease")
                case Outrun(record):
                    theirs = record
        except ControlPathUnavailable:
            theirs = await self._standing()
        if theirs is None or theirs.epoch <= hosted.room.epoch:
            return await self._stay(hosted, "it could not be handed over")
        if (theirs.owner, theirs.incarnation) != (self.record.target, self.record.target_incarnation):
            return self._lose(hosted)
        return await self._until_moved(hosted, to, theirs)

    async def _standing(self) -> RoomRecord | None:
        """The record after an answer that was lost, as it was heard or is read within a second; None if nobody says."""
        deadline = self._now() + ANSWER_WITHIN
        while self.newest.epoch <= self.record.epoch:
            try:
                return await self._owners.room_record(self.record.room)
            except ControlPathUnavailable:
                if self._now() >= deadline:
                    return None
            await self._wait(LOOK_EVERY)
        return self.newest

    async def _until_moved(self, hosted: HostedRoom, to: NodeLease, theirs: RoomRecord) -> Ended:
        deadline = self._now() + OPEN_WITHIN
        while True:
            seen = await self._look(hosted, to, within=deadline - self._now())
            if seen is not None:
                return seen
            if self._is_gone:  # by a target that could not open it
                return await self._take_back(hosted, to, theirs)
            if self._now() >= deadline:
                # who does not see the row could not serve the room, and must not take it from one who perhaps does
                return self._lose(hosted) if self._is_blind else await self._take_back(hosted, to, theirs)
            await self._wait(LOOK_EVERY)

    async def _look(self, hosted: HostedRoom, to: NodeLease, *, within: float) -> Ended | None:
        """What the room's row says; None if the room is ours still, or (then it `_is_blind`) the store says nothing."""
        room = self.record.room
        self._is_blind = True
        try:
            async with asyncio.timeout(max(MIN_LOOK, within)):
                row = (await self._rows.row_states([room])).get(room)
        except (StoreUnavailable, TimeoutError):
            return None
        self._is_blind = False
        if not self._is_here(hosted):
            return IsLost()
        if row is None or row.log != hosted.room.log:
            return self._lose(hosted)
        if (row.epoch, row.incarnation) == (hosted.room.epoch, hosted.record.incarnation):
            return None
        if row.incarnation == self.record.target_incarnation:
            return HasMoved(hosted, NewHome(to, row.epoch))
        return self._lose(hosted)

    async def _take_back(self, hosted: HostedRoom, to: NodeLease, theirs: RoomRecord) -> Ended:
        """Become the owner again. If nobody says whether that worked, go on as before: the store has seen no other."""
        deadline = self._now() + ANSWER_WITHIN
        while True:
            try:
                answer = await self._claim_again(theirs)
            except ControlPathUnavailable:
                answer = None
            if not self._is_here(hosted):
                return IsLost()
            match answer:
                case Claimed(ours):
                    return TakenBack() if await self._host.reopen(hosted, ours) else IsLost()
                case Outrun(RoomRecord() as standing) if self._is_ours(standing):
                    return TakenBack() if await self._host.reopen(hosted, standing) else IsLost()
                case Outrun(RoomRecord()):
                    return await self._look(hosted, to, within=ANSWER_WITHIN) or self._lose(hosted)
                case Outrun() | Unfit() | Settling() | None:
                    if self._now() >= deadline:
                        return Stays("it could not be taken back, and nobody else has it")
            await self._wait(LOOK_EVERY)

    async def _claim_again(self, theirs: RoomRecord) -> Claimed | Outrun | Unfit | Settling:
        host, room = self._host, theirs.room
        answer = await self._owners.take_back(theirs, node=host.node, incarnation=host.incarnation)
        if answer == Outrun(None):  # the target has given it back
            return await self._owners.claim(
                room, node=host.node, incarnation=host.incarnation, replacing=None, why="taken_back"
            )
        return answer

    # ends

    async def _stay(self, hosted: HostedRoom | None, why: str) -> Stays:
        if hosted is not None:
            self._host.thaw(hosted)
        # also where the record has no target by what is known here: an order that was given up may come true late
        with suppress(ControlPathUnavailable):
            await self._owners.cancel_move(self.record)
        return Stays(why)

    def _lose(self, hosted: HostedRoom) -> IsLost:
        if self._is_here(hosted):
            self._host.drop(self.record.room, ErrorCode.NOT_OWNER)
        return IsLost()

    def _is_here(self, hosted: HostedRoom) -> bool:
        return self._host.room_of(self.record.room) is hosted

    def _is_ours(self, record: RoomRecord) -> bool:
        return (record.owner, record.incarnation) == (self._host.node, self._host.incarnation)

    async def _wait(self, seconds: float) -> None:
        """Until there is news, or so long."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()


def _aim_of(record: RoomRecord) -> tuple[object, ...]:
    return record.owner, record.incarnation, record.epoch, record.target, record.target_incarnation
