"""Plan: which rooms should move, from where to where and why; and the facts that it is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from director.contract.ids import NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.ownership import RoomRecord
from director.core.placement import BOUND, room_load

# What a node admits before it has measured its own rate, and what a move takes however few it moves.
JOINS_PER_SECOND = 1_000.0
MOVE_OVERHEAD = 0.5

Why = Literal["pinned", "draining", "balance"]


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """A room at its node. `load` is what it counts for (`placement.room_load`, at least 1), `members` are those who are
    there and would be moved."""

    room: RoomId
    node: NodeName
    load: int
    members: int = 0

    def __post_init__(self) -> None:
        if self.load < 1 or self.members < 0:
            raise ValueError(f"a room has a load of at least 1 and no less than 0 members: {self}")

    @classmethod
    def of(cls, record: RoomRecord, *, reserved: int = 0) -> "RoomFacts":
        """The facts of a room as its record tells them, and the members that it is reserved for."""
        load = room_load(members=record.members, reserved=reserved, peak=record.peak)
        return cls(record.room, record.owner, load, record.members)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node whose lease stands. `capacity` is its share of the load beside other nodes' (1.0 is a common one);
    `is_doubted` if its openings at the store failed of late; `joins_per_second` is the rate at which it admits."""

    node: NodeName
    state: NodeState = NodeState.SERVING
    capacity: float = 1.0
    is_doubted: bool = False
    joins_per_second: float = JOINS_PER_SECOND

    def __post_init__(self) -> None:
        if self.capacity <= 0 or self.joins_per_second <= 0:
            raise ValueError(f"a node has a capacity and a rate of joins, both more than 0: {self}")

    @property
    def is_open(self) -> bool:
        """Whether it may be given rooms."""
        return self.state is NodeState.SERVING and not self.is_doubted


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """Rooms, nodes, and the nodes that rooms are pinned to. Rooms that are on none of the nodes (their owner is dead or
    silent) are nobody's to move, and are left out of every plan."""

    rooms: Sequence[RoomFacts]
    nodes: Sequence[NodeFacts]
    pins: Mapping[RoomId, NodeName] = field(default_factory=dict)


def loads_of(facts: FleetFacts) -> Mapping[NodeName, int]:
    """What the rooms of each node count for together."""
    loads = {node.node: 0 for node in facts.nodes}
    for room in facts.rooms:
        if room.node in loads:
            loads[room.node] += room.load
    return loads


def limits_of(
    nodes: Sequence[NodeFacts], loads: Mapping[NodeName, int], *, bound: float = BOUND
) -> Mapping[NodeName, int]:
    """What several rooms may count for on each open node: `bound` x the mean x its capacity. The mean is that of the
    loads that are on open nodes, or on draining ones and still to come."""
    capacities = {node.node: node.capacity for node in nodes if node.is_open}
    counted = sum(loads[node.node] for node in nodes if node.is_open or node.state is NodeState.DRAINING)
    mean = counted / sum(capacities.values()) if capacities else 0.0
    return {node: int(bound * mean * capacity) for node, capacity in capacities.items()}


@dataclass(frozen=True, slots=True)
class Move:
    """Move `room`. `seconds` is what it should take, from its freeze until its members are at the target."""

    room: RoomId
    source: NodeName
    target: NodeName
    why: Why
    load: int
    members: int
    seconds: float


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """A node before and after; `limit` is what several rooms may count for there, None for a node that may be given
    nothing. `is_hot` if it is still above that afterwards: no better layout was found."""

    node: NodeName
    before: int
    after: int
    limit: int | None
    is_hot: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Moves in the order in which they are to be run, the fewest members first, and the nodes in order of their names.

    `stranded` are rooms that should leave a draining node while no node may be given any. `at_least` is a lower bound:
    no plan that obeys the same orders and leaves no node hot moves fewer members.
    """

    moves: tuple[Move, ...]
    nodes: tuple[NodeLoad, ...]
    stranded: tuple[RoomId, ...] = ()
    at_least: int = 0

    @property
    def members(self) -> int:
        """How many members are moved."""
        return sum(move.members for move in self.moves)
