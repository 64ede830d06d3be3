"""The director's picture of the fleet: all rooms and nodes in memory. No I/O; `fleet_feed` keeps it up to date.

1. Rooms come from a snapshot and the notices after it, by (generation, number). A gap, a new generation or an
   interruption asks for another snapshot; until it is there the old picture serves.
2. Of two records of a room the one with the higher version stands.
3. A node whose lease lapsed (`known_nodes` says when) is given no rooms and keeps those that it has, until it is
   declared dead.
4. Rooms that a new generation does not know yet are found by the former picture until the settle time has passed.
5. Of a node's own state and the one that was ordered (`known_orders`) the one that takes more from it counts.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import msgspec

from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.lease import LiveNodes, NodeLease, NodeState
from director.contract.orders import Order, OrderBook
from director.contract.ownership import (
    Interrupted,
    MembersCounted,
    NodeChanged,
    NodeGone,
    Notice,
    OrdersChanged,
    RoomChanged,
    RoomGone,
    RoomRecord,
    Snapshot,
)
from director.core import reservation
from director.core.placement import Facts
from director.core.plan import JOINS_PER_SECOND, FleetFacts, NodeFacts, RoomFacts
from director.known_nodes import KnownNode, KnownNodes
from director.known_orders import KnownOrders
from director.room_loads import RoomLoads
from director.standing_orders import StandingOrders


@dataclass(frozen=True, slots=True)
class Placement:
    """A room's record and the lease of the node that owns it; `has_lapsed` if that lease does not stand any more."""

    record: RoomRecord
    lease: NodeLease
    has_lapsed: bool = False


