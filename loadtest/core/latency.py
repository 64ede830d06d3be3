"""Latency: a histogram of fixed size whose percentiles are at most 1 % off (after Gil Tene's HDR histogram)."""

import math

_LOWEST = 1e-6
_GROWTH = 1.02
_LOG_GROWTH = math.log(_GROWTH)
# Each bucket is 2 % wider than the one before it; the last holds everything above about 100 minutes.
BUCKETS = 1 + math.ceil(math.log(6_000 / _LOWEST) / _LOG_GROWTH)


class Latency:
    """Counts spans in seconds, from one microsecond up. A percentile is its bucket's middle, so at most 1 % off."""

    __slots__ = ("_counts", "count", "highest", "total")

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self.count = 0
        self.total = 0.0
        self.highest = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a span; one below a microsecond counts as a microsecond."""
        bucket = 0 if seconds <= _LOWEST else min(BUCKETS - 1, 1 + int(math.log(seconds / _LOWEST) / _LOG_GROWTH))
        self._counts[bucket] += count
        self.count += count
        self.total += seconds * count
        self.highest = max(self.highest, seconds)

    def merge(self, other: "Latency") -> None:
        """Count everything that `other` has counted."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self.total += other.total
        self.highest = max(self.highest, other.highest)

    @property
    def mean(self) -> float | None:
        """The mean in seconds; None if nothing was counted."""
        return self.total / self.count if self.count else None

    def percentile(self, percent: float) -> float | None:
        """The span that `percent` of those counted do not exceed, in seconds; None if nothing was counted."""
        if not self.count:
            return None
        if percent >= 100:
            return self.highest
        wanted = max(1, math.ceil(self.count * percent / 100))
        reached = 0
        bucket = -1
        while reached < wanted:
            bucket += 1
            reached += self._counts[bucket]
        middle = _LOWEST if bucket == 0 else _LOWEST * _GROWTH ** (bucket - 0.5)
        return min(middle, self.highest)
