"""The turnstile: admissions begin a few at a time, so that a crowd at the door leaves time for those inside."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

PER_TURN = 16

Admit = Callable[[], Coroutine[Any, Any, None] | None]


class Turnstile:
    """Admits in the order in which they came, 16 in each turn of the event loop. What an admission answers must be
    waited for: it goes on as a task, and fails by itself."""

    def __init__(self, *, per_turn: int = PER_TURN) -> None:
        self._per_turn = per_turn
        self._waiting: deque[Admit] = deque()
        self._inside: set[asyncio.Task[None]] = set()

    def queue(self, admit: Admit) -> None:
        """Call `admit` when its turn comes; the first of a quiet time at once."""
        self._waiting.append(admit)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    def close(self) -> None:
        """Let nobody else in."""
        self._waiting.clear()

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            for _ in range(min(self._per_turn, len(self._waiting))):
                rest = self._waiting.popleft()()
                if rest is not None:
                    task = loop.create_task(rest)
                    self._inside.add(task)
                    task.add_done_callback(self._inside.discard)
        finally:  # whatever became of one, those behind have their turn
            if self._waiting:
                loop.call_soon(self._turn)
