"""How often one person may ask: a token bucket for each user, and slow mode for each student."""

from dataclasses import dataclass
from itertools import islice

from director.contract.ids import UserId


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then `per_second`."""

    per_second: float
    burst: float


class TokenBucket:
    """Fills with `rate.per_second` up to `rate.burst`; begins full. `now` is monotonic, in seconds."""

    __slots__ = ("_at", "_rate", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._tokens = rate.burst
        self._at = now

    def take(self, now: float) -> float:
        """Take one token: 0.0 if there was one, else nothing is taken and the answer is the seconds until there is."""
        self._tokens = min(self._rate.burst, self._tokens + (now - self._at) * self._rate.per_second)
        self._at = now
        if self._tokens >= 1 - 1e-6:  # a client that comes back at its very slot is not turned away by rounding
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate.per_second

    def is_full(self, now: float) -> bool:
        """Whether nothing of the burst is used up."""
        return self._tokens + (now - self._at) * self._rate.per_second >= self._rate.burst

    def pace(self, rate: Rate) -> None:
        """Go on at another rate with the tokens that are there."""
        self._rate = rate


class SlowMode:
    """When each student last posted, so that the next post waits its turn. Repeating the same `cid` does not wait."""

    def __init__(self) -> None:
        self._last: dict[UserId, tuple[str, float]] = {}

    def wait_of(self, user: UserId, cid: str, *, slow: float, now: float) -> float:
        """Seconds until `user` may post `cid`; 0.0 if it may now."""
        last = self._last.get(user)
        if last is None or last[0] == cid:
            return 0.0
        return max(0.0, last[1] + slow - now)

    def note(self, user: UserId, cid: str, *, slow: float, now: float) -> None:
        """Remember a post. Forgets the users whose turn has come, so it holds no more than post within `slow`."""
        known = self._last.get(user)
        if known is None or known[0] != cid:
            self._last.pop(user, None)
            self._last[user] = (cid, now)
        for other, (_, at) in list(islice(self._last.items(), 2)):
            if at + slow <= now and other != user:
                del self._last[other]

    def clear(self) -> None:
        """Slow mode is over."""
        self._last.clear()
