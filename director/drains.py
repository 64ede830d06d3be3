"""Drains: which nodes are to be emptied, and the one operation that empties each. The steward's business.

1. A node drains by order, or because its own lease says so (SIGTERM). An order names its operation; the other kind is
   called by node and incarnation, so that all directors mean the same.
2. A drain that nobody runs is taken up: a new one, which the director that took the order has told and left to the
   steward, and one whose director died or was stopped. It goes on as the same operation; what was moved stays on
   record, and the rest is planned anew. Were it run twice for a moment, each move would still be asked for once.
3. The order of one that has ended becomes an order to cordon: the node is given no rooms until it is uncordoned, and
   nothing begins again by itself, however long that takes and whoever is steward by then. One that is done waits 10 s
   for that: a room that came after all, by a claim that was under way, lets it begin again.
4. An order that was taken back cancels its drain.
5. A drain by SIGTERM must be through before the node's patience ends, so its pace is that of the rooms it has.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from director.contract.ids import NodeName
from director.contract.lease import NodeState
from director.contract.operations import (
    INTERRUPTED_AFTER,
    MoveState,
    Operation,
    OperationKind,
    OperationPlan,
    Operations,
    OperationState,
    PlannedMove,
)
from director.contract.orders import Cordon, Drain, Orders
from director.core.waves import Budget
from director.fleet_view import FleetView
from director.operation_run import Emptying
from director.operations_desk import OperationsDesk
from director.planning import Planner

SIGTERM_WITHIN = 25.0
LATE_ROOMS_WITHIN = 10.0
_SECONDS_A_WAVE = 0.7
_LOOKS_AT_THE_SILENT = 3
"""A look comes each second; whoever runs an operation tells of it every 2."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A drain that should run or have run, and within what; `order` is None for one that the node itself asked for."""

    operation: str
    node: NodeName
    budget: Budget
    within: float
    order: Drain | None


