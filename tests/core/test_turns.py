"""Whose turn it is at the store."""

import pytest

from director.contract.ids import RoomId
from persistence.core.turns import Turns

MATH, ART = RoomId("math"), RoomId("art")
TICK = 0.02


def turns() -> Turns:
    return Turns(tick=TICK, burst=5)


def test_whoever_has_not_spoken_is_due_at_once() -> None:
    it = turns()
    assert it.due_at(MATH) < 0.0
    assert it.has_rested(MATH, 0.0)


def test_a_room_rests_for_its_pace_and_nobody_else_does() -> None:
    it = turns()
    it.started(10.0)
    it.rest(MATH, until=10.25)
    assert it.due_at(MATH) == it.next_of([MATH]) == 10.25
    assert not it.has_rested(MATH, 10.2)
    assert it.has_rested(MATH, 10.25)
    assert it.next_of([MATH, ART]) < 10.0
    it.forget(MATH)
    it.forget(ART)
    assert it.has_rested(MATH, 10.0)


def test_a_few_transactions_start_at_once_and_more_of_them_a_tick_apart() -> None:
    it = turns()
    starts, now = [], 10.0
    for _ in range(10):
        now = max(now, it.start_at)
        it.started(now)
        starts.append(round(now, 6))
    assert starts == [10.0] * 5 + [10.02, 10.04, 10.06, 10.08, 10.1]


def test_after_a_quiet_while_a_few_may_start_at_once_again() -> None:
    it = turns()
    for _ in range(8):
        it.started(max(10.0, it.start_at))
    assert it.start_at > 10.05
    it.started(11.0)
    assert it.start_at < 11.0


def test_nothing_starts_while_the_store_is_left_to_rest() -> None:
    it = turns()
    it.started(10.0)
    it.hold(until=10.5)
    assert it.due_at(ART) == 10.5
    it.started(10.5)
    assert it.start_at == pytest.approx(10.52)
