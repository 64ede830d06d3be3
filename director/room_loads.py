"""Loads: what each node's rooms count for, kept up to date as rooms come, grow, move and are reserved. No I/O.

A room counts for its owner, one incarnation of a node, from the moment it is placed: a node that starts anew is empty,
whatever records still name it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.ownership import RoomRecord
from director.core.placement import room_load

NodeKey = tuple[NodeName, Incarnation]


class RoomLoads:
    """The sums. `reserved` are the members that rooms count for because they are announced, owned or not."""

    def __init__(self) -> None:
        self.reserved: Mapping[RoomId, int] = {}
        self._loads: Counter[NodeKey] = Counter()
        self._records: dict[RoomId, tuple[RoomRecord, int]] = {}
        self._expected: Counter[NodeKey] = Counter()

    def load_of(self, room: RoomId, record: RoomRecord | None) -> int:
        """What a room counts for, given its record if it has one."""
        reserved = self.reserved.get(room, 0)
        if record is None:
            return room_load(reserved=reserved)
        return room_load(members=record.members, reserved=reserved, peak=record.peak)

    def on(self, key: NodeKey) -> int:
        """What the rooms of a node count for, with those that are being claimed for it."""
        return self._loads[key] + self._expected[key]

    def owners(self) -> Collection[NodeKey]:
        """All that own a room."""
        return self._loads.keys()

    def count(self, record: RoomRecord) -> None:
        """Count a room by its record, and no more by a former one."""
        self.discard(record.room)
        load = self.load_of(record.room, record)
        self._records[record.room] = record, load
        self._loads[record.owner, record.incarnation] += load

    def discard(self, room: RoomId) -> None:
        """Count a room no more."""
        counted = self._records.pop(room, None)
        if counted is not None:
            record, load = counted
            key = record.owner, record.incarnation
            self._loads[key] -= load
            if not self._loads[key]:
                del self._loads[key]

    def count_anew(self, records: Iterable[RoomRecord]) -> None:
        """Count these rooms and no others; those that are being claimed go on counting."""
        self._loads.clear()
        self._records.clear()
        for record in records:
            self.count(record)

    def reserve(self, reserved: Mapping[RoomId, int]) -> None:
        """Let rooms count for what is reserved now; cheap where that is the same object."""
        if reserved is self.reserved:
            return
        changed = {room for room, _ in self.reserved.items() ^ reserved.items()}
        self.reserved = reserved
        for room in changed & self._records.keys():
            self.count(self._records[room][0])

    @contextmanager
    def expecting(self, key: NodeKey, load: int) -> Iterator[None]:
        """Count a room that is being claimed for a node, so that others placed meanwhile see it."""
        self._expected[key] += load
        try:
            yield
        finally:
            self._expected[key] -= load
            if not self._expected[key]:
                del self._expected[key]
