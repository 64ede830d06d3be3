"""A Spread: how often values fell between fixed bounds, counted so cheaply that it may stand in a hot path.

Figures of a process are plain numbers on the objects that know them; what reads them for Prometheus does so from
outside, when somebody asks.
"""

from bisect import bisect_left
from collections.abc import Sequence

QUICK = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds in seconds for what takes from a tenth of a millisecond to seconds."""

PATIENT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds in seconds for what takes from hundredths of a second to half a minute."""


class Spread:
    """Counts values by the first of the ascending `bounds` that they do not exceed; `total` is their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def note(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values have been counted."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """How many values do not exceed each bound, as a Prometheus histogram has it; the last is `+Inf`."""
        at_most, reached = list[tuple[str, float]](), 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            reached += count
            at_most.append((bound, reached))
        return at_most
