"""director/core/placement: the four rules of where a room goes."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.ownership import RoomRecord
from director.core.placement import MIN_ROOM_LOAD, Claim, Facts, Keep, NoNodes, place, room_load
from director.core.ring import Ring

ROOM = RoomId("math-101")
A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
RECORD = RoomRecord(ROOM, A, Incarnation("i1"), Epoch(4), "ring", 9)
CALM = Facts(record=None, owner_lives=False, serving={A, B, C}, loads={}, order=(A, B, C))


def test_a_room_whose_owner_lives_stays_even_where_it_would_not_be_put() -> None:
    crowded = replace(CALM, record=RECORD, owner_lives=True, serving={B}, loads={A: 10_000}, overrides={ROOM: B})
    assert place(ROOM, crowded) == Keep(RECORD)


def test_a_new_room_goes_where_the_ring_says() -> None:
    assert place(ROOM, CALM) == Claim(A, None, "ring")


def test_a_dead_owner_is_replaced_and_named() -> None:
    assert place(ROOM, replace(CALM, record=RECORD, serving={B, C})) == Claim(B, RECORD, "ring")


def test_a_node_that_does_not_serve_is_given_nothing() -> None:
    assert place(ROOM, replace(CALM, serving={C})) == Claim(C, None, "ring")
    assert place(ROOM, replace(CALM, serving={C}, overrides={ROOM: A})) == Claim(C, None, "ring")
    assert place(ROOM, replace(CALM, serving=())) == NoNodes()
    assert place(ROOM, replace(CALM, order=())) == NoNodes()


def test_nodes_whose_store_fails_are_given_rooms_only_where_all_fail() -> None:
    assert place(ROOM, replace(CALM, doubted={A})) == Claim(B, None, "ring")
    assert place(ROOM, replace(CALM, doubted={A, B}, loads={C: 9_999})) == Claim(C, None, "ring")
    assert place(ROOM, replace(CALM, doubted={A}, overrides={ROOM: A})) == Claim(B, None, "ring")
    assert place(ROOM, replace(CALM, serving={A, B}, doubted={A, B})) == Claim(A, None, "ring")
    kept = replace(CALM, record=RECORD, owner_lives=True, doubted={A})
    assert place(ROOM, kept) == Keep(RECORD)


def test_a_node_over_the_bound_is_passed_over() -> None:
    # mean = (300 + 30) / 3 = 110, bound 137.5: node a would have 330
    assert place(ROOM, replace(CALM, loads={A: 300})) == Claim(B, None, "bounded")


def test_the_bound_is_one_and_a_quarter_of_the_mean_with_the_room() -> None:
    # bound = 1.25 * (l + 100 + 100 + 40) / 3; l + 40 fits for l <= 102.86
    at_the_bound = replace(CALM, load=40, loads={A: 102, B: 100, C: 100})
    assert place(ROOM, at_the_bound) == Claim(A, None, "ring")
    assert place(ROOM, replace(at_the_bound, loads={A: 103, B: 100, C: 100})) == Claim(B, None, "bounded")


def test_loads_of_nodes_that_do_not_serve_raise_no_bound() -> None:
    # with c's load the mean would be 2,120 and a would do
    assert place(ROOM, replace(CALM, serving={A, B}, loads={A: 300, C: 6_000})) == Claim(B, None, "bounded")


def test_a_room_larger_than_any_bound_goes_to_an_empty_node() -> None:
    assert place(ROOM, replace(CALM, load=5_000, loads={A: 30, B: 0, C: 30})) == Claim(B, None, "bounded")


def test_where_no_node_is_under_the_bound_the_least_loaded_takes_it() -> None:
    assert place(ROOM, replace(CALM, load=300, loads={A: 100, B: 90, C: 95})) == Claim(B, None, "least_loaded")


def test_a_pinned_room_goes_to_its_node_however_loaded() -> None:
    assert place(ROOM, replace(CALM, loads={C: 9_999}, overrides={ROOM: C})) == Claim(C, None, "pinned")
    assert place(ROOM, replace(CALM, overrides={RoomId("other"): C})) == Claim(A, None, "ring")


def test_a_room_counts_for_the_most_that_it_may_have() -> None:
    assert room_load() == MIN_ROOM_LOAD == 30
    assert room_load(members=31) == 31
    assert room_load(members=31, reserved=500, peak=90) == 500
    assert room_load(members=31, peak=90) == 90


def test_a_node_of_twice_the_capacity_is_given_twice_the_load() -> None:
    loads: Counter[NodeName] = Counter()
    ring = Ring([A, B, C])
    for i in range(400):
        room = RoomId(f"room-{i}")
        choice = place(room, replace(CALM, loads=loads, order=ring.order_of(room), capacities={A: 2.0, B: 1.0}))
        assert isinstance(choice, Claim)
        loads[choice.node] += MIN_ROOM_LOAD
    assert all(loads[node] <= 1.25 * capacity * loads.total() / 4 for node, capacity in {A: 2, B: 1, C: 1}.items())
    assert min(loads[A] / 2, loads[B], loads[C]) > 0.75 * loads.total() / 4


def test_the_bound_of_a_node_grows_with_its_capacity() -> None:
    # the mean is 250 / 4 for a unit of capacity: 156 may be on a, 78 on b
    uneven = replace(CALM, loads={A: 100, B: 60, C: 60}, capacities={A: 2.0})
    assert place(ROOM, uneven) == Claim(A, None, "ring")
    assert place(ROOM, replace(uneven, order=(B, A, C))) == Claim(A, None, "bounded")


def test_a_room_above_any_bound_goes_to_a_node_of_the_greatest_capacity() -> None:
    uneven = replace(CALM, load=5_000, capacities={B: 2.0, C: 2.0})
    assert place(ROOM, uneven) == Claim(B, None, "bounded")
    assert place(ROOM, replace(uneven, loads={B: 30})) == Claim(C, None, "bounded")
    assert place(ROOM, replace(uneven, loads={B: 30, C: 20})) == Claim(C, None, "least_loaded")
    assert place(ROOM, replace(uneven, overrides={ROOM: A})) == Claim(A, None, "pinned")


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 3_000), min_size=1, max_size=60), nodes=st.integers(1, 8))
def test_placed_one_by_one_no_node_ends_far_above_the_mean(sizes: list[int], nodes: int) -> None:
    names = [NodeName(f"node-{i}") for i in range(nodes)]
    ring = Ring(names)
    loads: Counter[NodeName] = Counter()
    for i, size in enumerate(sizes):
        room, load = RoomId(f"room-{i}"), room_load(members=size)
        bound = max(1.25 * (loads.total() + load) / nodes, load)
        before = dict(loads)
        facts = Facts(None, False, set(names), loads, ring.order_of(room), load)
        choice = place(room, facts)
        assert isinstance(choice, Claim)
        loads[choice.node] += load
        if choice.why == "least_loaded":
            assert before.get(choice.node, 0) == min(before.get(node, 0) for node in names)
        else:
            assert loads[choice.node] <= bound
