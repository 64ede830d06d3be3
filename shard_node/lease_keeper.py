"""The node's lease, kept: acquired, renewed, and acted upon when it is lost (design, section 3)."""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from director.contract.clock import FleetClock
from director.contract.errors import ControlPathUnavailable, ErrorCode
from director.contract.ids import Incarnation, RoomId
from director.contract.lease import Forgotten, LeaseTimings, Lost, NodeLease, NodeLeases, NodeState, Renewed
from director.contract.ownership import Claimed, Outrun, RoomOwners, RoomRecord
from persistence.contract.store import StoreUnavailable
from shard_node.core.lease_guard import DropRooms, Renew, Serve, StopAccepting, Verdict, judge
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom

_log = structlog.get_logger()


class LeaseKeeper:
    """Keeps one node's lease. Before `acquired` nothing may be served.

    `step` may be called at any time and as often as wanted: it renews when a renewal is due.
    """

    def __init__(
        self,
        lease: NodeLease,
        *,
        leases: NodeLeases,
        owners: RoomOwners,
        host: RoomHost,
        clock: FleetClock,
        timings: LeaseTimings,
        now: Callable[[], float],
        new_incarnation: Callable[[], Incarnation],
        joins_per_second: Callable[[], float],
    ) -> None:
        self.lease = lease
        self.acquired = asyncio.Event()
        self._leases = leases
        self._owners = owners
        self._host = host
        self._clock = clock
        self._timings = timings
        self._now = now
        self._new_incarnation = new_incarnation
        self._joins_per_second = joins_per_second
        self._generation = ""
        self._asserted = ""
        self._redis_at = float("-inf")
        self._store_at: float | None = None
        self._stopping = False
        host.incarnation = lease.incarnation

    def verdict(self) -> Verdict:
        """What the node may do at this moment. Asks nobody."""
        return judge(now=self._now(), redis_at=self._redis_at, store_at=self._store_at, timings=self._timings)

    @property
    def redis_age(self) -> float:
        """Seconds since the last renewal that Redis confirmed was sent; infinite before the first."""
        return self._now() - self._redis_at

    def may_admit(self) -> bool:
        """Whether a member may join a room that is open."""
        return not self._stopping and isinstance(self.verdict(), Serve | Renew)

    def may_open(self) -> bool:
        """Whether a further room may be opened."""
        match self.verdict():
            case Serve(may_open):
                return may_open and not self._stopping
            case Renew():
                return not self._stopping
            case StopAccepting() | DropRooms():
                return False

    async def run(self) -> None:
        """Keep the lease until cancelled."""
        while True:
            started_at = self._now()
            await self.step()
            await asyncio.sleep(max(0.05, started_at + self._timings.renew - self._now()))

    async def step(self) -> None:
        """Ask Redis once, and the store if Redis is silent; then do what the guard says. Nothing after `release`."""
        if self._stopping:
            return
        try:
            await (self._renew() if self.acquired.is_set() else self._acquire())
        except ControlPathUnavailable as error:
            _log.warning("lease_unanswered", why=str(error))
            await self._confirm_at_store()
        if self.acquired.is_set() and isinstance(self.verdict(), DropRooms) and len(self._host):
            _log.error("rooms_dropped", why="neither Redis nor the store has answered in time")
            self._lose()

    async def drain(self) -> None:
        """Take no further rooms, and tell the directors at once."""
        self.lease = msgspec.structs.replace(self.lease, state=NodeState.DRAINING)
        await self.step()

    async def release(self) -> None:
        """Admit nobody any more and give the lease up, so that the rooms can be given to others at once."""
        self._stopping = True
        self.lease = msgspec.structs.replace(self.lease, state=NodeState.DRAINING)
        try:
            await self._leases.release(self.lease.node, self.lease.incarnation)
        except ControlPathUnavailable as error:
            _log.warning("lease_not_released", why=str(error))

    async def _acquire(self) -> None:
        sent_at = self._now()
        answer = await self._leases.acquire(self._newest_lease(), expire=self._timings.expire)
        if self._stopping:
            return
        match answer:
            case Renewed() as renewed:
                self._take(renewed, sent_at)
                self.acquired.set()
                _log.info("lease_acquired", node=self.lease.node, incarnation=self.lease.incarnation)
            case Lost():
                self._lose()

    async def _renew(self) -> None:
        sent_at = self._now()
        counts = self._host.changed_counts()
        answer = await self._leases.renew(self._newest_lease(), expire=self._timings.expire, members=counts)
        if self._stopping:
            return  # the lease was given up meanwhile: that it is gone is no loss
        match answer:
            case Renewed():
                self._take(answer, sent_at)
                self._host.note_reported(counts)
            case Lost():
                self._lose()
                await self._acquire()
            case Forgotten(generation):
                _log.warning("lease_forgotten", generation=generation)
                self._asserted = ""
                await self._acquire()
        # A lease outlives what befalls Redis more easily than records do: in a new generation they are told anew.
        if self._asserted != self._generation:
            await self._assert_rooms()

    def _lose(self) -> None:
        self._host.tally.leases_lost += 1
        _log.error("lease_lost", node=self.lease.node, incarnation=self.lease.incarnation)
        self._host.drop_all(ErrorCode.LEASE_LOST)
        self._begin_anew()

    def _begin_anew(self) -> None:
        incarnation = self._new_incarnation()
        self.lease = msgspec.structs.replace(self.lease, incarnation=incarnation)
        self._host.incarnation = incarnation
        self.acquired.clear()

    async def _assert_rooms(self) -> None:
        """Write the records again of all rooms that the store confirms to be ours: another may have had one since."""
        generation = self._generation
        try:
            await self._host.confirm_rows()
        except StoreUnavailable as error:
            _log.warning("rooms_not_asserted", why=str(error))
            return
        asserted = list(self._host)
        answers = await self._owners.assert_owned([_counted(hosted) for hosted in asserted])
        for hosted, answer in zip(asserted, answers, strict=True):
            room = RoomId(hosted.record.room)
            match answer:
                case Claimed():
                    pass
                case Outrun():
                    # of a frozen room its departure finds out
                    if self._host.room_of(room) is hosted and not hosted.is_frozen:
                        self._host.drop(room, ErrorCode.NOT_OWNER)
        self._asserted = generation

    async def _confirm_at_store(self) -> None:
        sent_at = self._now()
        try:
            async with asyncio.timeout(self._timings.renew):
                await self._host.confirm_rows()
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("store_unanswered", why=repr(error))
        else:
            self._store_at = sent_at

    def _take(self, renewed: Renewed, sent_at: float) -> None:
        self._generation = renewed.generation
        self._redis_at = sent_at
        self._clock.take(renewed.server_at_ms, sent_at=sent_at, received_at=self._now())

    def _newest_lease(self) -> NodeLease:
        return msgspec.structs.replace(
            self.lease,
            rooms=len(self._host),
            members=sum(len(hosted.members) for hosted in self._host),
            store_ok=self._host.store_ok,
            joins_per_second=self._joins_per_second(),
        )


def _counted(hosted: HostedRoom) -> RoomRecord:
    """The room's record with its members as they are: a Redis that forgot it forgot them, too."""
    members = len(hosted.members)
    return msgspec.structs.replace(hosted.record, members=members, peak=max(hosted.record.peak, members))
