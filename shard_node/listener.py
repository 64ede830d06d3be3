"""The listener: uvicorn at a node's port. Members come by the door; all else is the application's."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from shard_node.contract.events import MAX_PAYLOAD_BYTES
from shard_node.fanout.bounded_http import BoundedHttpProtocol
from shard_node.fanout.door import Sessions, Take, doorway
from shard_node.fanout.transport import FindableWebSocketProtocol

CLOSE_WITHIN = 3

Accept = Callable[[Any, Callable[[OSError], None], Take | None], None]
"""Takes the accepting over from a uvicorn.Server that has started (director/entrance.open_entrances)."""

_log = structlog.get_logger()


class Listener(uvicorn.Server):
    """Serves `app`, and members by `sessions`; without those everything takes the stock way. It has no signal handlers
    of its own: uvicorn's would close the sockets before a word was said."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, sessions: Sessions | None, accept: Accept) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http="httptools" if sessions is None else BoundedHttpProtocol,
            ws=FindableWebSocketProtocol,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            ws_max_size=MAX_PAYLOAD_BYTES,
            timeout_graceful_shutdown=CLOSE_WITHIN,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        super().__init__(config)
        self._sessions = sessions
        self._accept = accept

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        take = None
        if self._sessions is not None:
            state = self.server_state
            take = doorway(
                self._sessions,
                make_stock=lambda: BoundedHttpProtocol(self.config, state, {}),
                listed=state.connections,
            )
        self._accept(self, lambda error: _log.error("connections_exhausted", why=str(error)), take)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
