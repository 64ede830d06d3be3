"""Turns: when a writer's next transaction may start, and which rooms' batches may go into it.

1. A room rests for its pace after a batch was cut; a room that has rested is due at once.
2. A few transactions may start one right after another, so that a lone message never waits for another room's turn;
   where more are wanted each takes all that is due by then, and they start `REST` times as far apart as the last one
   took: a quick store answers soon, and a slow or busy one is asked seldom and for more.
3. While the store is out, nothing starts before it is to be tried again.
"""

from collections.abc import Iterable

from director.contract.ids import RoomId

SOON = 0.0005
"""Seconds by which a turn comes early: timers are no more exact."""

REST = 2
"""Transactions that follow one another leave the store alone for half of the time."""

_LONG_AGO = float("-inf")


class Turns:
    """`burst` transactions at once, then one each `least` to `most` seconds. Instants are of one monotonic clock."""

    def __init__(self, *, least: float, most: float, burst: int) -> None:
        self._least = least
        self._most = most
        self._burst = burst
        self._apart = least
        self._start_at = _LONG_AGO
        self._rests_until: dict[RoomId, float] = {}

    @property
    def start_at(self) -> float:
        """When the next transaction may start at the earliest."""
        return self._start_at

    def due_at(self, room: RoomId) -> float:
        """When a draft into this room may be on its way."""
        return max(self._start_at, self._rests_until.get(room, _LONG_AGO))

    def next_of(self, rooms: Iterable[RoomId]) -> float:
        """When the first of some rooms, at least one, is due."""
        return min(map(self.due_at, rooms))

    def has_rested(self, room: RoomId, now: float) -> bool:
        """Whether the room may be in a transaction that starts now."""
        return self._rests_until.get(room, _LONG_AGO) <= now + SOON

    def started(self, now: float) -> None:
        """A transaction starts."""
        self._start_at = max(self._start_at, now - (self._burst - 1) * self._apart) + self._apart

    def ended(self, *, took: float) -> None:
        """The transaction is over, after so many seconds."""
        self._apart = min(self._most, max(self._least, REST * took))

    def rest(self, room: RoomId, *, until: float) -> None:
        """The room's batch was cut."""
        self._rests_until[room] = until

    def forget(self, room: RoomId) -> None:
        """The room need not rest: it was let go, or nothing of its batch was committed."""
        self._rests_until.pop(room, None)

    def hold(self, *, until: float) -> None:
        """The store is out."""
        self._start_at = until