class Drains:
    """`step` is called by the steward at each of its looks, and by nobody else."""

    def __init__(
        self, view: FleetView, desk: OperationsDesk, operations: Operations, orders: Orders, planner: Planner
    ) -> None:
        self._view = view
        self._desk = desk
        self._operations = operations
        self._orders = orders
        self._planner = planner
        self._ordered: set[str] = set()
        self._over: dict[str, Operation] = {}
        self._silent: dict[str, int] = {}

    async def step(self) -> None:
        """Take up the drains that nobody runs, cancel those that nobody wants. Raises ControlPathUnavailable."""
        wanted = {drain.operation: drain for drain in self._wanted()}
        self._over = {name: told for name, told in self._over.items() if name in wanted}
        self._silent = {name: looks for name, looks in self._silent.items() if name in wanted}
        for name in self._ordered - wanted.keys():
            if (run := self._desk.running.get(name)) is not None:
                run.cancel()
        self._ordered &= wanted.keys()
        for drain in wanted.values():
            if drain.operation not in self._desk.running:
                await self._look_at(drain)

    def _wanted(self) -> Iterator[_Wanted]:
        ordered = self._view.standing.drains
        yield from map(_by_order, ordered.values())
        for lease in self._view.leases():
            order = ordered.get(lease.node)
            is_seen_to = order is not None and not self._is_given_up(order.operation)
            if lease.state is NodeState.DRAINING and not is_seen_to:
                rooms, members = self._holdings(lease.node)
                budget = budget_within(SIGTERM_WITHIN, rooms=rooms, members=members)
                yield _Wanted(f"drain-{lease.node}-{lease.incarnation}", lease.node, budget, SIGTERM_WITHIN, None)

    async def _look_at(self, drain: _Wanted) -> None:
        rooms, _ = self._holdings(drain.node)
        over = self._over.get(drain.operation)
        if over is not None and (over.state in _GIVEN_UP or not rooms):
            await self._leave_cordoned(drain, over)
            return
        told = await self._operations.operation(drain.operation)
        if told is None:
            await self._take_up(drain, None)
            return
        if told.state in _ENDED:
            self._over[drain.operation] = told
        match told.state:
            case OperationState.INTERRUPTED:
                if not self._may_speak_yet(told):
                    await self._take_up(drain, told)
            case OperationState.RUNNING if _is_untouched(told):
                await self._take_up(drain, told)
            case OperationState.DONE if rooms:
                await self._take_up(drain, told)
            case OperationState.DONE | OperationState.CANCELLED | OperationState.FAILED:
                await self._leave_cordoned(drain, told)
            case OperationState.RUNNING:
                pass

    def _may_speak_yet(self, told: Operation) -> bool:
        """Whether its director was silent, perhaps only for as long as Redis was: it tells of it within 2 s then."""
        if self._desk.now_ms - told.heard_at_ms < INTERRUPTED_AFTER * 1000:
            return False  # it has said itself that it ends
        looks = self._silent[told.id] = self._silent.get(told.id, 0) + 1
        return looks <= _LOOKS_AT_THE_SILENT

    def _is_given_up(self, name: str) -> bool:
        over = self._over.get(name)
        return over is not None and over.state in _GIVEN_UP

    async def _leave_cordoned(self, drain: _Wanted, over: Operation) -> None:
        """Let the order end with its drain. It is not told for ever how that ended: the record is kept for a day."""
        if drain.order is None:
            return
        ended_at_ms = over.heard_at_ms if over.ended_at_ms is None else over.ended_at_ms
        if over.state is OperationState.DONE and self._desk.now_ms - ended_at_ms < LATE_ROOMS_WITHIN * 1000:
            return
        if await self._orders.replace(drain.order, Cordon(drain.node)):
            log.info("node_cordoned", node=drain.node, operation=over.id, drain=over.state)

    async def _take_up(self, drain: _Wanted, former: Operation | None) -> None:
        async def plan() -> OperationPlan:
            return await self._planner.drain(drain.node, budget=drain.budget)

        planned = await plan()
        self._over.pop(drain.operation, None)
        self._silent.pop(drain.operation, None)
        spent = 0.0
        if former is None:
            operation = replace(self._desk.new_operation(OperationKind.DRAIN, drain.node, planned), id=drain.operation)
        else:
            operation = _resumed(former, planned, self._view)
            if former.state is not OperationState.DONE:
                spent = max(0.0, (self._desk.now_ms - former.started_at_ms) / 1000)
        if drain.order is not None:
            self._ordered.add(drain.operation)
        self._desk.take_up(operation, budget=drain.budget, emptying=Emptying(plan, drain.within, spent))

    def _holdings(self, node: NodeName) -> tuple[int, int]:
        """How many rooms and members a node has that stands."""
        records = [record for record in self._view.records() if record.owner == node and self._view.lives(record)]
        return len(records), sum(record.members for record in records)


_GIVEN_UP = (OperationState.CANCELLED, OperationState.FAILED)
_ENDED = (OperationState.DONE, *_GIVEN_UP)


def budget_within(within: float, *, rooms: int, members: int) -> Budget:
    """The common budget, or more of it where so much would not be moved in two thirds of `within` seconds."""
    seconds = within * 2 / 3
    default = Budget()
    return Budget(
        max_rooms=max(default.max_rooms, math.ceil(rooms * _SECONDS_A_WAVE / seconds)),
        max_members_per_second=max(default.max_members_per_second, members / seconds),
    )


def _by_order(order: Drain) -> _Wanted:
    budget = Budget(order.rooms_at_a_time, order.members_per_second)
    return _Wanted(order.operation, order.node, budget, order.within, order)


def _is_untouched(told: Operation) -> bool:
    """Whether it was only told so far, by the director that took the order."""
    return all(move.state is MoveState.PLANNED for move in told.plan.moves)


def _resumed(former: Operation, planned: OperationPlan, view: FleetView) -> Operation:
    """A former operation that goes on: with what it had moved, and a plan of the rest."""
    rest = {move.room for move in planned.moves}
    done = [
        replace(move, state=MoveState.DONE, problem=None)
        for move in former.plan.moves
        if move.room not in rest and _came_about(move, view)
    ]
    plan = replace(former.plan, moves=(*done, *planned.moves), stranded=planned.stranded)
    return replace(former, state=OperationState.RUNNING, plan=plan, ended_at_ms=None, is_cancelling=False, problem=None)


def _came_about(move: PlannedMove, view: FleetView) -> bool:
    """Whether a move of a former run is done; it may have been completed, or asked for, after it was last told."""
    record = view.record_of(move.room)
    has_arrived = record is not None and record.owner == move.target
    return move.state is MoveState.DONE or has_arrived
