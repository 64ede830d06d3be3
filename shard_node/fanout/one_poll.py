"""OnePoll: a long-polling client has one poll open at a time (Engine.IO 4, "Transports: HTTP long-polling").

A second one tells that the first broke off: its TCP connection was reset, and the client's HTTP library tried again by
itself, unseen. Stock lets both wait, and the dead one takes the next packets with it. So the second is refused and the
session ends with it, as in Engine.IO's own server; the client comes back with its position.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from engineio.exceptions import QueueEmpty


class OnePoll:
    """Stands before the `poll` of an Engine.IO socket; a WebSocket's writer passes through it unhindered."""

    __slots__ = ("_is_open", "_poll", "_socket")

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._poll: Callable[[], Awaitable[Any]] = socket.poll
        self._is_open = False

    async def __call__(self) -> Any:
        """The next packets. Raises QueueEmpty, upon which stock closes the session, if a poll is open already."""
        if self._is_open and not (self._socket.upgrading or self._socket.upgraded):
            raise QueueEmpty
        self._is_open = True
        try:
            return await self._poll()
        finally:
            self._is_open = False
