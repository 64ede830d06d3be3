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
Take = Callable[[socket.socket, object], None]

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Entrance:
    """Accepts at a listening socket in place of asyncio's own server, until that removes the reader, and gives each
    connection to `take` with the address of its other end; the connections do not block, nor wait to fill packets.

    `on_trouble` is told when the system has no more connections to give; it is tried again `retry_after` seconds later.
    """

    def __init__(
        self,
        listening: socket.socket,
        take: Take,
        on_trouble: Callable[[OSError], None],
        *,
        retry_after: float = RETRY_AFTER,
    ) -> None:
        self._listening = listening
        self._take = take
        self._on_trouble = on_trouble
        self._retry_after = retry_after
        self._loop = asyncio.get_running_loop()

    def open(self) -> None:
        """Accept from now on."""
        if self._listening.fileno() >= 0:
            # Linux gives it to what is accepted
            self._listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
            self._take(connection, address)


def protocol_of(server: Any) -> asyncio.Protocol:
    """What a uvicorn.Server makes for each connection."""
    config = server.config
    protocol: asyncio.Protocol = config.http_protocol_class(
        config=config, server_state=server.server_state, app_state=server.lifespan.state
    )
    return protocol


def open_entrances(server: Any, on_trouble: Callable[[OSError], None], take: Take | None = None) -> None:
    """Take the accepting over from a uvicorn.Server that has started; it closes the sockets as ever. Without `take`
    connections are the server's own."""
    loop: Any = asyncio.get_running_loop()

    def give_to_server(connection: socket.socket, address: object) -> None:
        loop._make_socket_transport(connection, protocol_of(server), extra={"peername": address})

    for servers in server.servers:
        for listening in servers.sockets:
            loop.remove_reader(listening.fileno())
            Entrance(listening._sock, take or give_to_server, on_trouble).open()
