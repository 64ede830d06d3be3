"""A member's timeline: what it has applied, in order and each number once (protocol, section 7.3)."""

from dataclasses import dataclass

from loadtest.contract.received import Frame, Joined
from persistence.contract.messages import Entry
from shard_node.contract.events import Position


@dataclass(frozen=True, slots=True)
class Applied:
    """The list goes on: `entries` in order (none if all were known). `skipped` are ranges that a `gap` told of."""

    entries: tuple[Entry, ...]
    skipped: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The list begins anew with `entries`; what lies between the former position and them was not given."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """Something before it is missing; it waits for that."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """It belongs to another log than the joined one, or comes before `joined`: join again."""


class Timeline:
    """The position of one member. Moved by `joined`, `frame` and `gap` alone."""

    def __init__(self, position: Position | None = None) -> None:
        self.position = position
        self._held: dict[int, tuple[Frame, bool]] = {}

    @property
    def has_hole(self) -> bool:
        """Whether something waits for what is missing before it."""
        return bool(self._held)

    def join(self, joined: Joined) -> Applied | Started:
        """Take the first event of a new connection; what the former connection left waiting is forgotten."""
        self._held.clear()
        before, self.position = self.position, joined.pos
        if not joined.recovered or before is None:
            return Started(joined.entries)
        return Applied(tuple(entry for entry in joined.entries if entry.seq > before.seq))

    def take(self, frame: Frame, *, is_gap: bool = False) -> Applied | Held | Foreign:
        """Apply a `frame` or a `gap`, and whatever waited for it. What overlaps is cut."""
        if self.position is None or frame.log != self.position.log:
            return Foreign()
        if not is_gap and not self._held and frame.from_ == self.position.seq + 1:  # as nearly always
            self.position = Position(frame.log, max(self.position.epoch, frame.epoch), frame.to)
            return Applied(frame.entries)
        self._held[frame.from_] = (frame, is_gap)
        entries: list[Entry] = []
        skipped: list[tuple[int, int]] = []
        while due := [start for start in self._held if start <= self.position.seq + 1]:
            part, part_is_gap = self._held.pop(min(due))
            last = self.position.seq
            if part.to > last:
                entries += [entry for entry in part.entries if entry.seq > last]
                if part_is_gap:
                    skipped.append((last + 1, part.to))
                self.position = Position(part.log, max(self.position.epoch, part.epoch), part.to)
        if frame.from_ in self._held:
            return Held()
        return Applied(tuple(entries), tuple(skipped))
