"""director/core/reservation: what a room counts for because a lecture was announced."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from director.contract.ids import NodeName, RoomId
from director.core.placement import Claim, Facts, place, room_load
from director.core.reservation import LEAD, Reservation, due_rooms, expired_of, reserved_at
from director.core.ring import Ring

MATH, ART = RoomId("math-101"), RoomId("art")
NINE = 1_790_000_000.0
LECTURE = Reservation(MATH, 3_000, NINE, 90)


def test_a_lecture_counts_from_a_lead_before_its_start_until_its_end() -> None:
    assert LECTURE.ends_at == NINE + 5_400
    for now, members in [
        (NINE - LEAD - 1, {}),
        (NINE - LEAD, {MATH: 3_000}),
        (NINE + 5_399, {MATH: 3_000}),
        (NINE + 5_400, {}),
    ]:
        assert reserved_at(now, [LECTURE]) == members


def test_a_longer_lead_shows_what_is_to_come() -> None:
    assert reserved_at(NINE - 3 * 3_600, [LECTURE], lead=4 * 3_600) == {MATH: 3_000}


def test_of_two_lectures_in_one_room_the_larger_counts_while_it_does() -> None:
    seminar = Reservation(MATH, 40, NINE + 5_400, 45)
    for both in ([LECTURE, seminar], [seminar, LECTURE]):
        assert reserved_at(NINE + 5_300, both) == {MATH: 3_000}
        assert reserved_at(NINE + 5_500, both) == {MATH: 40}


def test_rooms_without_an_owner_are_due_the_largest_first() -> None:
    reserved = {MATH: 300, ART: 2_000, RoomId("b"): 300, RoomId("owned"): 9_000}
    assert due_rooms(reserved, owned={RoomId("owned")}) == (ART, "b", MATH)
    assert due_rooms({}, owned=()) == ()


def test_a_lecture_that_is_over_can_be_forgotten() -> None:
    other = Reservation(ART, 10, NINE, 91)
    assert expired_of([other, LECTURE], NINE + 5_400) == (LECTURE,)
    assert expired_of([other, LECTURE], NINE + 9_999) == (other, LECTURE)


@pytest.mark.parametrize(("members", "minutes"), [(0, 90), (100_001, 90), (1, 0), (1, 1_441)])
def test_no_lecture_is_announced_for_nobody_or_for_ever(members: int, minutes: int) -> None:
    with pytest.raises(ValueError, match="a lecture is announced for"):
        Reservation(MATH, members, NINE, minutes)


@settings(max_examples=60, deadline=None)
@given(
    background=st.lists(st.integers(0, 600), min_size=8, max_size=8),
    lectures=st.lists(st.integers(2_500, 3_500), min_size=1, max_size=8),
    ids=st.lists(st.integers(0, 999), min_size=8, max_size=8, unique=True),
)
def test_announced_lectures_stand_apart_before_the_first_student_comes(
    background: list[int], lectures: list[int], ids: list[int]
) -> None:
    """Up to eight large ones on eight nodes that have some load of their own: no two on one."""
    nodes = [NodeName(f"node-{i}") for i in range(8)]
    ring, loads = Ring(nodes), Counter(dict(zip(nodes, background, strict=True)))
    announced = [Reservation(RoomId(f"room-{i}"), members, NINE, 90) for i, members in zip(ids, lectures, strict=False)]
    reserved = reserved_at(NINE - LEAD, announced)
    held: Counter[NodeName] = Counter()
    for room in due_rooms(reserved, owned=()):
        load = room_load(reserved=reserved[room])
        choice = place(room, Facts(None, False, set(nodes), loads, ring.order_of(room), load))
        assert isinstance(choice, Claim)
        loads[choice.node] += load
        held[choice.node] += 1
    assert set(held.values()) == {1}
