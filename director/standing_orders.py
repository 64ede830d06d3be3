"""Standing orders: what operators have ordered, arranged so that it can be looked up. No I/O.

An order that no director would have given (a share of nothing, a lecture of no minutes) is as if it were not there:
what Redis holds may have been written by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from director.contract.ids import NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.orders import Capacity, Cordon, Drain, OrderBook, Pin, Reserve
from director.core.reservation import LEAD, MAX_RESERVED_MEMBERS, MAX_RESERVED_MINUTES, Reservation, reserved_at

_RANK = {NodeState.SERVING: 0, NodeState.CORDONED: 1, NodeState.DRAINING: 2}


@dataclass(frozen=True, slots=True)
class StandingOrders:
    """An OrderBook for look-ups: `states` are those that nodes have by order, `drains` the orders to drain."""

    book: OrderBook = field(default_factory=OrderBook)
    states: Mapping[NodeName, NodeState] = field(default_factory=dict)
    drains: Mapping[NodeName, Drain] = field(default_factory=dict)
    pins: Mapping[RoomId, NodeName] = field(default_factory=dict)
    capacities: Mapping[NodeName, float] = field(default_factory=dict)
    reserves: Sequence[Reserve] = ()

    @classmethod
    def of(cls, book: OrderBook) -> "StandingOrders":
        """The orders of a book."""
        states: dict[NodeName, NodeState] = {}
        drains: dict[NodeName, Drain] = {}
        pins: dict[RoomId, NodeName] = {}
        capacities: dict[NodeName, float] = {}
        reserves: list[Reserve] = []
        for order in book.orders.values():
            match order:
                case Cordon(node=node):
                    states.setdefault(node, NodeState.CORDONED)
                case Drain(node=node):
                    states[node] = NodeState.DRAINING
                    drains[node] = order
                case Pin(room=room, node=node):
                    pins[room] = node
                case Capacity(node=node, share=share):
                    if share > 0:
                        capacities[node] = share
                case Reserve():
                    if 0 < order.members <= MAX_RESERVED_MEMBERS and 0 < order.minutes <= MAX_RESERVED_MINUTES:
                        reserves.append(order)
        return cls(book, states, drains, pins, capacities, tuple(reserves))

    def state_of(self, node: NodeName, own: NodeState = NodeState.SERVING) -> NodeState:
        """The state of a node that says `own` of itself: that, or the one by order, whichever is more."""
        return max(own, self.states.get(node, NodeState.SERVING), key=lambda state: _RANK[state])

    def reserved_at(self, now_ms: int) -> Mapping[RoomId, int]:
        """The members that each room counts for at `now_ms` (Unix, by Redis' clock) because it is reserved."""
        return reserved_at(now_ms / 1000, map(_reservation_of, self.reserves))

    def changes_after(self, now_ms: int) -> int | None:
        """The first instant after `now_ms` at which `reserved_at` may answer otherwise, None if there is none."""
        edges = (
            edge
            for order in self.reserves
            for edge in (order.starts_at_ms - round(LEAD * 1000), _ends_at_ms(order))
            if edge > now_ms
        )
        return min(edges, default=None)

    def over_at(self, now_ms: int) -> Sequence[Reserve]:
        """The reservations of lectures that are over by `now_ms`."""
        return [order for order in self.reserves if _ends_at_ms(order) <= now_ms]


def _reservation_of(order: Reserve) -> Reservation:
    return Reservation(order.room, order.members, order.starts_at_ms / 1000, order.minutes)


def _ends_at_ms(order: Reserve) -> int:
    return order.starts_at_ms + order.minutes * 60_000
