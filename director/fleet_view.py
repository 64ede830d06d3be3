"""The director's picture of the fleet: all rooms and nodes in memory. No I/O; `fleet_feed` keeps it up to date.

1. Rooms come from a snapshot and the notices after it, by (generation, number). A gap, a new generation or an
   interruption asks for another snapshot; until it is there the old picture serves.
2. Of two records of a room the one with the higher version stands.
3. A lease lapses if a read of all leases that was asked for after the node was last heard of says so. A node whose
   lease lapsed is given no rooms and keeps those that it has, until it is declared dead. Silence of Redis proves
   nothing: nodes known then stay (design, invariant 7), and so do those that a Redis in its settle time forgot.
4. Rooms that a new generation does not know yet are found by the former picture until the settle time has passed.
5. A room counts for its owner, one incarnation of a node, from the moment it is placed: a node that starts anew is
   empty, whatever records still name it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
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
    """A room's record and the lease of the node that owns it; `has_lapsed` if that lease does not stand any more."""

    record: RoomRecord
    lease: NodeLease
    has_lapsed: bool = False


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node whose lease stands as far as is known; it cannot lapse before `lapses_at` of the own monotonic clock."""

    lease: NodeLease
    lapses_at: float
    heard_at: float


NodeKey = tuple[NodeName, Incarnation]


class FleetView:
    """What is known. Look-ups never wait; instants are of the monotonic clock that the caller names."""

    def __init__(self) -> None:
        self._generation: str | None = None
        self._number = 0
        self._number_due = 0
        self._rooms: dict[RoomId, RoomRecord] = {}
        self._former: dict[RoomId, RoomRecord] = {}
        self._nodes: dict[NodeName, KnownNode] = {}
        self._lapsed: dict[NodeName, NodeLease] = {}
        self._gone: dict[NodeKey, float] = {}
        self._dead: set[NodeKey] = set()
        self._loads: Counter[NodeKey] = Counter()
        self._ring = Ring(())
        self._settles_at = float("-inf")
        self.needs_snapshot = True
        self.has_settled = False

    # -- look-ups

    @property
    def is_loaded(self) -> bool:
        """Whether there has been a snapshot."""
        return self._generation is not None

    @property
    def room_count(self) -> int:
        return len(self._rooms)

    @property
    def number(self) -> int:
        """The number of the last change that is known."""
        return self._number

    def leases(self) -> Sequence[NodeLease]:
        """The leases known to stand."""
        return [known.lease for known in self._nodes.values()]

    def lapsed(self) -> Sequence[NodeLease]:
        """The last words of nodes whose lease does not stand, and that are not known to be dead."""
        return list(self._lapsed.values())

    def node_of(self, name: NodeName) -> KnownNode | None:
        return self._nodes.get(name)

    def record_of(self, room: RoomId) -> RoomRecord | None:
        return self._rooms.get(room)

    def lives(self, record: RoomRecord) -> bool:
        """Whether the lease of the record's owner stands with that incarnation."""
        known = self._nodes.get(record.owner)
        return known is not None and known.lease.incarnation == record.incarnation

    def placement_of(self, room: RoomId) -> Placement | None:
        """Where a room is, if it has an owner whose address is known and that is not known to be dead."""
        record = self._rooms.get(room)
        if record is None and self._former:
            record = self._former.get(room)
        return None if record is None else self.placement_by(record)

    def placement_by(self, record: RoomRecord) -> Placement | None:
        """The placement that a record means, on the same conditions."""
        known = self._nodes.get(record.owner)
        if known is not None:
            return Placement(record, known.lease) if known.lease.incarnation == record.incarnation else None
        lapsed = self._lapsed.get(record.owner)
        if lapsed is not None and lapsed.incarnation == record.incarnation:
            return Placement(record, lapsed, has_lapsed=True)
        return None

    def is_dead(self, node: NodeName, incarnation: Incarnation) -> bool:
        """Whether that incarnation is known to be dead; while it owns a room, that is not forgotten."""
        return (node, incarnation) in self._dead

    def orphans(self) -> Sequence[RoomRecord]:
        """The records of rooms whose owner is neither known to stand nor to have lapsed, the largest first."""
        strangers = {key for key, load in self._loads.items() if load and not self._is_known(*key)}
        if not strangers:
            return []
        found = [record for record in self._rooms.values() if (record.owner, record.incarnation) in strangers]
        return sorted(found, key=_load_of, reverse=True)

    def settles_in(self, now: float) -> float:
        """What is left of the settle time in seconds, 0 if there is none."""
        return max(0.0, self._settles_at - now)

    def facts_of(self, room: RoomId, record: RoomRecord | None) -> Facts:
        """The facts to place a room by, given the record that stands."""
        return Facts(
            record=record,
            owner_lives=record is not None and self.placement_by(record) is not None,
            serving=frozenset(n for n, known in self._nodes.items() if known.lease.state is NodeState.SERVING),
            loads={n: self._loads[n, known.lease.incarnation] for n, known in self._nodes.items()},
            order=self._ring.order_of(room),
            load=_load_of(record) if record else room_load(),
            doubted=frozenset(n for n, known in self._nodes.items() if not known.lease.store_ok),
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
                self._former.pop(room, None)
                standing = self._rooms.get(room)
                if standing is not None and standing.version < number:
                    self._remove(room)
            case NodeChanged(lease=lease):
                if (lease.node, lease.incarnation) not in self._gone:
                    self._meet(lease, lapses_at=now, now=now)
            case NodeGone(node=node, incarnation=incarnation):
                self.bury(node, incarnation, now=now)

    def load(self, snapshot: Snapshot) -> None:
        """Replace all rooms. Those that only a former generation knew are kept aside, by rule 4."""
        if snapshot.generation != self._generation:
            self._former |= self._rooms
        self._generation, self._number = snapshot.generation, snapshot.number
        self._number_due = min(self._number_due, snapshot.number)
        self._rooms = {record.room: record for record in snapshot.rooms}
        self._former = {room: record for room, record in self._former.items() if room not in self._rooms}
        self._loads = Counter()
        for record in snapshot.rooms:
            self._loads[record.owner, record.incarnation] += _load_of(record)
        self.needs_snapshot = False

    def read_leases(self, read: LiveNodes, *, sent_at: float, known_number: int = 0) -> None:
        """Take a read of all leases that was asked for at `sent_at`, when `known_number` was known.

        A change that it knows and that the next read still finds unheard of was missed, and a number that has fallen
        means that the data went back: both set `needs_snapshot`.
        """
        is_same = read.generation == self._generation
        if not is_same or self._number < self._number_due or read.number < known_number:
            self.needs_snapshot = True
        self._number_due = read.number
        self._gone = {key: at for key, at in self._gone.items() if at >= sent_at}
        self._dead = {key for key in self._dead if self._loads[key] or key in self._gone}
        if read.settles_in > 0:
            self.settle(until=sent_at + read.settles_in)
        elif is_same:
            self.has_settled = True
            self._former.clear()
        for node in read.nodes:
            if self._is_news(node.lease, sent_at=sent_at):
                self._meet(node.lease, lapses_at=sent_at + node.remaining, now=sent_at)
        for lease in read.lapsed:
            if self._is_news(lease, sent_at=sent_at):
                self._lapse(lease)
        self._miss({node.lease.node for node in read.nodes} | {lease.node for lease in read.lapsed}, read, sent_at)

    def settle(self, *, until: float) -> None:
        """Take it that nothing is settled before `until`."""
        self._settles_at = max(self._settles_at, until)

    # -- what this director itself found out

    def learn(self, record: RoomRecord) -> None:
        """Take a record that a claim answered, ahead of its notice. Of older ones the notices have told the end."""
        if record.version > self._number:
            self._put(record)

    def bury(self, node: NodeName, incarnation: Incarnation, *, now: float) -> None:
        """Take it that this incarnation is dead, whatever a read that is under way will say."""
        self._gone[node, incarnation] = now
        self._dead.add((node, incarnation))
        lapsed = self._lapsed.get(node)
        if lapsed is not None and lapsed.incarnation == incarnation:
            del self._lapsed[node]
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
        self._former.pop(record.room, None)
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

    def _is_known(self, node: NodeName, incarnation: Incarnation) -> bool:
        known = self._nodes.get(node)
        lease = self._lapsed.get(node) if known is None else known.lease
        return lease is not None and lease.incarnation == incarnation

    def _is_news(self, lease: NodeLease, *, sent_at: float) -> bool:
        """Whether a read that was asked for then knows better than what has been heard."""
        known = self._nodes.get(lease.node)
        is_newer_known = known is not None and known.heard_at > sent_at
        return not is_newer_known and (lease.node, lease.incarnation) not in self._gone

    def _meet(self, lease: NodeLease, *, lapses_at: float, now: float) -> None:
        self._nodes[lease.node] = KnownNode(lease, lapses_at, now)
        self._lapsed.pop(lease.node, None)
        self._dead.discard((lease.node, lease.incarnation))
        if lease.node not in self._ring.nodes:
            self._ring = Ring(self._nodes)

    def _miss(self, told: Set[NodeName], read: LiveNodes, sent_at: float) -> None:
        """Forget the nodes that a read knows nothing of; a Redis in its settle time knows nothing for certain."""
        for name, known in list(self._nodes.items()):
            if name not in told and known.heard_at <= sent_at:
                self._forget(name)
                if read.settles_in > 0:
                    self._lapsed[name] = known.lease
        if not read.settles_in:
            self._lapsed = {name: lease for name, lease in self._lapsed.items() if name in told}

    def _lapse(self, lease: NodeLease) -> None:
        if lease.node in self._nodes:
            self._forget(lease.node)
        self._lapsed[lease.node] = lease

    def _forget(self, node: NodeName) -> None:
        del self._nodes[node]
        self._ring = Ring(self._nodes)


def _load_of(record: RoomRecord) -> int:
    return room_load(members=record.members, peak=record.peak)
