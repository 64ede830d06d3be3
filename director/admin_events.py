"""The events, to operators: `GET /admin/events`, a stream for an EventSource."""

import asyncio
from collections.abc import Callable
from typing import cast

import structlog
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from director.admin_desk import AdminDesk
from director.http_server import CUT

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back
]

log = structlog.get_logger(__name__)


def event_routes(admin: AdminDesk) -> list[BaseRoute]:
    """`/admin/events`."""
    return [Route("/admin/events", _EventsEndpoint(admin), methods=["GET"])]


class _EventsEndpoint:
    """An ASGI application by itself: Starlette's streaming answer neither bounds what a reader costs nor cuts it."""

    def __init__(self, admin: AdminDesk) -> None:
        self._admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        self._admin.operators.check(request)
        self._admin.check_knows_fleet()
        with self._admin.events.seat():
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            try:
                await self._stream(request, receive, send)
            except* TimeoutError:
                log.warning("event_reader_cut", client=request.client and request.client.host)
                await _cut(scope, receive)

    async def _stream(self, request: Request, receive: Receive, send: Send) -> None:
        async def take(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._admin.events.read(take))
            leaving = tasks.create_task(_has_left(receive))
            if request.method == "GET":
                await asyncio.wait([reading, leaving], return_when=asyncio.FIRST_COMPLETED)
            has_left = leaving.done()
            reading.cancel()
            leaving.cancel()
        if not has_left:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _has_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut(scope: Scope, receive: Receive) -> None:
    """Break the connection off, with all that is still buffered for it."""
    cut = cast("Callable[[], None] | None", scope.get("extensions", {}).get(CUT))
    if cut is not None:
        cut()
        # the server is to see that it is gone, rather than an answer without an end
        await _has_left(receive)
