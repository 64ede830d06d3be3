"""Nodes, to operators: their list, and what can be ordered of them."""

import structlog
from starlette.requests import Request
from starlette.routing import BaseRoute

from director.admin_desk import AdminDesk, body_of
from director.contract.admin import (
    CapacityAnswer,
    CapacityBody,
    DrainBody,
    NodeOrdered,
    NodesAnswer,
    PlanAnswer,
    Started,
)
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import NodeName
from director.contract.lease import NodeLease, NodeState
from director.contract.operations import OperationKind
from director.contract.orders import Capacity, Cordon, Drain
from director.core.waves import Budget
from director.fleet_view import FleetView
from director.picture import nodes_of

_COMMON_SHARE = 1.0

log = structlog.get_logger(__name__)


def node_routes(admin: AdminDesk) -> list[BaseRoute]:
    """`/admin/nodes` and all below it."""

    async def nodes(request: Request) -> NodesAnswer:
        return NodesAnswer(nodes_of(admin.view, now=admin.monotonic()))

    async def cordon(request: Request) -> NodeOrdered:
        node = admin.known_node(request)
        await admin.orders.put(Cordon(node))
        log.info("node_cordoned", node=node)
        state = admin.view.state_of(node)
        return NodeOrdered(node, NodeState.CORDONED if state is NodeState.SERVING else state)

    async def uncordon(request: Request) -> NodeOrdered:
        """Take back all that was ordered; a drain that runs ends with the moves that are under way."""
        node = admin.known_node(request)
        drain = await _drain_of(admin, node)
        # The drain first: its order becomes one to cordon when it ends.
        await admin.orders.withdraw(_drain_key(node))
        await admin.orders.withdraw(Cordon(node).key)
        if drain is not None:
            await admin.desk.cancel(drain.operation)
        log.info("node_uncordoned", node=node, drain=None if drain is None else drain.operation)
        return NodeOrdered(node, _own_state(admin.view, node))

    async def drain(request: Request) -> PlanAnswer | Started:
        body = await body_of(request, DrainBody)
        node = admin.known_node(request)
        budget = Budget(body.rooms_at_a_time, body.members_per_second)
        plan = await admin.planner.drain(node, budget=budget)
        if body.plan:
            return PlanAnswer(plan)
        if admin.view.node_of(node) is None:
            raise Refusal(ErrorCode.BAD_REQUEST, f"{node} holds no lease: there is nothing that it could give away")
        standing = await _drain_of(admin, node)
        former = None if standing is None else await admin.operations.operation(standing.operation)
        if former is not None and not former.state.is_over:
            raise Refusal(ErrorCode.BUSY, f"{former.id} drains {node} already", retry_after_ms=1_000)
        operation = admin.desk.new_operation(OperationKind.DRAIN, node, plan)
        # Told before it is ordered: whoever reads the order finds the operation. The steward runs it.
        await admin.operations.tell(operation)
        await admin.orders.put(Drain(node, operation.id, body.rooms_at_a_time, body.members_per_second, body.within_s))
        log.info("drain_ordered", node=node, operation=operation.id, within=body.within_s)
        return Started(operation.id)

    async def capacity(request: Request) -> CapacityAnswer:
        body = await body_of(request, CapacityBody)
        node = admin.known_node(request)
        order = Capacity(node, body.share)
        if body.share == _COMMON_SHARE:
            await admin.orders.withdraw(order.key)
        else:
            await admin.orders.put(order)
        log.info("node_capacity_set", node=node, share=body.share)
        return CapacityAnswer(node, body.share)

    return [
        admin.route("/admin/nodes", method="GET", work=nodes),
        admin.route("/admin/nodes/{node}/cordon", method="POST", work=cordon),
        admin.route("/admin/nodes/{node}/uncordon", method="POST", work=uncordon),
        admin.route("/admin/nodes/{node}/drain", method="POST", work=drain),
        admin.route("/admin/nodes/{node}/drain", method="DELETE", work=uncordon),
        admin.route("/admin/nodes/{node}/capacity", method="PUT", work=capacity),
    ]


def _drain_key(node: NodeName) -> str:
    return Drain(node, "").key


async def _drain_of(admin: AdminDesk, node: NodeName) -> Drain | None:
    """The order to drain the node as it stands in Redis: the view may be a moment behind."""
    order = (await admin.orders.orders()).orders.get(_drain_key(node))
    return order if isinstance(order, Drain) else None


def _own_state(view: FleetView, node: NodeName) -> NodeState:
    """What the node says of itself, without any order."""
    leases: dict[NodeName, NodeLease] = {lease.node: lease for lease in (*view.lapsed(), *view.leases())}
    return leases[node].state if node in leases else NodeState.SERVING
