"""The newest entries of a room, encoded: all that a returning member can be given (protocol, section 3).

The bounds are those of a recovery, so what is not here is `too_far` by definition, and no join reads the store.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import msgspec

from director.contract.ids import Seq
from persistence.contract.messages import Entry, Kind
from shard_node.contract.events import MAX_ANSWER_BYTES, MAX_RECOVERED

MAX_ANSWERS = 16

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Kept:
    entry: Entry
    encoded: bytes


class RecentEntries:
    """A contiguous run of entries up to the head: at most 500, and at most 256 KiB of JSON."""

    def __init__(self, entries: Iterable[Entry], *, head: Seq) -> None:
        self._kept: deque[_Kept] = deque()
        self._size = 1  # each entry brings one comma or bracket, and there is one bracket more
        self._answers: dict[tuple[Seq, int], msgspec.Raw] = {}
        self.head = head
        for entry in entries:
            self._keep(entry)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def first(self) -> Seq:
        """The lowest number held; head + 1 if none is."""
        return Seq(self.head - len(self._kept) + 1)

    def append(self, entry: Entry) -> bytes:
        """Add the next entry, and let go of the oldest beyond the bounds; the entry's JSON.

        Raises ValueError if a number is skipped."""
        if entry.seq != self.head + 1:
            raise ValueError(f"entry {entry.seq} does not follow {self.head}")
        self.head = entry.seq
        self._answers.clear()
        encoded = self._keep(entry)
        if entry.kind is Kind.DELETE and isinstance(entry.target, int):
            self._strike(Seq(entry.target))
        return encoded

    def covers(self, after: Seq) -> bool:
        """Whether everything with a number above `after` is held."""
        return self.first - 1 <= after <= self.head

    def after(self, seq: Seq, *, limit: int = MAX_RECOVERED) -> tuple[msgspec.Raw, ...]:
        """The first `limit` entries above `seq`, encoded. Raises ValueError where `seq` is not covered."""
        if not self.covers(seq):
            raise ValueError(f"what follows {seq} is not held, only {self.first} to {self.head}")
        start = seq + 1 - self.first
        return tuple(msgspec.Raw(self._kept[i].encoded) for i in range(start, min(start + limit, len(self._kept))))

    def size_after(self, seq: Seq) -> int:
        """Bytes of all entries above a covered `seq`."""
        return sum(map(len, self.after(seq)))

    def newest_within(self, count: int, size: int) -> int:
        """How many of the newest entries are `count` at most, and `size` bytes."""
        fitting = 0
        for kept in islice(reversed(self._kept), count):
            size -= len(kept.encoded)
            if size < 0:
                break
            fitting += 1
        return fitting

    def answer_after(self, seq: Seq) -> msgspec.Raw:
        """All above a covered `seq` as one JSON array; made once for all who ask before the next entry comes."""
        return self._answer(seq, MAX_RECOVERED)

    def answer_last(self, count: int) -> msgspec.Raw:
        """The last `count` entries, or as many as are held, as one JSON array; made once as above."""
        return self._answer(Seq(max(self.head - count, self.first - 1)), count)

    def _answer(self, seq: Seq, limit: int) -> msgspec.Raw:
        answer = self._answers.get((seq, limit))
        if answer is None:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            answer = self._answers[seq, limit] = msgspec.Raw(b"[" + b",".join(self.after(seq, limit=limit)) + b"]")
        return answer

    def entry(self, seq: Seq) -> Entry | None:
        """The entry with this number, if it is held."""
        return self._kept[seq - self.first].entry if self.first <= seq <= self.head else None

    def _keep(self, entry: Entry) -> bytes:
        encoded = _encode(entry)
        self._kept.append(_Kept(entry, encoded))
        self._size += len(encoded) + 1
        while len(self._kept) > MAX_RECOVERED or (self._size > MAX_ANSWER_BYTES and len(self._kept) > 1):
            self._size -= len(self._kept.popleft().encoded) + 1
        return encoded

    def _strike(self, target: Seq) -> None:
        if not self.first <= target <= self.head:
            return
        kept = self._kept[target - self.first]
        self._size -= len(kept.encoded)
        kept.entry = kept.entry.without_text()
        kept.encoded = _encode(kept.entry)
        self._size += len(kept.encoded)
