"""director/core/waves: a plan's moves as a budget allows them."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from director.contract.ids import NodeName, RoomId
from director.core.plan import Move
from director.core.waves import Budget, waves_of

A, B = NodeName("a"), NodeName("b")


def moves_of(*members: int) -> list[Move]:
    return [Move(RoomId(f"r{i}"), A, B, "balance", max(m, 30), m, 0.5 + m / 1_000) for i, m in enumerate(members)]


def test_small_rooms_go_side_by_side_and_the_biggest_alone() -> None:
    waves = waves_of(moves_of(0, 10, 20, 30, 40, 300, 450, 900), Budget(max_rooms=4, max_members_per_second=500))
    assert [[move.members for move in wave.moves] for wave in waves] == [[0, 10, 20, 30], [40, 300], [450], [900]]
    assert [wave.members for wave in waves] == [60, 340, 450, 900]


def test_a_wave_takes_as_long_as_its_slowest_move_and_as_the_pace_asks_for() -> None:
    swift, paced = waves_of(moves_of(10, 3_000), Budget(max_members_per_second=500))
    assert swift.seconds == pytest.approx(0.51)
    assert paced.seconds == pytest.approx(6.0)


def test_a_room_larger_than_the_budget_goes_alone_even_first() -> None:
    waves = waves_of(moves_of(900, 10, 10), Budget(max_rooms=9, max_members_per_second=500))
    assert [wave.members for wave in waves] == [900, 20]


def test_nothing_to_move_is_no_wave() -> None:
    assert waves_of((), Budget()) == ()


@pytest.mark.parametrize(("rooms", "members"), [(0, 500.0), (4, 0.0)])
def test_a_budget_that_moves_nothing_is_none(rooms: int, members: float) -> None:
    with pytest.raises(ValueError, match="a budget moves"):
        Budget(rooms, members)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 2_000), max_size=40),
    rooms=st.integers(1, 6),
    pace=st.integers(1, 1_500),
)
def test_every_move_is_run_once_in_order_and_within_the_budget(sizes: list[int], rooms: int, pace: int) -> None:
    moves, budget = moves_of(*sorted(sizes)), Budget(rooms, pace)
    waves = waves_of(moves, budget)
    assert [move for wave in waves for move in wave.moves] == moves
    for wave in waves:
        assert 1 <= len(wave.moves) <= rooms
        assert len(wave.moves) == 1 or wave.members <= pace
        assert wave.seconds * pace >= wave.members * 0.999_999
    for wave, following in pairwise(waves):
        assert len(wave.moves) == rooms or wave.members + following.moves[0].members > pace
