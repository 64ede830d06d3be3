"""uvicorn's WebSocket protocol, made findable: the ASGI scope's extensions name the protocol that serves it."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

EXTENSION = "lecturehall.transport"


class FindableWebSocketProtocol(WebSocketsSansIOProtocol):
    """Give this class to uvicorn as `ws=`."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        # the application's task was made by the line above and has not run yet
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = self


def protocol_of(scope: Any) -> FindableWebSocketProtocol | None:
    """The protocol under an ASGI scope; None where another server class runs it, and for plain HTTP."""
    protocol: FindableWebSocketProtocol | None = (scope.get("extensions") or {}).get(EXTENSION)
    return protocol
