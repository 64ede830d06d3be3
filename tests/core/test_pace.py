"""How far apart a room's batches start."""

import pytest

from shard_node.contract.events import NodeMode
from shard_node.core.pace import Pace

NORMAL, BATCHED, CALM = NodeMode.NORMAL, NodeMode.BATCHED, NodeMode.CALM


def pace_after(*broadcasts: tuple[float, int]) -> Pace:
    it = Pace()
    for seconds, members in broadcasts:
        it.learn(seconds, members)
    return it


def test_a_room_that_has_shown_nothing_goes_at_the_least_pace() -> None:
    assert Pace().seconds_for(5_000, NORMAL) == 0.02
    assert pace_after((0.001, 0)).seconds_for(0, NORMAL) == 0.02


def test_showing_takes_an_eighth_of_the_processor_at_most() -> None:
    it = pace_after(*[(0.006, 1_000)] * 5)
    assert it.seconds_for(1_000, NORMAL) == pytest.approx(0.048)


def test_it_stays_between_20_and_250_ms() -> None:
    assert pace_after((0.0001, 10)).seconds_for(10, NORMAL) == 0.02
    assert pace_after((0.15, 20_000)).seconds_for(20_000, NORMAL) == 0.25


def test_a_room_whose_one_frame_takes_longer_than_that_is_given_longer_up_to_a_second() -> None:
    assert pace_after((0.27, 20_000)).seconds_for(20_000, NORMAL) == pytest.approx(0.45)
    assert pace_after((0.27, 20_000)).seconds_for(20_000, BATCHED) == pytest.approx(0.45)
    assert pace_after((0.9, 20_000)).seconds_for(20_000, NORMAL) == 1.0


def test_it_follows_the_rooms_size_at_once() -> None:
    it = pace_after(*[(0.15, 20_000)] * 5)
    assert it.seconds_for(1_000, NORMAL) == pytest.approx(0.06)
    assert it.seconds_for(30, NORMAL) == 0.02


def test_one_slow_broadcast_does_not_set_the_pace_and_is_soon_forgotten() -> None:
    usual = [(0.003, 1_000)] * 6
    assert pace_after(*usual, (0.015, 1_000)).seconds_for(1_000, NORMAL) < 0.06
    assert pace_after((0.1, 1_000), *usual).seconds_for(1_000, NORMAL) < 0.06


def test_a_few_members_teach_little_about_many() -> None:
    it = pace_after(*[(0.0002, 1)] * 10, (0.006, 1_000))
    assert it.seconds_for(1_000, NORMAL) == pytest.approx(0.052, abs=0.003)


def test_a_busy_node_gathers_messages_for_longer() -> None:
    small, large = pace_after((0.0001, 10)), pace_after((0.15, 20_000))
    assert (small.seconds_for(10, BATCHED), large.seconds_for(20_000, BATCHED)) == (0.1, 0.25)
    assert (small.seconds_for(10, CALM), large.seconds_for(20_000, CALM)) == (1.0, 1.0)
    assert Pace().seconds_for(1, BATCHED) == 0.1
