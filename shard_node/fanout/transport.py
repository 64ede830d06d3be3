"""uvicorn's WebSocket protocol, made findable, and made to end with a peer that only takes."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from shard_node.fanout.connection import MAX_BUFFERED

EXTENSION = "lecturehall.transport"


class FindableWebSocketProtocol(WebSocketsSansIOProtocol):
    """Give this class to uvicorn as `ws=`. The ASGI scope's extensions name the protocol that serves it."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        # the application's task was made by the line above and has not run yet
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][EXTENSION] = self

    def handle_ping(self) -> None:
        """A peer that sends pings and reads no pongs would fill the buffer without bound."""
        super().handle_ping()
        if self.transport.get_write_buffer_size() > MAX_BUFFERED:
            self.transport.abort()

    def shutdown(self) -> None:
        """At the process' end; stock raises for a peer that has begun to close and does not read."""
        if self.handshake_complete and self.conn.state is not State.OPEN:
            self.stop_keepalive()
            self.transport.abort()
            return
        super().shutdown()


def protocol_of(scope: Any) -> FindableWebSocketProtocol | None:
    """The protocol under an ASGI scope; None where another server class runs it, and for plain HTTP."""
    protocol: FindableWebSocketProtocol | None = (scope.get("extensions") or {}).get(EXTENSION)
    return protocol
