"""The planner: plans of moves as operators see them, made from the fleet as this director knows it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from director.contract.ids import NodeName, RoomId
from director.contract.operations import NodeBeforeAfter, OperationPlan, PlannedMove
from director.contract.ownership import RoomRecord
from director.core.placement import BOUND
from director.core.plan import MOVE_OVERHEAD, FleetFacts, Plan, limits_of, loads_of
from director.core.rebalance import plan_drain, plan_rebalance
from director.core.waves import Budget, waves_of
from director.fleet_view import FleetView

ORDERED = "ordered"
PLANNED = "planned"
EXPECTED_PAUSE_MS = 100

Compute = Callable[[Callable[[], Plan]], Awaitable[Plan]]


class Planner:
    """Plans. One for thousands of rooms takes tenths of a second, so `compute` runs it off the loop: in a thread."""

    def __init__(self, view: FleetView, *, now_ms: Callable[[], int], compute: Compute = asyncio.to_thread) -> None:
        self._view = view
        self._now_ms = now_ms
        self._compute = compute

    async def rebalance(self, *, bound: float, budget: Budget) -> OperationPlan:
        """The plan that mends the fleet's loads (core/rebalance)."""
        facts = self._facts
        return shown(await self._compute(lambda: plan_rebalance(facts, bound=bound)), budget)

    async def drain(self, node: NodeName, *, budget: Budget) -> OperationPlan:
        """The plan that empties a node; nothing to move if it is not there."""
        facts = self._facts
        if all(known.node != node for known in facts.nodes):
            return OperationPlan((), (), 0, 0.0)
        return shown(await self._compute(lambda: plan_drain(facts, node)), budget)

    def move(self, record: RoomRecord, to: NodeName) -> OperationPlan:
        """The plan that moves one room as it was ordered."""
        return self.chosen([(record, to, ORDERED)], Budget(), bound=BOUND)

    def chosen(self, moves: list[tuple[RoomRecord, NodeName, str]], budget: Budget, *, bound: float) -> OperationPlan:
        """The plan of exactly these moves, in this order, to nodes whose leases stand."""
        facts = self._facts
        rates = {node.node: node.joins_per_second for node in facts.nodes}
        planned = tuple(
            PlannedMove(
                room=record.room,
                source=record.owner,
                target=target,
                why=why,
                members=record.members,
                seconds=MOVE_OVERHEAD + record.members / rates[target],
            )
            for record, target, why in moves
        )
        places = {move.room: move.target for move in planned}
        return _paced(planned, _before_and_after(facts, places, bound), budget)

    @property
    def _facts(self) -> FleetFacts:
        return self._view.fleet_facts(self._now_ms())


def shown(plan: Plan, budget: Budget) -> OperationPlan:
    """A plan as operators see it, with what it takes within a budget."""
    moves = tuple(
        PlannedMove(move.room, move.source, move.target, move.why, move.members, move.seconds) for move in plan.moves
    )
    nodes = tuple(NodeBeforeAfter(node.node, node.before, node.after, node.limit, node.is_hot) for node in plan.nodes)
    return _paced(moves, nodes, budget, stranded=plan.stranded)


def _paced(
    moves: tuple[PlannedMove, ...],
    nodes: tuple[NodeBeforeAfter, ...],
    budget: Budget,
    *,
    stranded: tuple[RoomId, ...] = (),
) -> OperationPlan:
    return OperationPlan(
        moves=moves,
        nodes=nodes,
        members=sum(move.members for move in moves),
        seconds=round(sum(wave.seconds for wave in waves_of(moves, budget)), 3),
        stranded=stranded,
        expected_pause_ms=EXPECTED_PAUSE_MS,
    )


def _before_and_after(
    facts: FleetFacts, places: Mapping[RoomId, NodeName], bound: float
) -> tuple[NodeBeforeAfter, ...]:
    before = loads_of(facts)
    limits = limits_of(facts.nodes, before, bound=bound)
    after = dict(before)
    for room in facts.rooms:
        if room.room in places:
            after[room.node] -= room.load
            after[places[room.room]] += room.load
    return tuple(NodeBeforeAfter(node, before[node], after[node], limits.get(node)) for node in sorted(before))
