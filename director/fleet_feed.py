"""What keeps the FleetView up to date: notices, a read of all leases each second, rooms and orders where needed."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

import structlog

from director.contract.clock import FleetClock
from director.contract.errors import ControlPathUnavailable
from director.contract.ids import NodeName
from director.contract.lease import LeaseTimings, NodeLeases
from director.contract.orders import Orders
from director.contract.ownership import Interrupted, NodeGone, Notice, RoomOwners
from director.fleet_view import FleetView

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

POLL_EVERY = 1.0

log = structlog.get_logger(__name__)


class FleetFeed:
    """Two loops for the process's TaskGroup, `follow` and `poll`; both outlive any outage of Redis.

    A node whose LeaseTimings differ from the director's own `timings` is named in the log. `on_death` is called when
    the notices tell of one, `on_notice` with every notice when the view has heard it.
    """

    def __init__(
        self,
        view: FleetView,
        owners: RoomOwners,
        leases: NodeLeases,
        orders: Orders,
        fleet_clock: FleetClock,
        *,
        monotonic: Callable[[], float],
        timings: LeaseTimings,
        on_death: Callable[[], None] = lambda: None,
        on_notice: Callable[[Notice | Interrupted], None] = lambda notice: None,
    ) -> None:
        self._view = view
        self._owners = owners
        self._leases = leases
        self._orders = orders
        self._fleet_clock = fleet_clock
        self._monotonic = monotonic
        self._timings = timings
        self._on_death = on_death
        self._on_notice = on_notice
        self._told: set[NodeName] = set()
        # While a snapshot is read no notice is applied: those after its number must come on top of it.
        self._turn = asyncio.Lock()
        self._is_answered: bool | None = None
        self._answered_at: float | None = None

    @property
    def redis_age(self) -> float:
        """Seconds since Redis last answered a read of the leases; infinite before the first."""
        return float("inf") if self._answered_at is None else self._monotonic() - self._answered_at

    async def follow(self) -> None:
        """Apply notices for ever."""
        notices = cast("AsyncGenerator[Notice | Interrupted, None]", self._owners.notices())
        async with aclosing(notices):
            async for notice in notices:
                async with self._turn:
                    self._view.hear(notice, now=self._monotonic())
                    await self._reload()
                self._on_notice(notice)
                if isinstance(notice, NodeGone):
                    self._on_death()

    async def poll(self) -> None:
        """Read the leases about once a second for ever."""
        while True:
            await self.poll_once()
            await asyncio.sleep(POLL_EVERY)

    async def poll_once(self) -> bool:
        """Read all leases and Redis' time, and a snapshot if one is needed; answers whether Redis answered."""
        sent_at, known_number = self._monotonic(), self._view.number
        try:
            read = await self._leases.live_nodes()
        except ControlPathUnavailable as error:
            self._note_answered(False, why=str(error))
            self._note_time()
            return False
        self._note_answered(True)
        self._settle_after_silence()
        self._fleet_clock.take(read.server_at_ms, sent_at=sent_at, received_at=self._monotonic())
        self._note_time()
        self._view.read_leases(read, sent_at=sent_at, known_number=known_number)
        self._compare_timings()
        async with self._turn:
            await self._reload()
        return True

    def _settle_after_silence(self) -> None:
        """Where this director could not read Redis for longer than a lease lasts, nodes may not have been able to
        renew theirs either: they are given the settle time to come back."""
        now = self._monotonic()
        if self._answered_at is not None and now - self._answered_at > self._timings.expire:
            self._view.settle(until=now + self._timings.settle)
        self._answered_at = now

    def _note_time(self) -> None:
        """Announced lectures begin and end though Redis be away."""
        if self._fleet_clock.is_set:
            self._view.note_time(self._fleet_clock.now_ms(self._monotonic()))

    async def _reload(self) -> None:
        """Read what is needed, once. What could not be read is still needed when this is called again."""
        try:
            if self._view.needs_snapshot:
                await self._read_rooms()
            if self._view.needs_orders:
                await self._read_orders()
        except ControlPathUnavailable as error:
            self._note_answered(False, why=str(error))

    async def _read_rooms(self) -> None:
        snapshot = await self._owners.snapshot()
        self._view.load(snapshot)
        log.info("map_loaded", rooms=len(snapshot.rooms), generation=snapshot.generation, number=snapshot.number)

    async def _read_orders(self) -> None:
        book = await self._orders.orders()
        self._view.take_orders(book)
        log.info("orders_read", orders=len(book.orders), generation=book.generation, number=book.number)

    def _note_answered(self, is_answered: bool, *, why: str = "") -> None:
        if is_answered is self._is_answered:
            return
        self._is_answered = is_answered
        if is_answered:
            log.info("redis_answered")
        else:
            log.warning("redis_unavailable", why=why)

    def _compare_timings(self) -> None:
        for lease in self._view.leases():
            if lease.timings != self._timings.fingerprint and lease.node not in self._told:
                self._told.add(lease.node)
                ours = self._timings.fingerprint
                log.warning("lease_timings_differ", node=lease.node, theirs=lease.timings, ours=ours)
