"""The director's HTTP interface (protocol, section 2): requests in, answers and error shapes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from director.answers import NO_STORE, RETRY_LATER_MS, json_answer, refused
from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Epoch, Incarnation, NodeName, RoomId, node_name_of, room_id_of
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


class RoomAnswer(msgspec.Struct, frozen=True):
    """What `/rooms/{room}` answers; a room without an owner has nulls."""

    room: RoomId
    owner: NodeName | None = None
    incarnation: Incarnation | None = None
    owner_lives: bool = False
    epoch: Epoch | None = None
    why: str | None = None
    members: int = 0
    peak: int = 0
    moves: int = 0
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


class RouteEndpoint:
    """`GET /route`: an ASGI application by itself, because every member of every room comes through it."""

    def __init__(self, desk: FrontDesk) -> None:
        self._desk = desk
        self._ticket_ttl_ms = round(desk.ticket_ttl * 1000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        desk = self._desk
        began_at = desk.monotonic()
        try:
            response = await self._answer(scope)
        except Refusal as refusal:
            desk.metrics.count_refused(refusal.code, desk.monotonic() - began_at)
            response = refused(refusal)
        else:
            desk.metrics.count_routed(desk.monotonic() - began_at)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        desk = self._desk
        query = _query_of(scope)
        room = _room_in(query.get("room"))
        identity = _identity_in(desk, query, _authorization_in(scope))
        identity.check_may_enter(room)
        placement = await desk.router.route(room, failed=node_name_of(query.get("failed")))
        if query.get("redirect") == "1":
            return Response(status_code=307, headers={"Location": placement.lease.url, **NO_STORE})
        return json_answer(self._ticketed(placement, identity))

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


class RouteFirst:
    """ASGI middleware that answers `GET /route` by itself: finding it among the routes costs a sixth of the answer."""

    def __init__(self, app: ASGIApp, desk: FrontDesk) -> None:
        self._app = app
        self._endpoint = RouteEndpoint(desk)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_route = scope["type"] == "http" and scope["path"] == "/route" and scope["method"] == "GET"
        await (self._endpoint if is_route else self._app)(scope, receive, send)


def routes(desk: FrontDesk) -> list[BaseRoute]:
    """All of the interface but the pages."""

    async def room_info(request: Request) -> Response:
        room = _room_in(request.path_params["room"])
        authorization = request.headers.get("authorization")
        if not desk.operators.has(authorization):
            identity = _identity_in(desk, _query_of(request.scope), authorization)
            if not identity.role.is_staff:
                raise Refusal(ErrorCode.FORBIDDEN, "only staff and operators may ask about a room")
            identity.check_may_enter(room)
        record = desk.view.record_of(room)
        if record is None:
            return json_answer(RoomAnswer(room))
        answer = RoomAnswer(
            room=room,
            owner=record.owner,
            incarnation=record.incarnation,
            owner_lives=desk.view.lives(record),
            epoch=record.epoch,
            why=record.why,
            members=record.members,
            peak=record.peak,
            moves=record.moves,
        )
        return json_answer(answer)

    async def healthz(request: Request) -> Response:
        return json_answer({"ok": True})

    async def readyz(request: Request) -> Response:
        has_nodes = bool(desk.view.leases() or desk.view.lapsed())
        wants = {
            "the rooms (is Redis reachable?)": desk.view.is_loaded,
            "Redis' time (is Redis reachable?)": desk.fleet_clock.is_set,
            "the end of the settle time": desk.view.has_settled,
            "a node with a lease": has_nodes,
        }
        missing = [what for what, is_there in wants.items() if not is_there]
        if not missing:
            return json_answer({"ok": True})
        code = ErrorCode.OWNER_UNCONFIRMED if has_nodes else ErrorCode.NO_NODES
        raise Refusal(code, f"not ready, missing: {', '.join(missing)}", retry_after_ms=RETRY_LATER_MS)

    async def metrics(request: Request) -> Response:
        return Response(desk.metrics.exposition(), headers=NO_STORE, media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/route", RouteEndpoint(desk), methods=["GET"]),
        Route("/rooms/{room}", room_info),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]


def _query_of(scope: Scope) -> dict[str, str]:
    try:
        return dict(parse_qsl(scope["query_string"].decode(), errors="strict", max_num_fields=_MAX_QUERY_FIELDS))
    except ValueError as error:
        raise Refusal(ErrorCode.BAD_REQUEST, "the query cannot be read") from error


def _authorization_in(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            text: str = value.decode("latin-1")
            return text
    return None


def _room_in(text: str | None) -> RoomId:
    room = room_id_of(text)
    if room is None:
        raise Refusal(ErrorCode.BAD_REQUEST, "room must be 1 to 128 characters of A-Za-z0-9._:~-")
    return room


def _identity_in(desk: FrontDesk, query: Mapping[str, str], authorization: str | None) -> Identity:
    if not desk.fleet_clock.is_set:
        message = "the director does not know Redis' time yet; ask again"
        raise Refusal(ErrorCode.OWNER_UNCONFIRMED, message, retry_after_ms=RETRY_LATER_MS)
    now_ms = desk.fleet_clock.now_ms(desk.monotonic())
    return desk.identities.identity_of(query, authorization, now_ms=now_ms)
