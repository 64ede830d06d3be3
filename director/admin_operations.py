"""Operations, to operators: what runs and has run, the end of one, and the rebalancing of the fleet."""

import structlog
from starlette.requests import Request
from starlette.routing import BaseRoute

from director.admin_desk import AdminDesk, body_of
from director.contract.admin import (
    ChosenMove,
    OperationAnswer,
    OperationsAnswer,
    PlanAnswer,
    RebalanceBody,
    ResumeAnswer,
    Started,
)
from director.contract.errors import ErrorCode, Refusal
from director.contract.failover import VERDICT_WINDOW
from director.contract.ids import NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.operations import OperationKind, OperationPlan
from director.contract.ownership import RoomRecord
from director.core.waves import Budget
from director.fleet_view import FleetView
from director.planning import PLANNED

log = structlog.get_logger(__name__)

_PLAN_ANEW = "the fleet has changed since: ask for another plan"


def operation_routes(admin: AdminDesk) -> list[BaseRoute]:
    """`/admin/operations`, `/admin/rebalance` and `/admin/failover/resume`."""

    async def operations(request: Request) -> OperationsAnswer:
        return OperationsAnswer(tuple(await admin.operations.recent()))

    async def operation(request: Request) -> OperationAnswer:
        name = request.path_params["operation"]
        found = await admin.operations.operation(name)
        if found is None:
            raise _unknown(name)
        return OperationAnswer(found)

    async def cancel(request: Request) -> Started:
        name = request.path_params["operation"]
        found = await admin.operations.operation(name)
        if found is None:
            raise _unknown(name)
        if not await admin.desk.cancel(name):
            raise Refusal(ErrorCode.BAD_REQUEST, f"{name} is over already: it is {found.state}")
        return Started(name)

    async def rebalance(request: Request) -> PlanAnswer | Started:
        body = await body_of(request, RebalanceBody)
        budget = Budget(body.rooms_at_a_time, body.members_per_second)
        if body.moves is None:
            plan = await admin.planner.rebalance(bound=body.bound, budget=budget)
        else:
            plan = _chosen(admin, body.moves, budget, bound=body.bound)
        if body.plan:
            return PlanAnswer(plan)
        started = await admin.desk.start(OperationKind.REBALANCE, "", plan, budget=budget)
        log.info("rebalance_ordered", operation=started.id, rooms=len(plan.moves), chosen=body.moves is not None)
        return Started(started.id)

    async def resume(request: Request) -> ResumeAnswer:
        return ResumeAnswer(await admin.resume(), round(VERDICT_WINDOW * 1000))

    return [
        admin.route("/admin/operations", method="GET", work=operations),
        admin.route("/admin/operations/{operation}", method="GET", work=operation),
        admin.route("/admin/operations/{operation}", method="DELETE", work=cancel),
        admin.route("/admin/rebalance", method="POST", work=rebalance),
        admin.route("/admin/failover/resume", method="POST", work=resume, needs_fleet=False),
    ]


def _unknown(name: str) -> Refusal:
    message = f"there is no operation {name[:80]!r}: see GET /admin/operations; they are kept for a day"
    return Refusal(ErrorCode.BAD_REQUEST, message)


def _chosen(admin: AdminDesk, moves: tuple[ChosenMove, ...], budget: Budget, *, bound: float) -> OperationPlan:
    """Exactly these moves. Raises Refusal if one does not fit the fleet as it is now: with BUSY if it may yet."""
    if len({move.room for move in moves}) < len(moves):
        raise Refusal(ErrorCode.BAD_REQUEST, "a room is moved once by a plan")
    chosen = [(_record_of(admin.view, move), NodeName(move.target), PLANNED) for move in moves]
    return admin.planner.chosen(chosen, budget, bound=bound)


def _record_of(view: FleetView, move: ChosenMove) -> RoomRecord:
    record = view.record_of(RoomId(move.room))
    if record is None:
        raise _outdated(f"{move.room[:128]} is closed")
    if record.owner != move.source:
        raise _outdated(f"{record.room} is on {record.owner}, not on {move.source[:80]}")
    if not view.lives(record):
        raise _not_now(f"{record.owner}, which owns {record.room}, is silent: who owns the room is settled by itself")
    if record.target is not None:
        raise _not_now(f"{record.room} is being moved to {record.target} just now")
    target = NodeName(move.target)
    if view.node_of(target) is None or view.state_of(target) is not NodeState.SERVING:
        raise _outdated(f"{move.target[:80]} can be given no rooms")
    if target == record.owner:
        raise Refusal(ErrorCode.BAD_REQUEST, f"{record.room} is on {record.owner} already")
    return record


def _outdated(what: str) -> Refusal:
    return Refusal(ErrorCode.BAD_REQUEST, f"{what}; {_PLAN_ANEW}")


def _not_now(what: str) -> Refusal:
    return Refusal(ErrorCode.BUSY, f"{what}; ask again", retry_after_ms=1_000)
