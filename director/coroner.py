"""The coroner: establishes deaths, once for all who ask at the same time, and tells the view of them.

A death is either proven (a probe) or a verdict on a lapsed lease, which Redis gives and counts (contract/failover).
"""

from collections.abc import Callable

import structlog

from director.contract.failover import Departed, HeldBack, Standing, Verdicts
from director.contract.ids import Incarnation, NodeName
from director.contract.lease import NodeLease, NodeLeases
from director.contract.ownership import Settling
from director.fleet_view import FleetView
from director.single_flight import SingleFlight

KEEP_FOR = 0.5

Finding = Departed | Standing | Settling | HeldBack

log = structlog.get_logger(__name__)


class Coroner:
    """Deaths of incarnations. Both calls raise ControlPathUnavailable; `on_death` is called with each new one."""

    def __init__(
        self,
        view: FleetView,
        leases: NodeLeases,
        verdicts: Verdicts,
        *,
        monotonic: Callable[[], float],
        on_death: Callable[[], None] = lambda: None,
        on_finding: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._view = view
        self._leases = leases
        self._verdicts = verdicts
        self._monotonic = monotonic
        self._on_death = on_death
        self._on_finding = on_finding
        self._flights: SingleFlight[tuple[NodeName, Incarnation], Finding] = SingleFlight()
        self._burials: SingleFlight[tuple[NodeName, Incarnation], None] = SingleFlight()
        self._kept: dict[tuple[NodeName, Incarnation], tuple[float, Finding]] = {}
        self._told: set[tuple[NodeName, Incarnation]] = set()

    async def verdict_on(self, node: NodeName, incarnation: Incarnation) -> Finding:
        """The verdict on an incarnation whose lease does not stand; one that is no death is good for half a second."""
        key = (node, incarnation)
        if self._view.is_dead(node, incarnation):
            return Departed()
        now = self._monotonic()
        self._kept = {k: kept for k, kept in self._kept.items() if now - kept[0] < KEEP_FOR}
        if key in self._kept:
            return self._kept[key][1]
        return await self._flights.run(key, lambda: self._judge(node, incarnation))

    async def certify(self, lease: NodeLease, *, why: str) -> None:
        """Write down that the incarnation of a lease is proven dead; idempotent."""
        await self._burials.run((lease.node, lease.incarnation), lambda: self._bury(lease, why))

    async def _judge(self, node: NodeName, incarnation: Incarnation) -> Finding:
        finding = await self._verdicts.judge(node, incarnation)
        self._on_finding(type(finding).__name__.lower())
        match finding:
            case Departed():
                self._told.discard((node, incarnation))
                self._enter(node, incarnation)
                log.warning("lapsed_node_declared_dead", node=node, incarnation=incarnation)
            case HeldBack(remaining):
                self._keep(node, incarnation, finding)
                if (node, incarnation) not in self._told:
                    self._told.add((node, incarnation))
                    log.error(
                        "failover_held_back",
                        node=node,
                        incarnation=incarnation,
                        for_seconds=round(remaining),
                        advice="too many nodes lapsed at once: if they are dead, run `hall failover resume`",
                    )
            case Standing() | Settling():
                self._keep(node, incarnation, finding)
        return finding

    async def _bury(self, lease: NodeLease, why: str) -> None:
        if self._view.is_dead(lease.node, lease.incarnation):
            return
        was_held = await self._leases.declare_dead(lease.node, lease.incarnation, why=why)
        self._on_finding("proven")
        self._enter(lease.node, lease.incarnation)
        log.warning("node_declared_dead", node=lease.node, incarnation=lease.incarnation, why=why, was_held=was_held)

    def _enter(self, node: NodeName, incarnation: Incarnation) -> None:
        self._view.bury(node, incarnation, now=self._monotonic())
        self._on_death()

    def _keep(self, node: NodeName, incarnation: Incarnation, finding: Finding) -> None:
        self._kept[node, incarnation] = (self._monotonic(), finding)
