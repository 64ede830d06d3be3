"""RoomMessages: a room's history over HTTP, for those who read without joining (protocol, section 2).

`GET /rooms/{room}/messages?before=|after=&limit=` with `Authorization: Bearer TICKET`; the answer is the `history` ack.
It stands beside the Socket.IO path: where that is /n/node-2/socket.io/, this is /n/node-2/rooms/{room}/messages.
"""

import re
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from director.contract.errors import ErrorCode, Refusal
from shard_node.contract.events import HistoryPage, HistoryRequest, JoinRequest
from shard_node.health import json_answer, refused

MAX_AT_ONCE = 64
"""Readers that may wait for the store at once; more are told to come back. (How many read at once is for RoomRequests
to say; this bounds what waits for it.)"""

PREFLIGHT_FOR = 600

_NUMBERS = ("before", "after", "limit")
_WHOLE = re.compile(r"[0-9]{1,16}\Z")

ReadHistory = Callable[[JoinRequest, HistoryRequest], Awaitable[HistoryPage]]


class RoomMessages:
    """Answers by `read_history`, which checks the ticket and raises Refusal. Foreign origins were refused before.
    `beside` is the Socket.IO path, with its slashes."""

    def __init__(self, read_history: ReadHistory, *, beside: str) -> None:
        self._read_history = read_history
        self._prefix = beside.rstrip("/").rpartition("/")[0]
        self._reading = 0

    @property
    def routes(self) -> tuple[Route, ...]:
        path = self._prefix + "/rooms/{room}/messages"
        return (
            Route(path, self._messages, methods=["GET"]),
            Route(path, self._preflight, methods=["OPTIONS"]),
        )

    async def _messages(self, request: Request) -> Response:
        try:
            response = json_answer(await self._page(request))
        except Refusal as refusal:
            response = refused(refusal)
        return _for_its_page(request, response)

    async def _page(self, request: Request) -> HistoryPage:
        visitor = JoinRequest(ticket=_bearer_of(request), room=request.path_params["room"])
        wanted = _wanted_of(request)
        if self._reading >= MAX_AT_ONCE:
            raise Refusal(ErrorCode.BUSY, "many are reading; try again", retry_after_ms=500)
        self._reading += 1
        try:
            return await self._read_history(visitor, wanted)
        finally:
            self._reading -= 1

    async def _preflight(self, request: Request) -> Response:
        """What a browser asks before it sends the Authorization header to another origin."""
        response = Response(status_code=204)
        response.headers["Access-Control-Allow-Methods"] = "GET"
        response.headers["Access-Control-Allow-Headers"] = "Authorization"
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_FOR)
        return _for_its_page(request, response)


def _for_its_page(request: Request, response: Response) -> Response:
    origin = request.headers.get("origin")
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Vary"] = "Origin, Authorization"
    return response


def _bearer_of(request: Request) -> str | None:
    scheme, _, ticket = request.headers.get("authorization", "").partition(" ")
    return ticket.strip() or None if scheme.lower() == "bearer" else None


def _wanted_of(request: Request) -> HistoryRequest:
    given = {name: request.query_params[name] for name in _NUMBERS if name in request.query_params}
    for name, text in given.items():
        if not _WHOLE.match(text):
            raise Refusal(ErrorCode.BAD_REQUEST, f"{name} is a whole number, not {text[:64]!r}")
    try:
        return msgspec.convert({name: int(text) for name, text in given.items()}, HistoryRequest)
    except msgspec.ValidationError as error:
        raise Refusal(ErrorCode.BAD_REQUEST, str(error)) from None
