"""Torture: a crowd talks while one thing after another is broken; then everybody must be back and all must be true."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from director.contract.ids import NodeName
from loadtest.core.fault_plan import ON_A_NODE, Fault, FaultKind, FaultPlan
from loadtest.core.history_check import HistoryCheck
from loadtest.core.latency import Latency
from loadtest.core.recovery_times import FaultSpan
from loadtest.torture_crowd import Crowd
from loadtest.torture_faults import ACTS
from loadtest.torture_ground import Ground, NotToday

_LAG_EVERY = 0.05
_FREEZES = (FaultKind.FREEZE, FaultKind.SHORT_FREEZE, FaultKind.FREEZE_IN_TRANSACTION)


@dataclass(frozen=True, slots=True)
class Broken:
    """A fault as it came to pass, by the run's clock. `left_out` says why nothing happened, if so."""

    fault: Fault
    begun_at: float
    ended_at: float
    left_out: str | None = None


class Torture:
    """Runs a plan once. `broken` grows as it goes; `lag` is how late this process' own event loop was."""

    def __init__(
        self,
        plan: FaultPlan,
        ground: Ground,
        crowd: Crowd,
        *,
        check: HistoryCheck,
        on_ready: Callable[[int], None],
        on_fault: Callable[[Fault, str], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`on_ready` is told how many are live at the beginning, `on_fault` what begins, ends or is left out."""
        self._plan = plan
        self._ground = ground
        self._crowd = crowd
        self._check = check
        self._on_ready, self._on_fault = on_ready, on_fault
        self._clock, self._sleep = clock, sleep
        self.broken: list[Broken] = []
        self._standing: set[Fault] = set()
        self.lag = Latency()
        self.not_back = 0
        self._began_at = 0.0

    async def run(self) -> None:
        """Join, break and mend by the plan, wait until all have caught up, and leave."""
        watching = asyncio.create_task(self._watch_lag())
        try:
            live = await self._crowd.join()
            await self._ground.complete()
            self._on_ready(live)
            self._began_at = self._clock()
            self._crowd.begin()
            async with asyncio.TaskGroup() as faults:
                for fault in self._plan.faults:
                    faults.create_task(self._break(fault))
            await self._until(self._plan.seconds)
            self.not_back = await self._crowd.quiesce(self._check)
        finally:
            watching.cancel()
            await self._crowd.leave()

    def span_of(self, broken: Broken) -> FaultSpan:
        """When what happens is put down to a fault, on the run's clock."""
        watched_until = self._began_at + self._plan.watched_until(broken.fault)
        return FaultSpan(broken.begun_at, max(watched_until, broken.ended_at))

    def thaws(self) -> dict[NodeName, list[float]]:
        """When frozen nodes went on. Whom a freeze in a transaction met is not asked: it counts for all."""
        thaws: dict[NodeName, list[float]] = {node: [] for node in self._ground.nodes}
        for broken in self.broken:
            if broken.fault.kind in _FREEZES and broken.left_out is None:
                for node in thaws:
                    if broken.fault.target in (node, "store"):
                        thaws[node].append(broken.ended_at)
        return thaws

    async def _break(self, fault: Fault) -> None:
        await self._until(fault.begins)
        fault = self._aimed(fault)
        begun_at = self._clock()
        left_out: str | None = None
        self._standing.add(fault)
        try:
            act = ACTS[fault.kind](self._ground, fault)
            try:
                await act.begin()
                self._on_fault(fault, "begins" if fault.ends > fault.begins else "happened")
                await self._until(fault.ends)
            finally:
                await act.end()
                ended_at = self._clock()
        except NotToday as why:
            left_out, ended_at = str(why), self._clock()
        finally:
            self._standing.discard(fault)
        if left_out is not None:
            self._on_fault(fault, f"left out: {left_out}")
        elif fault.ends > fault.begins:
            self._on_fault(fault, "ended")
        self.broken.append(Broken(fault, begun_at, ended_at, left_out))

    def _aimed(self, fault: Fault) -> Fault:
        """The fault, on another node where the planned one serves nobody: that would hurt nobody."""
        if fault.kind not in ON_A_NODE or self._crowd.live_on(fault.target):
            return fault
        busy = {broken.target for broken in self._standing}
        node = max(self._ground.nodes, key=lambda node: (node not in busy, self._crowd.live_on(node)))
        return replace(fault, target=node)

    async def _until(self, after: float) -> None:
        await self._sleep(max(0.0, self._began_at + after - self._clock()))

    async def _watch_lag(self) -> None:
        while True:
            due = self._clock() + _LAG_EVERY
            await self._sleep(_LAG_EVERY)
            self.lag.add(max(0.0, self._clock() - due))
