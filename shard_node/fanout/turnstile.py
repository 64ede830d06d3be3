"""The turnstile: admissions begin a few at a time, so that a crowd at the door leaves time for those inside."""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

PER_TURN = 16


class Turnstile:
    """Starts coroutines in the order in which they came, 16 in each turn of the event loop; each fails by itself."""

    def __init__(self, *, per_turn: int = PER_TURN) -> None:
        self._per_turn = per_turn
        self._waiting: deque[Coroutine[Any, Any, None]] = deque()
        self._inside: set[asyncio.Task[None]] = set()

    def admit(self, admission: Coroutine[Any, Any, None]) -> None:
        """Start the coroutine when its turn comes; the first of a quiet time at once."""
        self._waiting.append(admission)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    def close(self) -> None:
        """Let nobody else in."""
        while self._waiting:
            self._waiting.popleft().close()

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(min(self._per_turn, len(self._waiting))):
            task = loop.create_task(self._waiting.popleft())
            self._inside.add(task)
            task.add_done_callback(self._inside.discard)
        if self._waiting:
            loop.call_soon(self._turn)
