"""The direct way to a WebSocket member: a finished frame, written straight to the transport (design, section 4).

The stock way (python-engineio's queue and writer task) stays for all else, and order between the two is kept: the lane
is open only while the stock writer has written all that it was ever given. That its queue is empty does not tell: what
it has taken out may still be on its way. What tells is that it asks for more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.protocol import State

from shard_node.fanout.connection import MAX_BUFFERED
from shard_node.fanout.transport import FindableWebSocketProtocol

MAX_WAITING = 512


class LaneQueue(asyncio.Queue[Any]):
    """A stock queue that is bounded, whoever puts, and remembers whether the stock writer has finished all of it.

    Beyond 512 packets or 4 MiB nothing is kept and `on_overflow` is called: the client does not read, and is to be cut.
    """

    unsent = 0
    size = 0
    on_overflow: Callable[[], None] | None = None

    def _put(self, item: Any) -> None:
        if item is not None and (self.qsize() >= MAX_WAITING or self.size > MAX_BUFFERED):
            if self.on_overflow is not None:
                self.on_overflow()
            return
        self.unsent += 1
        self.size += _size_of(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.size -= _size_of(item)
        return item


def _size_of(item: Any) -> int:
    data = getattr(item, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0


class Lane:
    """The WebSocket of one Engine.IO socket, from the moment at which a stock writer serves it."""

    __slots__ = ("_direct", "_poll", "_protocol", "_queue", "_started", "transport")

    def __init__(self, socket: Any, protocol: FindableWebSocketProtocol, *, direct: bool) -> None:
        self._direct = direct
        self._protocol = protocol
        self._queue: LaneQueue = socket.queue
        self._poll: Callable[[], Awaitable[Any]] = socket.poll
        self._started = False
        self.transport: asyncio.Transport = protocol.transport
        # an instance attribute: the writer task looks `poll` up on the socket
        socket.poll = self._ask_for_more
        socket.lane = self

    @property
    def is_open(self) -> bool:
        """Whether a frame may be written now without overtaking anything."""
        return (
            self._direct
            and self._queue.unsent == 0
            and self._started
            and self._protocol.conn.state is State.OPEN
            and not self._protocol.conn.extensions
            and not self.transport.is_closing()
        )

    @property
    def is_drained(self) -> bool:
        """Whether the peer reads: the transport's buffer is not above its high-water mark."""
        return self._protocol.writable.is_set()

    def withdraw(self, socket: Any) -> None:
        """The upgrade came to nothing: the socket goes on by polling."""
        socket.poll = self._poll
        socket.lane = None
        socket.upgrading = False

    async def _ask_for_more(self) -> Any:
        self._started = True
        self._queue.unsent = self._queue.qsize()
        return await self._poll()
