"""200 rooms of Zipf's sizes on 8 nodes: the hottest has at most max(1.3 x mean, the largest room).

Placement alone keeps that where it can know: sizes that are known come the largest first (the rooms of a dead node),
or the large lectures were announced. Whoever knows neither and moves nothing cannot: the largest of 200 rooms may have
more than a node's share, and is told from the others only when it already stands among them. There the plan mends it.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product

import pytest

from director.contract.ids import NodeName, RoomId
from director.core.placement import Claim, Facts, place, room_load
from director.core.plan import FleetFacts, NodeFacts, Plan, RoomFacts
from director.core.rebalance import plan_rebalance
from director.core.reservation import Reservation, due_rooms, reserved_at
from director.core.ring import Ring

NODES = [NodeName(f"node-{i}") for i in range(8)]
RING = Ring(NODES)
KINDS = list(product((0.8, 1.0), (8_000, 40_000)))
SEEDS = range(8)


def sizes_of(exponent: float, members: int, seed: int) -> dict[RoomId, int]:
    """Rooms, the largest first; another seed gives other names, and so other places on the ring."""
    weights = [(rank + 1) ** -exponent for rank in range(200)]
    return {
        RoomId(f"room-{seed}-{rank}"): round(members * weight / sum(weights)) for rank, weight in enumerate(weights)
    }


class Hall:
    """A fleet as a director counts it: rooms are placed, and grow."""

    def __init__(self) -> None:
        self.loads: Counter[NodeName] = Counter(dict.fromkeys(NODES, 0))
        self.counted: dict[RoomId, int] = {}
        self.node_of: dict[RoomId, NodeName] = {}

    def place(self, room: RoomId, load: int) -> None:
        choice = place(room, Facts(None, False, set(NODES), self.loads, RING.order_of(room), load))
        assert isinstance(choice, Claim)
        self.node_of[room], self.counted[room] = choice.node, 0
        self.count(room, load)

    def count(self, room: RoomId, load: int) -> None:
        self.loads[self.node_of[room]] += load - self.counted[room]
        self.counted[room] = load


def is_level(loads: Mapping[NodeName, int], sizes: Mapping[RoomId, int]) -> bool:
    mean = sum(loads.values()) / len(NODES)
    return max(loads.values()) <= max(1.3 * mean, max(sizes.values()))


def mended(node_of: Mapping[RoomId, NodeName], sizes: Mapping[RoomId, int]) -> Plan:
    """The plan for rooms that stand there, checked to keep what it is for."""
    rooms = [RoomFacts(room, node, room_load(members=sizes[room]), sizes[room]) for room, node in node_of.items()]
    plan = plan_rebalance(FleetFacts(rooms, [NodeFacts(node) for node in NODES]))
    assert is_level({node.node: node.after for node in plan.nodes}, sizes)
    return plan


def shuffled(rooms: Sequence[RoomId], seed: int) -> list[RoomId]:
    return random.Random(seed).sample(rooms, len(rooms))


@pytest.mark.parametrize(("exponent", "members"), KINDS)
def test_placed_the_largest_first_no_node_is_above_the_bound(exponent: float, members: int) -> None:
    for seed in SEEDS:
        sizes, hall = sizes_of(exponent, members, seed), Hall()
        for room, size in sizes.items():
            hall.place(room, room_load(members=size))
        assert is_level(hall.loads, sizes), seed
        assert mended(hall.node_of, sizes).moves == ()


@pytest.mark.parametrize(("exponent", "members"), KINDS)
def test_with_the_large_lectures_announced_the_rest_may_come_in_any_order_and_grow(
    exponent: float, members: int
) -> None:
    """Announced are those of a tenth of a node's share, 10 to 13 of 200; the others are placed as if they were empty,
    and grow while others come."""
    for seed in SEEDS:
        sizes, hall = sizes_of(exponent, members, seed), Hall()
        large = [room for room, size in sizes.items() if size >= members / len(NODES) / 10]
        assert len(large) < 15
        reserved = reserved_at(0.0, [Reservation(room, sizes[room], 60.0, 90) for room in large])
        for room in due_rooms(reserved, owned=hall.node_of):
            hall.place(room, room_load(reserved=reserved[room]))
        here: list[RoomId] = []
        for room in shuffled([room for room in sizes if room not in reserved], seed):
            hall.place(room, room_load())
            here.append(room)
            for other in here:
                grown = min(sizes[other], hall.counted[other] + max(1, sizes[other] // 10))
                hall.count(other, room_load(members=grown))
        for room in here:
            hall.count(room, room_load(members=sizes[room]))
        assert is_level(hall.loads, sizes), seed


@pytest.mark.parametrize(("exponent", "members"), KINDS)
@pytest.mark.parametrize("start", ["plain_ring", "smallest_first", "any_order", "unknown_sizes"])
def test_a_bad_start_is_mended_by_moving_the_fewest_members_that_the_bound_allows(
    start: str, exponent: float, members: int
) -> None:
    for seed in SEEDS:
        sizes, hall = sizes_of(exponent, members, seed), Hall()
        match start:
            case "plain_ring":
                hall.node_of = {room: RING.order_of(room)[0] for room in sizes}
            case "unknown_sizes":
                for room in shuffled(list(sizes), seed):
                    hall.place(room, room_load())
            case order:
                rooms = list(reversed(sizes)) if order == "smallest_first" else shuffled(list(sizes), seed)
                for room in rooms:
                    hall.place(room, room_load(members=sizes[room]))
        plan = mended(hall.node_of, sizes)
        # No plan moves fewer than at_least; 2 % more is where a node's excess is too large for an exact search.
        assert plan.members <= 1.02 * plan.at_least, seed
