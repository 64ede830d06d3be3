"""Lookout: those who wait until something is so, and are told by whoever changes it."""

import asyncio
from collections.abc import Callable


class Lookout:
    """Conditions that are waited for. `look` after every change, in the same step; `close` when nothing will change."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self.is_closed = False

    async def until(self, is_so: Callable[[], bool], timeout: float | None) -> None:
        """Wait until `is_so`, or the lookout is closed. Raises TimeoutError after `timeout` seconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = is_so
        try:
            self.look()
            async with asyncio.timeout(timeout):
                await waiter
        finally:
            del self._waiting[waiter]

    def look(self) -> None:
        """Tell those whose condition holds now."""
        for waiter, is_so in self._waiting.items():
            if not waiter.done() and (self.is_closed or is_so()):
                waiter.set_result(None)

    def close(self) -> None:
        """Tell everybody: nothing will change any more."""
        self.is_closed = True
        self.look()
