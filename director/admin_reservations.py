"""Reservations, to operators: lectures that are announced, so that large ones are placed apart before they begin."""

import structlog
from starlette.requests import Request
from starlette.routing import BaseRoute

from director.admin_desk import AdminDesk, body_of, number_in, room_in
from director.contract.admin import ReservationAnswer, ReservationsAnswer, ReserveBody
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import RoomId
from director.contract.orders import Reserve
from director.core.reservation import Reservation

_LATEST_MS = 10**14

log = structlog.get_logger(__name__)


def reservation_routes(admin: AdminDesk) -> list[BaseRoute]:
    """`/admin/reservations`, and `/admin/rooms/{room}/reservations`."""

    async def reservations(request: Request) -> ReservationsAnswer:
        return await _standing(admin, None)

    async def reserve(request: Request) -> ReservationsAnswer:
        room, body = room_in(request), await body_of(request, ReserveBody)
        try:
            announced = Reservation(room, body.members, body.at_ms / 1000, body.minutes)
        except ValueError as error:
            raise Refusal(ErrorCode.BAD_REQUEST, str(error)) from None
        if not admin.now_ms < announced.ends_at * 1000 < _LATEST_MS:
            raise Refusal(ErrorCode.BAD_REQUEST, "at_ms is in Unix milliseconds, and the lecture must not be over")
        await admin.orders.put(Reserve(room, body.members, body.at_ms, body.minutes))
        log.info("room_reserved", room=room, members=body.members, at_ms=body.at_ms, minutes=body.minutes)
        return await _standing(admin, room)

    async def withdraw(request: Request) -> ReservationsAnswer:
        """That of `at_ms`, or without it all of the room."""
        room = room_in(request)
        at_ms = number_in(request, "at_ms", at_most=_LATEST_MS) if "at_ms" in request.query_params else None
        found = [order for order in await _reserves(admin, room) if at_ms in (None, order.starts_at_ms)]
        if not found:
            when = "" if at_ms is None else f" for at_ms={at_ms}"
            raise Refusal(ErrorCode.BAD_REQUEST, f"nothing is reserved for {room}{when}")
        for order in found:
            await admin.orders.withdraw(order.key)
            log.info("reservation_withdrawn", room=room, at_ms=order.starts_at_ms)
        return await _standing(admin, room)

    return [
        admin.route("/admin/reservations", method="GET", work=reservations),
        admin.route("/admin/rooms/{room}/reservations", method="PUT", work=reserve),
        admin.route("/admin/rooms/{room}/reservations", method="DELETE", work=withdraw),
    ]


async def _reserves(admin: AdminDesk, room: RoomId | None) -> list[Reserve]:
    """As they stand in Redis: the view may be a moment behind what was just asked for."""
    orders = (await admin.orders.orders()).orders.values()
    return [order for order in orders if isinstance(order, Reserve) and room in (None, order.room)]


async def _standing(admin: AdminDesk, room: RoomId | None) -> ReservationsAnswer:
    now_ms = admin.now_ms
    found = sorted(await _reserves(admin, room), key=lambda order: (order.starts_at_ms, order.room))
    return ReservationsAnswer(tuple(_answer(admin, order, now_ms) for order in found))


def _answer(admin: AdminDesk, order: Reserve, now_ms: int) -> ReservationAnswer:
    reservation = Reservation(order.room, order.members, order.starts_at_ms / 1000, order.minutes)
    record = admin.view.record_of(order.room)
    return ReservationAnswer(
        room=order.room,
        members=order.members,
        at_ms=order.starts_at_ms,
        minutes=order.minutes,
        ends_at_ms=round(reservation.ends_at * 1000),
        counts=reservation.counts_at(now_ms / 1000),
        owner=None if record is None else record.owner,
    )