class FleetView:
    """What is known. Look-ups never wait; instants are of the monotonic clock that the caller names."""

    def __init__(self) -> None:
        self._generation: str | None = None
        self._number = 0
        self._number_due = 0
        self._rooms: dict[RoomId, RoomRecord] = {}
        self._former: dict[RoomId, RoomRecord] = {}
        self._nodes = KnownNodes()
        self._loads = RoomLoads()
        self._settles_at = float("-inf")
        self._orders = KnownOrders()
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
        return list(self._nodes)

    def lapsed(self) -> Sequence[NodeLease]:
        """The last words of nodes whose lease does not stand, and that are not known to be dead."""
        return self._nodes.lapsed()

    def node_of(self, name: NodeName) -> KnownNode | None:
        return self._nodes.of(name)

    def state_of(self, name: NodeName) -> NodeState:
        """A node's own state or the one by order, whichever is more; of one that is not known, the one by order."""
        lease = self._nodes.last_words_of(name)
        return self.standing.state_of(name) if lease is None else self._state_of(lease)

    def _state_of(self, lease: NodeLease) -> NodeState:
        return self.standing.state_of(lease.node, lease.state)

    def load_on(self, lease: NodeLease) -> int:
        """What the rooms of a node count for."""
        return self._loads.on((lease.node, lease.incarnation))

    def records(self) -> Collection[RoomRecord]:
        """The records of all rooms, in no order."""
        return self._rooms.values()

    def record_of(self, room: RoomId) -> RoomRecord | None:
        return self._rooms.get(room)

    def lives(self, record: RoomRecord) -> bool:
        """Whether the lease of the record's owner stands with that incarnation."""
        known = self._nodes.of(record.owner)
        return known is not None and known.lease.incarnation == record.incarnation

    def placement_of(self, room: RoomId) -> Placement | None:
        """Where a room is, if it has an owner whose address is known and that is not known to be dead."""
        record = self._rooms.get(room)
        if record is None and self._former:
            record = self._former.get(room)
        return None if record is None else self.placement_by(record)

    def placement_by(self, record: RoomRecord) -> Placement | None:
        """The placement that a record means, on the same conditions."""
        known = self._nodes.of(record.owner)
        if known is not None:
            return Placement(record, known.lease) if known.lease.incarnation == record.incarnation else None
        lapsed = self._nodes.lapsed_of(record.owner)
        if lapsed is not None and lapsed.incarnation == record.incarnation:
            return Placement(record, lapsed, has_lapsed=True)
        return None

    def is_dead(self, node: NodeName, incarnation: Incarnation) -> bool:
        """Whether that incarnation is known to be dead; while it owns a room, that is not forgotten."""
        return self._nodes.is_dead(node, incarnation)

    def orphans(self) -> Sequence[RoomRecord]:
        """The records of rooms whose owner is neither known to stand nor to have lapsed, the largest first."""
        strangers = {key for key in self._loads.owners() if not self._nodes.is_known(*key)}
        if not strangers:
            return []
        found = [record for record in self._rooms.values() if (record.owner, record.incarnation) in strangers]
        return sorted(found, key=self.load_of, reverse=True)

    def load_of(self, record: RoomRecord) -> int:
        """What a room counts for by its record and by what is reserved for it."""
        return self._loads.load_of(record.room, record)

    @property
    def reserved(self) -> Mapping[RoomId, int]:
        """The members that rooms count for now because they are announced."""
        return self._loads.reserved

    def due_rooms(self) -> Sequence[RoomId]:
        """The rooms that are reserved for now and have no owner, the largest first."""
        return reservation.due_rooms(self.reserved, owned=self._rooms.keys() | self._former.keys())

    @property
    def orders(self) -> OrderBook:
        """The orders that stand."""
        return self._orders.standing.book

    @property
    def standing(self) -> StandingOrders:
        """The same for looking them up."""
        return self._orders.standing

    @property
    def needs_orders(self) -> bool:
        """Whether they are to be read: they have changed, or may have."""
        return self._orders.need_reading

    @property
    def forgotten_orders(self) -> Sequence[Order]:
        """The orders that stand here, if Redis forgot them."""
        return self._orders.forgotten

    def orders_over(self) -> Sequence[str]:
        """The keys of reservations that are over."""
        return self._orders.over()

    def settles_in(self, now: float) -> float:
        """What is left of the settle time in seconds, 0 if there is none."""
        return max(0.0, self._settles_at - now)

    def facts_of(self, room: RoomId, record: RoomRecord | None) -> Facts:
        """The facts to place a room by, given the record that stands."""
        return Facts(
            record=record,
            owner_lives=record is not None and self.placement_by(record) is not None,
            serving=frozenset(lease.node for lease in self._nodes if self._state_of(lease) is NodeState.SERVING),
            loads={lease.node: self.load_on(lease) for lease in self._nodes},
            order=self._nodes.ring.order_of(room),
            load=self._loads.load_of(room, record),
            overrides=self.standing.pins,
            doubted=frozenset(lease.node for lease in self._nodes if not lease.store_ok),
            capacities=self.standing.capacities,
        )

    def fleet_facts(self, now_ms: int | None = None) -> FleetFacts:
        """The facts to plan moves by; with what is reserved at `now_ms` (Unix, by Redis' clock) if that is given."""
        reserved = self.reserved if now_ms is None else self.standing.reserved_at(now_ms)
        return FleetFacts(
            rooms=tuple(
                RoomFacts.of(record, reserved=reserved.get(record.room, 0))
                for record in self._rooms.values()
                if self.lives(record)
            ),
            nodes=self.node_facts(),
            pins=self.standing.pins,
        )

    def node_facts(self) -> tuple[NodeFacts, ...]:
        """The facts of the nodes whose leases stand."""
        return tuple(map(self._node_facts, self._nodes))

    def _node_facts(self, lease: NodeLease) -> NodeFacts:
        return NodeFacts(
            node=lease.node,
            state=self._state_of(lease),
            capacity=self.standing.capacities.get(lease.node, 1.0),
            is_doubted=not lease.store_ok,
            joins_per_second=lease.joins_per_second if lease.joins_per_second > 0 else JOINS_PER_SECOND,
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
                self._nodes.hear(lease, now=now)
            case NodeGone(node=node, incarnation=incarnation):
                self.bury(node, incarnation, now=now)
            case OrdersChanged(number=number):
                self._orders.expect(notice.generation, number)

    def load(self, snapshot: Snapshot) -> None:
        """Replace all rooms. Those that only a former generation knew are kept aside, by rule 4."""
        if snapshot.generation != self._generation:
            self._former |= self._rooms
        self._generation, self._number = snapshot.generation, snapshot.number
        self._number_due = min(self._number_due, snapshot.number)
        self._rooms = {record.room: record for record in snapshot.rooms}
        self._former = {room: record for room, record in self._former.items() if room not in self._rooms}
        self._loads.count_anew(snapshot.rooms)
        self._orders.expect(snapshot.generation, snapshot.number)
        self.needs_snapshot = False

    def take_orders(self, book: OrderBook) -> None:
        """Take a read of all orders."""
        self._orders.take(book)
        self._loads.reserve(self._orders.reserved)

    def note_time(self, now_ms: int) -> None:
        """Take it that it is `now_ms` (Unix, by Redis' clock): reservations begin and end to count. Cheap."""
        self._orders.note_time(now_ms)
        self._loads.reserve(self._orders.reserved)

    def read_leases(self, read: LiveNodes, *, sent_at: float, known_number: int = 0) -> None:
        """Take a read of all leases that was asked for at `sent_at`, when `known_number` was known.

        A change that it knows and that the next read still finds unheard of was missed, and a number that has fallen
        means that the data went back: both set `needs_snapshot`.
        """
        is_same = read.generation == self._generation
        if not is_same or self._number < self._number_due or read.number < known_number:
            self.needs_snapshot = True
        self._number_due = read.number
        if read.settles_in > 0:
            self.settle(until=sent_at + read.settles_in)
        elif is_same:
            self.has_settled = True
            self._former.clear()
        self._nodes.read(read, sent_at=sent_at, owners=self._loads.owners())

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
        self._nodes.bury(node, incarnation, now=now)

    def expecting(self, lease: NodeLease, load: int) -> AbstractContextManager[None]:
        """Count a room that is being claimed for a node, so that others placed meanwhile see it."""
        return self._loads.expecting((lease.node, lease.incarnation), load)

    # -- inside

    def _put(self, record: RoomRecord) -> None:
        self._former.pop(record.room, None)
        standing = self._rooms.get(record.room)
        if standing is None or standing.version < record.version:
            self._rooms[record.room] = record
            self._loads.count(record)

    def _remove(self, room: RoomId) -> None:
        del self._rooms[room]
        self._loads.discard(room)

    def _count(self, notice: MembersCounted) -> None:
        for room, members in notice.members.items():
            record = self._rooms.get(room)
            if record is not None and record.owner == notice.node:
                counted = msgspec.structs.replace(record, members=members, peak=max(record.peak, members))
                self._rooms[room] = counted
                self._loads.count(counted)
