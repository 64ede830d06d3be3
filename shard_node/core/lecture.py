"""The lecture of a room, encoded: its newest entries that nobody misses, however slow (design, section 4: lanes).

These are the entries of staff, and all that change what stands: deletions, notices, modes. They are remembered for
longer than other entries, so that a member that fell far behind is told of them where chat is skipped.
"""

from collections.abc import Iterable

import msgspec

from director.contract.ids import Seq
from persistence.contract.messages import Entry, Kind
from shard_node.contract.events import MAX_ANSWER_BYTES, MAX_RECOVERED

_CHAT = frozenset({Kind.MESSAGE, Kind.QUESTION})

_encode = msgspec.json.Encoder().encode


def is_lecture(entry: Entry) -> bool:
    """Whether no member may miss the entry."""
    return entry.by.role.is_staff or entry.kind not in _CHAT


class LectureEntries:
    """The newest 500 such entries at most, and 256 KiB of JSON. Complete for all numbers above `complete_after`."""

    def __init__(self, *, complete_after: Seq) -> None:
        self.complete_after = complete_after
        self._kept: dict[Seq, tuple[Entry, bytes]] = {}
        self._size = 0

    def append(self, entry: Entry, encoded: bytes) -> None:
        """Take note of the room's next entry, which `encoded` is the JSON of."""
        if entry.kind is Kind.DELETE and isinstance(entry.target, int):
            self._strike(entry.target)
        if not is_lecture(entry):
            return
        self._kept[entry.seq] = entry, encoded
        self._size += len(encoded)
        while len(self._kept) > MAX_RECOVERED or (self._size > MAX_ANSWER_BYTES and len(self._kept) > 1):
            self.complete_after = next(iter(self._kept))
            self._size -= len(self._kept.pop(self.complete_after)[1])

    def between(self, after: Seq, to: Seq) -> Iterable[tuple[Seq, msgspec.Raw]]:
        """The lecture's entries above `after`, up to `to`, by ascending number. Raises ValueError for more than is
        complete."""
        if after < self.complete_after:
            raise ValueError(f"what follows {after} is not held, only what follows {self.complete_after}")
        newest_first: list[tuple[Seq, msgspec.Raw]] = []
        for seq in reversed(self._kept):
            if seq <= after:
                break
            if seq <= to:
                newest_first.append((seq, msgspec.Raw(self._kept[seq][1])))
        return reversed(newest_first)

    def _strike(self, target: Seq) -> None:
        kept = self._kept.get(target)
        if kept is None:
            return
        entry, encoded = kept[0].without_text(), kept[1]
        self._size -= len(encoded)
        encoded = _encode(entry)
        self._size += len(encoded)
        self._kept[target] = entry, encoded
