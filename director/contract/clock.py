"""Redis' time as a process can tell it from its own monotonic clock (design, invariant 8: tickets' expiry only)."""


class FleetClock:
    """The offset between Redis' time and the own monotonic clock, taken anew at each renewal.

    An answer that says "it is S now", asked for at monotonic time `sent_at` and had at `received_at` (seconds), bounds
    the offset by the round trip; the narrower of the new and the ageing old reading is kept.
    """

    def __init__(self) -> None:
        self._offset_ms: float | None = None
        self._spread_ms = 0.0
        self._taken_at = 0.0

    @property
    def is_set(self) -> bool:
        return self._offset_ms is not None

    def take(self, server_at_ms: int, *, sent_at: float, received_at: float) -> None:
        """Take a reading. An old reading loses 1 ms of its precision for each second of age (clocks drift)."""
        spread = (received_at - sent_at) * 1000
        aged = self._spread_ms + (received_at - self._taken_at)
        if self._offset_ms is None or spread <= aged:
            self._offset_ms = server_at_ms - (sent_at + received_at) * 500
            self._spread_ms = spread
            self._taken_at = received_at

    def now_ms(self, now: float) -> int:
        """Redis' time in Unix milliseconds at monotonic time `now`. Raises LookupError before the first reading."""
        if self._offset_ms is None:
            raise LookupError("Redis' time is not known yet: no renewal has been answered")
        return int(now * 1000 + self._offset_ms)
