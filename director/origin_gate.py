"""The gate for browsers: pages of the allowed origins are answered, others refused (protocol, section 2)."""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from director.answers import refused
from director.contract.errors import ErrorCode, Refusal

_PREFLIGHT_GOOD_FOR = "600"


class OriginGate:
    """ASGI middleware. A request without an origin (no browser, or the director's own page) passes untouched."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not any(name == b"origin" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers["origin"]
        if origin not in self._origins:
            message = f"pages of {origin[:200]} may not ask this director: see HALL_ALLOWED_ORIGINS"
            await refused(Refusal(ErrorCode.FORBIDDEN, message))(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(origin)(scope, receive, send)
            return

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["Access-Control-Allow-Origin"] = origin
                answer["Access-Control-Expose-Headers"] = "Retry-After"
                answer.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, send_allowed)


def allowing(origin: str) -> list[tuple[bytes, bytes]]:
    """The headers that let a page of that origin read an answer."""
    return [
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-expose-headers", b"Retry-After"),
        (b"vary", b"Origin"),
    ]


def _preflight(origin: str) -> Response:
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "GET",
            "Access-Control-Allow-Headers": "Authorization",
            "Access-Control-Max-Age": _PREFLIGHT_GOOD_FOR,
            "Vary": "Origin",
        },
    )
