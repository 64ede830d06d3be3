"""What a node tells about itself over HTTP, and which pages' browsers it answers."""

from collections.abc import Callable, Sequence

import msgspec
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from director.contract.errors import ErrorCode, Refusal
from director.contract.lease import NodeLease


def health_app(
    *,
    lease: Callable[[], NodeLease],
    unready: Callable[[], str | None],
    figures: Callable[[], bytes],
    routes: Sequence[Route] = (),
) -> Starlette:
    """`/healthz` (asks nobody), `/readyz` (503 and why, until the node may be given rooms), `/metrics` and `routes`."""

    async def healthz(request: Request) -> Response:
        held = lease()
        return json_answer({"ok": True, "node": held.node, "incarnation": held.incarnation})

    async def readyz(request: Request) -> Response:
        why = unready()
        if why is None:
            return await healthz(request)
        return refused(Refusal(ErrorCode.NO_NODES, why, retry_after_ms=1000))

    async def metrics(request: Request) -> Response:
        return Response(figures(), media_type=CONTENT_TYPE_LATEST)

    async def nothing(request: Request, error: Exception) -> Response:
        return refused(Refusal(ErrorCode.UNSUPPORTED, f"this node has nothing at {request.url.path}"))

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics), *routes],
        exception_handlers={404: nothing, 405: nothing},
    )


class OriginCheck:
    """Refuses what a foreign page's browser asks for, with the error shape; what comes without an origin is no page."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            origin = Headers(scope=scope).get("origin")
            if origin is not None and origin not in self._origins:
                refusal = Refusal(ErrorCode.FORBIDDEN, f"pages of {origin} may not use this node: HALL_ALLOWED_ORIGINS")
                await _refuse(refusal, scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        body = msgspec.json.encode(refusal.shape)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "websocket.http.response.start", "status": refusal.code.http_status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
        return
    await refused(refusal)(scope, receive, send)


def refused(refusal: Refusal) -> Response:
    """A refusal as an HTTP answer."""
    response = json_answer(refusal.shape, status=refusal.code.http_status)
    if refusal.code.http_status in (429, 503):
        response.headers["Retry-After"] = str(max(1, -(-refusal.retry_after_ms // 1000)))
    return response


def json_answer(body: object, *, status: int = 200) -> Response:
    """An answer that nobody keeps."""
    return Response(msgspec.json.encode(body), status, {"Cache-Control": "no-store"}, media_type="application/json")
