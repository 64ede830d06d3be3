"""The direct way to a WebSocket member: a finished frame, written straight to the transport (design, section 4).

The stock way (python-engineio's queue and writer task) stays for all else, and order between the two is kept: the lane
is open only while the stock writer has written all that it was ever given. That its queue is empty does not tell: what
it has taken out may still be on its way. What tells is that it asks for more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.protocol import State

from shard_node.fanout.transport import FindableWebSocketProtocol


class LaneQueue(asyncio.Queue[Any]):
    """A stock queue that remembers whether anything was put that the stock writer has not finished."""

    unsent = 0

    def _put(self, item: Any) -> None:
        self.unsent += 1
        super()._put(item)


class Lane:
    """The WebSocket of one Engine.IO socket, from the moment at which a stock writer serves it."""

    __slots__ = ("_poll", "_protocol", "_queue", "_started", "transport")

    def __init__(self, socket: Any, protocol: FindableWebSocketProtocol) -> None:
        self._protocol = protocol
        self._queue: LaneQueue = socket.queue
        self._poll: Callable[[], Awaitable[Any]] = socket.poll
        self._started = False
        self.transport: asyncio.Transport = protocol.transport
        # an instance attribute: the writer task looks `poll` up on the socket
        socket.poll = self._ask_for_more

    @property
    def is_open(self) -> bool:
        """Whether a frame may be written now without overtaking anything."""
        return (
            self._queue.unsent == 0
            and self._started
            and self._protocol.conn.state is State.OPEN
            and not self._protocol.conn.extensions
            and not self.transport.is_closing()
        )

    @property
    def is_drained(self) -> bool:
        """Whether the peer reads: the transport's buffer is not above its high-water mark."""
        return self._protocol.writable.is_set()

    async def _ask_for_more(self) -> Any:
        self._started = True
        self._queue.unsent = self._queue.qsize()
        return await self._poll()
