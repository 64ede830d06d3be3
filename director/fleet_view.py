"""The director's picture of the fleet: all rooms and nodes in memory. No I/O; `fleet_feed` keeps it up to date.

1. Rooms come from a snapshot and the notices after it, by (generation, number). A gap, a new generation or an
   interruption asks for another snapshot; until it is there the old picture serves.
2. Of two records of a room the one with the higher version stands.
3. A node is gone if a notice says so, or if a read of all leases that was asked for after the node was last heard of
   lacks it. Silence of Redis proves nothing: nodes known then stay (design, invariant 7).
4. A room counts for its owner, one incarnation of a node, from the moment it is placed: a node that starts anew is
   empty, whatever records still name it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.lease import LiveNodes, NodeLease, NodeState
from director.contract.ownership import (
    Interrupted,
    MembersCounted,
    NodeChanged,
    NodeGone,
    Notice,
    RoomChanged,
    RoomGone,
    RoomRecord,
    Snapshot,
)
from director.core.placement import Facts, room_load
from director.core.ring import Ring


@dataclass(frozen=True, slots=True)
class Placement:
    """A room's record and the lease of the node that owns it."""

    record: RoomRecord
    lease: NodeLease


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node whose lease stands as far as is known; it cannot lapse before `lapses_at` of the own monotonic clock."""

    lease: NodeLease
    lapses_at: float
    heard_at: float


class FleetView:
    """What is known. Look-ups never wait; instants are of the monotonic clock that the caller names."""

    def __init__(self) -> None:
        self._generation: str | None = None
        self._number = 0
        self._number_due = 0
        self._rooms: dict[RoomId, RoomRecord] = {}
        self._nodes: dict[NodeName, KnownNode] = {}
        self._gone: dict[tuple[NodeName, Incarnation], float] = {}
        self._loads: Counter[tuple[NodeName, Incarnation]] = Counter()
        self._ring = Ring(())
        self.needs_snapshot = True

    # -- look-ups

    @property
    def is_loaded(self) -> bool:
        """Whether there has been a snapshot."""
        return self._generation is not None

    @property
    def room_count(self) -> int:
        return len(self._rooms)

    def leases(self) -> Sequence[NodeLease]:
        """The leases known to stand."""
        return [known.lease for known in self._nodes.values()]

    def node_of(self, name: NodeName) -> KnownNode | None:
        return self._nodes.get(name)

    def record_of(self, room: RoomId) -> RoomRecord | None:
        return self._rooms.get(room)

    def lives(self, record: RoomRecord) -> bool:
        """Whether the lease of the record's owner stands with that incarnation."""
        known = self._nodes.get(record.owner)
        return known is not None and known.lease.incarnation == record.incarnation

    def placement_of(self, room: RoomId) -> Placement | None:
        """Where a room is, if it has an owner that lives."""
        record = self._rooms.get(room)
        return None if record is None else self.placement_by(record)

    def placement_by(self, record: RoomRecord) -> Placement | None:
        """The placement that a record means, if its owner lives."""
        known = self._nodes.get(record.owner)
        if known is None or known.lease.incarnation != record.incarnation:
            return None
        return Placement(record, known.lease)

    def facts_of(self, room: RoomId, record: RoomRecord | None) -> Facts:
        """The facts to place a room by, given the record that stands."""
        return Facts(
            record=record,
            owner_lives=record is not None and self.lives(record),
            serving=frozenset(n for n, known in self._nodes.items() if known.lease.state is NodeState.SERVING),
            loads={n: self._loads[n, known.lease.incarnation] for n, known in self._nodes.items()},
            order=self._ring.order_of(room),
            load=_load_of(record) if record else room_load(),
        )

    # -- what Redis says

    def hear(self, notice: Notice | Interrupted, *, now: float) -> None:
        """Take a notice. Sets `needs_snapshot` where one may have been missed; those are not applied."""
        if isinstance(notice, Interrupted):
            self.needs_snapshot = True
            return
        if isinstance(notice, MembersCounted):
            self._count(notice)
            return
        if notice.generation != self._generation:
            self.needs_snapshot = True
            return
        if notice.number <= self._number:
            return
        if notice.number > self._number + 1:
            self.needs_snapshot = True
            return
        self._number = notice.number
        match notice:
            case RoomChanged(record=record):
                self._put(record)
            case RoomGone(room=room, number=number):
                standing = self._rooms.get(room)
                if standing is not None and standing.version < number:
                    self._remove(room)
            case NodeChanged(lease=lease):
                if (lease.node, lease.incarnation) not in self._gone:
                    self._meet(lease, lapses_at=now, now=now)
            case NodeGone(node=node, incarnation=incarnation):
                self.bury(node, incarnation, now=now)

    def load(self, snapshot: Snapshot) -> None:
        """Replace all rooms."""
        self._generation, self._number = snapshot.generation, snapshot.number
        self._number_due = min(self._number_due, snapshot.number)
        self._rooms = {record.room: record for record in snapshot.rooms}
        self._loads = Counter()
        for record in snapshot.rooms:
            self._loads[record.owner, record.incarnation] += _load_of(record)
        self.needs_snapshot = False

    def read_leases(self, read: LiveNodes, *, sent_at: float) -> None:
        """Take a read of all leases that was asked for at `sent_at`.

        A change that it knows and that the next read still finds unheard of was missed: that sets `needs_snapshot`.
        """
        if read.generation != self._generation or self._number < self._number_due:
            self.needs_snapshot = True
        self._number_due = read.number
        self._gone = {key: at for key, at in self._gone.items() if at >= sent_at}
        seen = {node.lease.node for node in read.nodes}
        for node in read.nodes:
            known = self._nodes.get(node.lease.node)
            is_newer_known = known is not None and known.heard_at > sent_at
            if not is_newer_known and (node.lease.node, node.lease.incarnation) not in self._gone:
                self._meet(node.lease, lapses_at=sent_at + node.remaining, now=sent_at)
        for name, known in list(self._nodes.items()):
            if name not in seen and known.heard_at <= sent_at:
                self._forget(name)

    # -- what this director itself found out

    def learn(self, record: RoomRecord) -> None:
        """Take a record that a claim answered, ahead of its notice. Of older ones the notices have told the end."""
        if record.version > self._number:
            self._put(record)

    def bury(self, node: NodeName, incarnation: Incarnation, *, now: float) -> None:
        """Take it that this incarnation holds no lease any more, whatever a read that is under way will say."""
        self._gone[node, incarnation] = now
        known = self._nodes.get(node)
        if known is not None and known.lease.incarnation == incarnation:
            self._forget(node)

    @contextmanager
    def expecting(self, lease: NodeLease, load: int) -> Iterator[None]:
        """Count a room that is being claimed for a node, so that others placed meanwhile see it."""
        loads, key = self._loads, (lease.node, lease.incarnation)
        loads[key] += load
        try:
            yield
        finally:
            loads[key] -= load

    # -- inside

    def _put(self, record: RoomRecord) -> None:
        standing = self._rooms.get(record.room)
        if standing is not None:
            if standing.version >= record.version:
                return
            self._loads[standing.owner, standing.incarnation] -= _load_of(standing)
        self._rooms[record.room] = record
        self._loads[record.owner, record.incarnation] += _load_of(record)

    def _remove(self, room: RoomId) -> None:
        record = self._rooms.pop(room)
        self._loads[record.owner, record.incarnation] -= _load_of(record)

    def _count(self, notice: MembersCounted) -> None:
        for room, members in notice.members.items():
            record = self._rooms.get(room)
            if record is not None and record.owner == notice.node:
                counted = msgspec.structs.replace(record, members=members, peak=max(record.peak, members))
                self._rooms[room] = counted
                self._loads[record.owner, record.incarnation] += _load_of(counted) - _load_of(record)

    def _meet(self, lease: NodeLease, *, lapses_at: float, now: float) -> None:
        self._nodes[lease.node] = KnownNode(lease, lapses_at, now)
        if lease.node not in self._ring.nodes:
            self._ring = Ring(self._nodes)

    def _forget(self, node: NodeName) -> None:
        del self._nodes[node]
        self._ring = Ring(self._nodes)


def _load_of(record: RoomRecord) -> int:
    return room_load(members=record.members, peak=record.peak)
