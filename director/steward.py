"""The steward: the one director that acts for all where nobody asked.

It buries nodes whose lease lapsed and finds new nodes for the rooms of the dead, before their members ask, so that the
new nodes have opened them by then. It places rooms whose lectures were announced and are about to begin, takes back the
announcements of lectures that are over, and tells Redis the operators' orders anew where that forgot them. Two stewards
at once do no harm: every verdict, every claim and every order is a compare-and-set in Redis.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

import structlog

from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.failover import STEWARD_TTL, Departed, HeldBack, Standing, Verdicts
from director.contract.ids import RoomId
from director.contract.orders import Orders
from director.contract.ownership import Settling
from director.coroner import Coroner
from director.fleet_view import FleetView
from director.router import Router

LOOK_EVERY = 1.0
MAX_CLAIMS_AT_ONCE = 32
MAX_WITHDRAWN_AT_ONCE = 32
RESIGN_WITHIN = 0.5

log = structlog.get_logger(__name__)


class Steward:
    """One director's part in it: `run` for the process's TaskGroup, or `step` by step. `name` is the director's own.

    `on_step` is awaited at the end of each step in which this director is steward and knows the fleet; it must return
    soon, since nobody is judged meanwhile.
    """

    def __init__(
        self,
        view: FleetView,
        router: Router,
        coroner: Coroner,
        verdicts: Verdicts,
        orders: Orders,
        *,
        name: str,
        monotonic: Callable[[], float],
        on_step: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._view = view
        self._router = router
        self._coroner = coroner
        self._verdicts = verdicts
        self._orders = orders
        self._name = name
        self._monotonic = monotonic
        self._on_step = on_step
        self._woken = asyncio.Event()
        self._has_found_death = False
        self.is_steward = False

    def wake(self) -> None:
        """Look now: somebody has died."""
        self._woken.set()

    def found_death(self) -> None:
        """This director has established a death itself: it places the rooms, whoever is steward."""
        self._has_found_death = True
        self.wake()

    async def run(self) -> None:
        """Look about once a second, and when woken, for ever."""
        while True:
            await self.step()
            # not wait_for: that of Python 3.11 loses a cancellation that comes with the event
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._woken.wait()
            self._woken.clear()

    async def step(self) -> None:
        """Stand for the office and do what it asks for. Outlives any outage of Redis."""
        try:
            is_steward = await self._verdicts.stand(self._name, ttl=STEWARD_TTL)
            if is_steward is not self.is_steward:
                self.is_steward = is_steward
                log.info("steward_changed", is_steward=is_steward)
            if is_steward:
                await self._restore_orders()
            if not self._view.is_loaded or self._view.settles_in(self._monotonic()) > 0:
                return
            if is_steward:
                await self._judge()
            if is_steward or self._has_found_death:
                self._has_found_death = False
                await self._place_orphans()
            if is_steward:
                await self._keep_reservations()
                if self._on_step is not None:
                    await self._on_step()
        except ControlPathUnavailable:
            # Nobody else can be steward either before Redis is back, and then it says who is.
            self.is_steward = False

    async def resign(self) -> None:
        """Leave the office to another at once, if Redis answers in time."""
        if self.is_steward:
            self.is_steward = False
            with suppress(ControlPathUnavailable, TimeoutError):
                async with asyncio.timeout(RESIGN_WITHIN):
                    await self._verdicts.resign(self._name)

    async def _judge(self) -> None:
        suspects = {(lease.node, lease.incarnation) for lease in self._view.lapsed()}
        suspects |= {(record.owner, record.incarnation) for record in self._view.orphans()}
        for node, incarnation in sorted(suspects):
            match await self._coroner.verdict_on(node, incarnation):
                case Settling():
                    return
                case Departed() | Standing() | HeldBack():
                    pass

    async def _restore_orders(self) -> None:
        """Before anything is claimed: an operator who gives an order now would begin anew."""
        forgotten = self._view.forgotten_orders
        if forgotten and await self._orders.restore(forgotten):
            log.warning("orders_restored", orders=len(forgotten))

    async def _keep_reservations(self) -> None:
        """Place the rooms that are announced, and take back what is over."""
        due = self._view.due_rooms()
        if due and (placed := await self._place(due)):
            log.info("rooms_announced_placed", rooms=placed, left=len(due) - placed)
        for key in self._view.orders_over()[:MAX_WITHDRAWN_AT_ONCE]:
            await self._orders.withdraw(key)

    async def _place_orphans(self) -> None:
        orphans = self._view.orphans()
        rooms = [record.room for record in orphans if self._view.is_dead(record.owner, record.incarnation)]
        if not rooms:
            return
        began_at = self._monotonic()
        placed = await self._place(rooms)
        seconds = round(self._monotonic() - began_at, 3)
        log.warning("rooms_of_the_dead_placed", rooms=placed, left=len(rooms) - placed, seconds=seconds)

    async def _place(self, rooms: Sequence[RoomId]) -> int:
        """Place rooms, the first of them first; answers how many were."""
        pass_ = _Pass(self._router, rooms)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(MAX_CLAIMS_AT_ONCE, len(rooms))):
                tasks.create_task(pass_.work())
        return pass_.placed


class _Pass:
    """One pass over rooms, the largest first, by several workers; it ends early where no node takes them."""

    def __init__(self, router: Router, rooms: Sequence[RoomId]) -> None:
        self._router = router
        self._rooms: Iterator[RoomId] = iter(rooms)
        self._refused = 0
        self.placed = 0

    async def work(self) -> None:
        for room in self._rooms:
            try:
                await self._router.place(room)
            except Refusal as refusal:
                self._refused += 1
                if refusal.code is ErrorCode.NO_NODES or self._refused >= MAX_CLAIMS_AT_ONCE:
                    return
            else:
                self.placed += 1
