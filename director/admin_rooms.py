"""Rooms, to operators: their list, the explanation of one, and what can be ordered of it."""

from contextlib import suppress
from heapq import nsmallest

import structlog
from starlette.requests import Request
from starlette.routing import BaseRoute

from director.admin_desk import AdminDesk, body_of, number_in, room_in, text_in
from director.contract.admin import (
    MAX_ROOMS_LISTED,
    Explanation,
    MoveBody,
    PinAnswer,
    PinBody,
    PlanAnswer,
    RoomsAnswer,
    Started,
)
from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.ids import NodeName
from director.contract.lease import NodeState
from director.contract.operations import OperationKind
from director.contract.orders import Pin
from director.contract.ownership import PastMove, RoomRecord
from director.core.waves import Budget
from director.explanation import explain
from director.picture import entry_of

_LISTED = 100

log = structlog.get_logger(__name__)


def room_routes(admin: AdminDesk) -> list[BaseRoute]:
    """`/admin/rooms` and all below it but reservations."""

    async def rooms(request: Request) -> RoomsAnswer:
        limit = number_in(request, "limit", default=_LISTED, at_most=MAX_ROOMS_LISTED)
        node, prefix, after = (text_in(request, name) for name in ("node", "prefix", "after"))
        found = (
            record
            for record in admin.view.records()
            if record.room > (after or "") and record.room.startswith(prefix or "") and node in (None, record.owner)
        )
        listed = nsmallest(limit + 1, found, key=lambda record: record.room)
        return RoomsAnswer(tuple(entry_of(admin.view, record) for record in listed[:limit]), len(listed) > limit)

    async def room(request: Request) -> Explanation:
        name = room_in(request)
        past: tuple[PastMove, ...] | None = None
        with suppress(ControlPathUnavailable):
            past = tuple(await admin.owners.past_moves(name))
        return explain(admin.view, name, past, now=admin.monotonic())

    async def move(request: Request) -> PlanAnswer | Started:
        body = await body_of(request, MoveBody)
        record = _owned(admin, request)
        target = _fit_target(admin, record, body.to)
        plan = admin.planner.move(record, target)
        if body.plan:
            return PlanAnswer(plan)
        operation = await admin.desk.start(OperationKind.MOVE, record.room, plan, budget=Budget())
        log.info("move_ordered", room=record.room, source=record.owner, target=target, operation=operation.id)
        return Started(operation.id)

    async def pin(request: Request) -> PinAnswer:
        name, body = room_in(request), await body_of(request, PinBody)
        node = admin.node_named(body.node)
        await admin.orders.put(Pin(name, node))
        log.info("room_pinned", room=name, node=node)
        return PinAnswer(name, node, _owner(admin.view.record_of(name)))

    async def unpin(request: Request) -> PinAnswer:
        name = room_in(request)
        stood = await admin.orders.withdraw(Pin(name, NodeName("")).key)
        log.info("room_unpinned", room=name, stood=stood)
        return PinAnswer(name, None, _owner(admin.view.record_of(name)))

    return [
        admin.route("/admin/rooms", method="GET", work=rooms),
        admin.route("/admin/rooms/{room}", method="GET", work=room),
        admin.route("/admin/rooms/{room}/move", method="POST", work=move),
        admin.route("/admin/rooms/{room}/pin", method="PUT", work=pin),
        admin.route("/admin/rooms/{room}/pin", method="DELETE", work=unpin),
    ]


def _owner(record: RoomRecord | None) -> NodeName | None:
    return None if record is None else record.owner


def _owned(admin: AdminDesk, request: Request) -> RoomRecord:
    """The record of the room that the path names. Raises Refusal unless its owner could move it."""
    room = room_in(request)
    record = admin.view.record_of(room)
    if record is None:
        message = f"nobody owns {room}: it is placed when its first member comes; a pin says where"
        raise Refusal(ErrorCode.BAD_REQUEST, message)
    if not admin.view.lives(record):
        message = f"{record.owner}, which owns {room}, is silent: who owns the room is settled by itself; ask again"
        raise Refusal(ErrorCode.BUSY, message, retry_after_ms=1_000)
    return record


def _fit_target(admin: AdminDesk, record: RoomRecord, to: str) -> NodeName:
    """The node to move to. Raises Refusal unless it can be given the room."""
    target = admin.node_named(to)
    if admin.view.node_of(target) is None:
        raise Refusal(ErrorCode.BAD_REQUEST, f"{target} holds no lease, so it can be given no rooms")
    state = admin.view.state_of(target)
    if state is not NodeState.SERVING:
        raise Refusal(
            ErrorCode.BAD_REQUEST, f"{target} is {state} and is given no rooms: uncordon it, or choose another"
        )
    if target == record.owner:
        raise Refusal(ErrorCode.BAD_REQUEST, f"{record.room} is on {target} already")
    if record.target not in (None, target):
        message = f"{record.room} is being moved to {record.target} just now; ask again"
        raise Refusal(ErrorCode.BUSY, message, retry_after_ms=1_000)
    return target
