"""director/core/relief: the rooms that a hot node sheds."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from director.contract.ids import NodeName, RoomId
from director.core import relief
from director.core.plan import RoomFacts
from director.core.relief import MAX_STATES, cheapest, excess_of, relief_of

NODE = NodeName("a")


def rooms_of(*sizes: tuple[int, int]) -> list[RoomFacts]:
    """Rooms by their loads and members."""
    return [RoomFacts(RoomId(f"r{i}"), NODE, load, members) for i, (load, members) in enumerate(sizes)]


def pins(*names: str) -> set[RoomId]:
    return {RoomId(name) for name in names}


def alike(*sizes: int) -> list[RoomFacts]:
    return rooms_of(*((size, size) for size in sizes))


def sets_of(rooms: Sequence[RoomFacts]) -> Iterator[tuple[RoomFacts, ...]]:
    for size in range(len(rooms) + 1):
        yield from combinations(rooms, size)


def members_of(rooms: Sequence[RoomFacts]) -> int:
    return sum(room.members for room in rooms)


def load_of(rooms: Sequence[RoomFacts]) -> int:
    return sum(room.load for room in rooms)


SIZES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), max_size=8)


@settings(max_examples=300, deadline=None)
@given(sizes=SIZES, need=st.integers(-5, 300))
def test_no_set_that_counts_for_as_much_has_fewer_members(sizes: list[tuple[int, int]], need: int) -> None:
    rooms = rooms_of(*sizes)
    fewest = min((members_of(some) for some in sets_of(rooms) if load_of(some) >= need), default=None)
    found = cheapest(rooms, need)
    if found is None:
        assert fewest is None
    else:
        assert load_of(found.rooms) >= need
        assert members_of(found.rooms) == found.members == found.at_least == fewest
        assert len(set(found.rooms)) == len(found.rooms)


@settings(max_examples=200, deadline=None)
@given(sizes=SIZES.filter(bool), scale=st.integers(1_000, 5_000), share=st.floats(0.01, 1))
@example(sizes=[(10, 1), (11, 12), (60, 13)], scale=1_000, share=0.3)
def test_large_loads_cost_at_most_twice_the_fewest_and_the_bound_tells_how_near(
    sizes: list[tuple[int, int]], scale: int, share: float
) -> None:
    rooms = rooms_of(*((load * scale + i, members * scale) for i, (load, members) in enumerate(sizes)))
    need = max(MAX_STATES + 1, int(load_of(rooms) * share))
    fewest = min((members_of(some) for some in sets_of(rooms) if load_of(some) >= need), default=None)
    found = cheapest(rooms, need)
    if found is None:
        assert fewest is None
    else:
        assert fewest is not None
        assert load_of(found.rooms) >= need
        assert found.at_least <= fewest <= found.members == members_of(found.rooms) <= 2 * fewest


@settings(max_examples=200, deadline=None)
@given(sizes=SIZES.filter(bool), need=st.integers(2, 300))
@example(sizes=[(10, 1), (1_000, 900), (10, 30)], need=20)
def test_that_holds_even_where_the_search_can_tell_no_loads_apart(sizes: list[tuple[int, int]], need: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relief, "MAX_STATES", 1)
        found = cheapest(rooms_of(*sizes), need)
    fewest = min((members_of(some) for some in sets_of(rooms_of(*sizes)) if load_of(some) >= need), default=None)
    assert (found is None) == (fewest is None)
    if found is not None and fewest is not None:
        assert found.at_least <= fewest <= found.members <= 2 * fewest


@settings(max_examples=100, deadline=None)
@given(sizes=SIZES, need=st.integers(0, 300), data=st.data())
def test_the_order_of_rooms_makes_no_difference(sizes: list[tuple[int, int]], need: int, data: st.DataObject) -> None:
    rooms = rooms_of(*sizes)
    assert cheapest(data.draw(st.permutations(rooms)), need) == cheapest(rooms, need)


def test_a_node_up_to_its_limit_or_with_one_room_alone_or_pinned_ones_is_in_order() -> None:
    for rooms, pinned in [
        ([], pins()),
        (alike(40, 60), pins()),
        (alike(900), pins()),
        (alike(900), pins("r0")),
        (alike(70, 80), pins("r0", "r1")),
    ]:
        assert excess_of(rooms, pinned=pinned, limit=100) == 0
        assert relief_of(rooms, pinned=pinned, limit=100).rooms == ()


def test_the_excess_is_what_is_over_the_limit_and_could_be_elsewhere() -> None:
    assert excess_of(alike(40, 61), pinned=(), limit=100) == 1
    assert excess_of(alike(40, 300), pinned=(), limit=100) == 40
    assert excess_of(alike(40, 300), pinned=pins("r0"), limit=100) == 240
    assert excess_of(alike(40, 300), pinned=pins("r1"), limit=100) == 40


def test_rooms_with_few_members_are_shed_before_those_with_many() -> None:
    rooms = rooms_of((50, 50), (50, 3), (50, 20))
    assert [room.room for room in relief_of(rooms, pinned=(), limit=100).rooms] == ["r1"]


def test_of_a_room_above_the_limit_and_all_others_those_are_shed_that_have_fewer_members() -> None:
    others_leave = relief_of(alike(300, 40, 50), pinned=(), limit=100)
    assert {room.room for room in others_leave.rooms} == {"r1", "r2"}
    it_leaves = relief_of(rooms_of((300, 5), (40, 40), (50, 50)), pinned=(), limit=100)
    assert {room.room for room in it_leaves.rooms} == {"r0"}
    assert (others_leave.members, it_leaves.members) == (90, 5)


def test_pinned_rooms_are_not_shed_and_where_they_are_too_much_all_others_are() -> None:
    some = relief_of(alike(60, 60), pinned=pins("r0"), limit=100)
    assert [room.room for room in some.rooms] == ["r1"]
    all_others = relief_of(alike(80, 30, 80, 1), pinned=pins("r0", "r2"), limit=100)
    assert {room.room for room in all_others.rooms} == {"r1", "r3"}
    assert all_others.at_least == all_others.members == 31


def test_large_rooms_are_kept_where_small_ones_will_do() -> None:
    rooms = rooms_of((60, 1), (30, 30), (30, 30))
    assert {room.room for room in relief_of(rooms, pinned=(), limit=70).rooms} == {"r0"}
    assert {room.room for room in relief_of(rooms, pinned=(), limit=70, largest=30).rooms} == {"r1", "r2"}
    # where they will not do, the fewest members leave after all
    assert {room.room for room in relief_of(rooms, pinned=(), limit=70, largest=29).rooms} == {"r0"}
    # all but a large one, only if none of those is larger than allowed
    assert {room.room for room in relief_of(alike(300, 40, 50), pinned=(), limit=100, largest=50).rooms} == {"r1", "r2"}
    assert {
        room.room for room in relief_of(rooms_of((300, 9), (40, 40), (50, 50)), pinned=(), limit=100, largest=49).rooms
    } == {"r0"}


@settings(max_examples=300, deadline=None)
@given(
    sizes=SIZES,
    pinned=st.sets(st.integers(0, 7).map(lambda i: RoomId(f"r{i}")), max_size=3),
    limit=st.integers(1, 200),
    largest=st.none() | st.integers(1, 60),
)
def test_what_is_left_is_in_order_and_nothing_cheaper_would_leave_it_so(
    sizes: list[tuple[int, int]], pinned: set[RoomId], limit: int, largest: int | None
) -> None:
    rooms = rooms_of(*sizes)
    shed = relief_of(rooms, pinned=pinned, limit=limit, largest=largest)
    assert not {room.room for room in shed.rooms} & pinned
    possible = []
    for some in sets_of([room for room in rooms if room.room not in pinned]):
        left = [room for room in rooms if room not in some]
        if load_of(left) <= limit or len(left) == 1 or all(room.room in pinned for room in left):
            possible.append(members_of(some))
    assert members_of(shed.rooms) == shed.members
    assert shed.members >= min(possible)
    if largest is None:
        assert shed.at_least == shed.members == min(possible)
    left = [room for room in rooms if room not in shed.rooms]
    assert excess_of(left, pinned=pinned, limit=limit) == 0
