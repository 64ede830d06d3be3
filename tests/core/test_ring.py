"""director/core/ring: the order in which a room prefers nodes."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from director.contract.ids import NodeName, RoomId
from director.core.ring import Ring

FIVE = [NodeName(f"node-{i}") for i in range(1, 6)]
ROOMS = st.text("abcXYZ019._:~-", min_size=1, max_size=20).map(RoomId)
NODES = st.sets(st.integers(1, 30).map(lambda i: NodeName(f"node-{i}")), min_size=1, max_size=12)


def test_golden_vectors() -> None:
    """Directors of different versions run side by side: a change of these is a change of every room's place."""
    ring = Ring(FIVE)
    orders = {
        room: "".join(node[-1] for node in ring.order_of(RoomId(room)))
        for room in ("math-101", "art~2", "physics:2026.autumn", "a", "room-42")
    }
    assert orders == {
        "math-101": "24135",
        "art~2": "43251",
        "physics:2026.autumn": "51432",
        "a": "34251",
        "room-42": "43215",
    }


def test_a_ring_without_nodes_prefers_nothing() -> None:
    assert Ring([]).order_of(RoomId("a")) == ()


@settings(max_examples=30, deadline=None)
@given(nodes=NODES, room=ROOMS)
def test_an_order_names_every_node_once_however_the_ring_was_built(nodes: set[NodeName], room: RoomId) -> None:
    order = Ring(nodes).order_of(room)
    assert sorted(order) == sorted(nodes)
    assert Ring(sorted(nodes, reverse=True)).order_of(room) == order


@settings(max_examples=30, deadline=None)
@given(nodes=NODES, room=ROOMS)
def test_a_node_that_leaves_changes_nothing_among_the_others(nodes: set[NodeName], room: RoomId) -> None:
    leaver = max(nodes)
    order = Ring(nodes).order_of(room)
    assert Ring(nodes - {leaver}).order_of(room) == tuple(node for node in order if node != leaver)


def test_rooms_are_spread() -> None:
    ring = Ring(FIVE)
    first = Counter(ring.order_of(RoomId(f"room-{i}"))[0] for i in range(5_000))
    assert all(700 < first[node] < 1_300 for node in FIVE), first
