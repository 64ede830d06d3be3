"""An event loop whose clock jumps: a test of an hour takes a millisecond, and nothing sleeps."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_MAX_REAL_WAIT = 10.0


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    """Polls for real and, where nothing is ready, jumps the loop's clock instead of waiting."""

    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            ready = super().select(_MAX_REAL_WAIT)
            if not ready:
                raise RuntimeError("the test waits for something that nothing will ever do")
            return ready
        self.loop.jump(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 1,000 s and moves only when all tasks wait for it. For code without threads or sockets."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        super().__init__(selector)
        selector.loop = self
        self._now = 1_000.0

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        """Move the clock on, as a process that was stopped would find it."""
        self._now += seconds


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an async test on a VirtualTimeLoop."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(test(*args, **kwargs))

    return run
