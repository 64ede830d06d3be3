"""What `GET /route` answers (protocol, section 2): where the room is, and a ticket for it; or a refusal."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.responses import RedirectResponse, Response

from director.answers import NO_STORE, RETRY_LATER_MS, json_answer, refused
from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Epoch, NodeName, RoomId, node_name_of, room_id_of
from director.contract.ticket import Ticket, TicketBook
from director.fleet_view import FleetView, Placement
from director.identity import Identities, Identity
from director.metrics import DirectorMetrics
from director.operators import Operators
from director.router import Router

_MAX_QUERY_FIELDS = 32


class RouteAnswer(msgspec.Struct, frozen=True):
    """What `/route` answers."""

    room: RoomId
    node: NodeName
    url: str
    path: str
    epoch: Epoch
    ticket: str
    ticket_expires_in_ms: int
    connect_after_ms: int = 0
    ok: bool = True


@dataclass(frozen=True, slots=True)
class FrontDesk:
    """What answers need of the director, as app.py puts it together. `ticket_ttl` is in seconds."""

    view: FleetView
    router: Router
    tickets: TicketBook
    identities: Identities
    fleet_clock: FleetClock
    metrics: DirectorMetrics
    monotonic: Callable[[], float]
    ticket_ttl: float
    operators: Operators


@dataclass(frozen=True, slots=True)
class _Asked:
    room: RoomId
    identity: Identity
    failed: NodeName | None
    redirect: bool


class RouteAnswers:
    """Answers at once where the room is known, which is nearly always; else as soon as it is."""

    def __init__(self, desk: FrontDesk) -> None:
        self._desk = desk
        self._ticket_ttl_ms = round(desk.ticket_ttl * 1000)

    def to(self, query: bytes, authorization: str | None) -> Response | Coroutine[Any, Any, Response]:
        """The answer to a request with this query; or what will give it, where somebody else must be asked first."""
        desk = self._desk
        began_at = desk.monotonic()
        try:
            asked = self._asked(query, authorization)
            placement = desk.router.known(asked.room, failed=asked.failed)
            if placement is None:
                return self._later(asked, began_at)
            return self._told(asked, placement, began_at)
        except Refusal as refusal:
            return self._refused(refusal, began_at)

    async def _later(self, asked: _Asked, began_at: float) -> Response:
        try:
            placement = await self._desk.router.route(asked.room, failed=asked.failed)
            return self._told(asked, placement, began_at)
        except Refusal as refusal:
            return self._refused(refusal, began_at)

    def _asked(self, query: bytes, authorization: str | None) -> _Asked:
        fields = query_of(query)
        room = room_in(fields.get("room"))
        identity = identity_in(self._desk, fields, authorization)
        identity.check_may_enter(room)
        return _Asked(room, identity, node_name_of(fields.get("failed")), fields.get("redirect") == "1")

    def _told(self, asked: _Asked, placement: Placement, began_at: float) -> Response:
        if asked.redirect:
            response: Response = RedirectResponse(placement.lease.url, headers=NO_STORE)
        else:
            response = json_answer(self._ticketed(placement, asked.identity))
        self._desk.metrics.count_routed(self._desk.monotonic() - began_at)
        return response

    def _refused(self, refusal: Refusal, began_at: float) -> Response:
        self._desk.metrics.count_refused(refusal.code, self._desk.monotonic() - began_at)
        return refused(refusal)

    def _ticketed(self, placement: Placement, identity: Identity) -> RouteAnswer:
        desk = self._desk
        record, lease = placement.record, placement.lease
        expires_at_ms = desk.fleet_clock.now_ms(desk.monotonic()) + self._ticket_ttl_ms
        ticket = Ticket(
            record.room, identity.user, identity.name, identity.role, lease.node, record.epoch, expires_at_ms
        )
        return RouteAnswer(
            room=record.room,
            node=lease.node,
            url=lease.url,
            path=lease.path,
            epoch=record.epoch,
            ticket=desk.tickets.sign(ticket),
            ticket_expires_in_ms=self._ticket_ttl_ms,
        )


def query_of(query: bytes) -> dict[str, str]:
    """The fields of a query string. Raises Refusal with BAD_REQUEST."""
    try:
        return dict(parse_qsl(query.decode(), errors="strict", max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError as error:
        raise Refusal(ErrorCode.BAD_REQUEST, "the query cannot be read") from error


def room_in(text: str | None) -> RoomId:
    """The room of that name. Raises Refusal with BAD_REQUEST."""
    room = room_id_of(text)
    if room is None:
        raise Refusal(ErrorCode.BAD_REQUEST, "room must be 1 to 128 characters of A-Za-z0-9._:~-")
    return room


def identity_in(desk: FrontDesk, fields: Mapping[str, str], authorization: str | None) -> Identity:
    """Who asks. Raises Refusal, OWNER_UNCONFIRMED before Redis has told the time."""
    if not desk.fleet_clock.is_set:
        message = "the director does not know Redis' time yet; ask again"
        raise Refusal(ErrorCode.OWNER_UNCONFIRMED, message, retry_after_ms=RETRY_LATER_MS)
    now_ms = desk.fleet_clock.now_ms(desk.monotonic())
    return desk.identities.identity_of(fields, authorization, now_ms=now_ms)
