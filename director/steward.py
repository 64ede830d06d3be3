"""The steward: the one director that buries nodes whose lease lapsed and finds new nodes for the rooms of the dead.

It places them before their members ask, so that the new nodes have opened them by then. Two stewards at once do no
harm: every verdict and every claim is a compare-and-set in Redis.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import structlog

from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.failover import STEWARD_TTL, Departed, HeldBack, Standing, Verdicts
from director.contract.ids import RoomId
from director.contract.ownership import Settling
from director.coroner import Coroner
from director.fleet_view import FleetView
from director.router import Router

LOOK_EVERY = 1.0
MAX_CLAIMS_AT_ONCE = 32
RESIGN_WITHIN = 0.5

log = structlog.get_logger(__name__)


class Steward:
    """One director's part in it: `run` for the process's TaskGroup, or `step` by step. `name` is the director's own."""

    def __init__(
        self,
        view: FleetView,
        router: Router,
        coroner: Coroner,
        verdicts: Verdicts,
        *,
        name: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._view = view
        self._router = router
        self._coroner = coroner
        self._verdicts = verdicts
        self._name = name
        self._monotonic = monotonic
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
        """Stand for the office, judge those who lapsed, place the rooms of the dead. Outlives any outage of Redis."""
        try:
            is_steward = await self._verdicts.stand(self._name, ttl=STEWARD_TTL)
            if is_steward is not self.is_steward:
                self.is_steward = is_steward
                log.info("steward_changed", is_steward=is_steward)
            if not self._view.is_loaded or self._view.settles_in(self._monotonic()) > 0:
                return
            if is_steward:
                await self._judge()
            if is_steward or self._has_found_death:
                self._has_found_death = False
                await self._place()
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

    async def _place(self) -> None:
        orphans = self._view.orphans()
        rooms = [record.room for record in orphans if self._view.is_dead(record.owner, record.incarnation)]
        if not rooms:
            return
        began_at = self._monotonic()
        pass_ = _Pass(self._router, rooms)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(MAX_CLAIMS_AT_ONCE, len(rooms))):
                tasks.create_task(pass_.work())
        seconds = round(self._monotonic() - began_at, 3)
        log.warning("rooms_of_the_dead_placed", rooms=pass_.placed, left=len(rooms) - pass_.placed, seconds=seconds)


class _Pass:
    """One pass over rooms, the largest first, by several workers; it ends early where no node takes them."""

    def __init__(self, router: Router, rooms: list[RoomId]) -> None:
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
