"""The director's HTTP interface (protocol, section 2): requests in, answers and error shapes out."""

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from director.answers import NO_STORE, RETRY_LATER_MS, json_answer
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.route_answers import FrontDesk, RouteAnswers, identity_in, query_of, room_in


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


class RouteEndpoint:
    """`GET /route` for what does not come by the door (director/route_door.py)."""

    def __init__(self, answers: RouteAnswers) -> None:
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answers.to(scope["query_string"], Headers(scope=scope).get("authorization"))
        response = answer if isinstance(answer, Response) else await answer
        await response(scope, receive, send)


def routes(desk: FrontDesk, answers: RouteAnswers) -> list[BaseRoute]:
    """All of the interface but the pages."""

    async def room_info(request: Request) -> Response:
        room = room_in(request.path_params["room"])
        authorization = request.headers.get("authorization")
        if not desk.operators.has(authorization):
            identity = identity_in(desk, query_of(request.scope["query_string"]), authorization)
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
        Route("/route", RouteEndpoint(answers), methods=["GET"]),
        Route("/rooms/{room}", room_info),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]
