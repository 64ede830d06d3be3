"""Patience: how a process waits for a lock that cannot tell it when it is free."""

from collections.abc import Iterator

_FIRST = (0.004, 0.004, 0.003, 0.003, 0.002, 0.002)
_LATER = 0.001


def pauses(within: float) -> Iterator[float]:
    """The pauses, in seconds, between one try and the next, for as long as their sum stays within `within`.

    They grow shorter, so that of several that wait the one that has waited longest looks most often and is likely to
    come next. (A back-off, whose pauses grow, does the opposite: whoever comes last goes first, and the one that has
    waited longest may wait for seconds.)
    """
    waited = 0.0
    tries = 0
    while True:
        pause = _FIRST[tries] if tries < len(_FIRST) else _LATER
        waited += pause
        if waited > within:
            return
        tries += 1
        yield pause
