"""LockHold: how long one transaction has held the store's write lock, as somebody sees it who looks now and then.

1. Holding is counted from the second look on at the same process with the same note; another process, another note, or
   nobody begins anew. (A process that writes all the time is seen often too, but with a new note each time.)
2. A span between two looks counts for `MAX_STEP` at most: whoever was stopped himself has not seen what happened.
3. A transaction is overdue once, after more than `limit` seconds.
"""

from dataclasses import dataclass, replace

MAX_STEP = 0.5


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lock: a process, 0 if it is none that we can see, and the note that it left for this transaction."""

    pid: int
    note: bytes


@dataclass(frozen=True, slots=True)
class LockHold:
    """What the looks up to now amount to."""

    holder: Holder | None = None
    held: float = 0.0
    is_overdue: bool = False


def look(hold: LockHold, holder: Holder | None, *, elapsed: float, limit: float) -> tuple[LockHold, Holder | None]:
    """The hold after another look, `elapsed` seconds after the former one, and the holder if it is overdue now."""
    if holder is None or holder != hold.holder:
        return LockHold(holder), None
    held = hold.held + min(elapsed, MAX_STEP)
    if hold.is_overdue or held <= limit:
        return replace(hold, held=held), None
    return LockHold(holder, held, is_overdue=True), holder
