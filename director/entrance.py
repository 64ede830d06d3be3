"""The entrance: connections are accepted a few in each turn of the event loop, and no task is made for any.

asyncio accepts as many as the backlog holds before anything else has its turn, and starts a task for each: a crowd at
the bell would hold everything else up. What is reached into: the private `_make_socket_transport` of asyncio's
selector loops, and the listening sockets of uvicorn's servers (tests/integration/test_internals.py).
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

PER_TURN = 16
RETRY_AFTER = 1.0
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Entrance:
    """Accepts at a listening socket in place of asyncio's own server, until that removes the reader.

    `on_trouble` is told when the system has no more connections to give; it is tried again `retry_after` seconds later.
    """

    def __init__(
        self,
        listening: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        on_trouble: Callable[[OSError], None],
        *,
        retry_after: float = RETRY_AFTER,
    ) -> None:
        self._listening = listening
        self._make_protocol = make_protocol
        self._on_trouble = on_trouble
        self._retry_after = retry_after
        self._loop: Any = asyncio.get_running_loop()

    def open(self) -> None:
        """Accept from now on."""
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(PER_TURN):
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                self._loop.remove_reader(self._listening.fileno())
                self._loop.call_later(self._retry_after, self.open)
                self._on_trouble(error)
                return
            connection.setblocking(False)
            self._loop._make_socket_transport(connection, self._make_protocol(), extra={"peername": address})


def open_entrances(server: Any, on_trouble: Callable[[OSError], None]) -> None:
    """Take the accepting over from a uvicorn.Server that has started; it closes the sockets as ever."""

    def make_protocol() -> asyncio.Protocol:
        config = server.config
        protocol: asyncio.Protocol = config.http_protocol_class(
            config=config, server_state=server.server_state, app_state=server.lifespan.state
        )
        return protocol

    loop = asyncio.get_running_loop()
    for servers in server.servers:
        for listening in servers.sockets:
            loop.remove_reader(listening.fileno())
            Entrance(listening._sock, make_protocol, on_trouble).open()
