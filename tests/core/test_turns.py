"""Whose turn it is at the store."""

from itertools import pairwise

import pytest

from director.contract.ids import RoomId
from persistence.core.turns import Turns

MATH, ART = RoomId("math"), RoomId("art")
LEAST, MOST = 0.008, 0.02


def turns() -> Turns:
    return Turns(least=LEAST, most=MOST, burst=5)


def starts_of(it: Turns, *, took: float, times: int) -> list[float]:
    """When that many transactions start, each as early as it may."""
    starts, now = [], 10.0
    for _ in range(times):
        now = max(now, it.start_at)
        it.started(now)
        it.ended(took=took)
        starts.append(round(now, 6))
    return starts


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


def test_a_few_transactions_start_at_once_and_more_of_them_a_little_apart() -> None:
    assert starts_of(turns(), took=0.0, times=9) == [10.0] * 5 + [10.008, 10.016, 10.024, 10.032]


def test_the_longer_a_transaction_takes_the_later_the_next_one_starts_up_to_a_bound() -> None:
    slow = starts_of(turns(), took=0.006, times=9)
    assert [round(after - before, 6) for before, after in pairwise(slow)][-3:] == [0.012] * 3
    slower = starts_of(turns(), took=0.5, times=9)
    assert [round(after - before, 6) for before, after in pairwise(slower)][-3:] == [MOST] * 3


def test_a_store_that_is_quick_again_is_asked_as_often_as_before() -> None:
    it = turns()
    starts_of(it, took=0.5, times=20)
    it.started(20.0)
    it.ended(took=0.001)
    for _ in range(8):
        it.started(max(20.0, it.start_at))
    before = it.start_at
    it.started(before)
    assert it.start_at == pytest.approx(before + LEAST)


def test_after_a_quiet_while_a_few_may_start_at_once_again() -> None:
    it = turns()
    for _ in range(8):
        it.started(max(10.0, it.start_at))
    assert it.start_at > 10.02
    it.started(11.0)
    assert it.start_at < 11.0


def test_nothing_starts_while_the_store_is_left_to_rest() -> None:
    it = turns()
    it.started(10.0)
    it.hold(until=10.5)
    assert it.due_at(ART) == 10.5
    it.started(10.5)
    assert it.start_at == pytest.approx(10.508)
