"""The lecture's clock: how far into the lecture something was said, with the breaks taken out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from persistence.contract.messages import Entry


@dataclass(frozen=True, slots=True)
class Pause:
    """A stretch in which the lecture stood still: from an instant up to another, in Unix milliseconds."""

    from_at: int
    to_at: int


@dataclass(frozen=True, slots=True)
class LectureClock:
    """Begins at `start_at` (Unix milliseconds) and stands still in each pause.

    Raises ValueError for pauses that are empty, overlap, do not come in their order or begin before the lecture.
    """

    start_at: int
    pauses: tuple[Pause, ...] = ()

    def __post_init__(self) -> None:
        ended_at = self.start_at
        for pause in self.pauses:
            if pause.from_at < ended_at:
                raise ValueError("pauses come one after the other, and none begins before the lecture")
            if pause.to_at <= pause.from_at:
                raise ValueError("a pause ends after it begins")
            ended_at = pause.to_at

    def at(self, instant: int) -> int:
        """Milliseconds into the lecture; negative before it. Never falls while `instant` does not."""
        paused = sum(min(instant, it.to_at) - it.from_at for it in self.pauses if instant > it.from_at)
        return instant - self.start_at - paused

    def is_paused(self, instant: int) -> bool:
        return any(it.from_at <= instant < it.to_at for it in self.pauses)


def with_pauses(entries: Iterable[Entry], pauses: list[Pause]) -> Iterator[Entry | Pause]:
    """The entries, each pause at its place before what was said in it and later; takes the pauses that it gives from
    the list, so that the next entries go on where these ended."""
    for entry in entries:
        while pauses and pauses[0].from_at <= entry.at:
            yield pauses.pop(0)
        yield entry
