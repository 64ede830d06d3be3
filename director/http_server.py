"""The HTTP server: uvicorn as the director runs it. It ends as it is told to, and can cut a connection."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any, cast

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from director.entrance import open_entrances

CUT = "hall.cut"

log = structlog.get_logger(__name__)


class CuttableHttp(HttpToolsProtocol):
    """uvicorn's protocol over httptools; `scope["extensions"]["hall.cut"]` aborts the request's connection.

    One that is merely closed while its peer does not read stays, with all that is buffered, until the peer has gone.
    """

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {CUT: self.transport.abort}


class HttpServer(uvicorn.Server):
    """uvicorn without its own handling of signals, which ends the process by the signal once more. It accepts by our
    own entrance. `on_shutdown` is to end what would go on answering for ever."""

    has_crashed = False

    def __init__(self, config: uvicorn.Config, *, on_shutdown: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._on_shutdown = on_shutdown

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        open_entrances(self, lambda error: log.error("connections_exhausted", why=str(error)))

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        await self._on_shutdown()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """End in good order."""
        self.should_exit = True

    def crash(self) -> None:
        """End because something broke."""
        self.has_crashed = True
        self.stop()
