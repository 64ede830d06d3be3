"""persistence/core/lecture_clock: how far into the lecture."""

import pytest

from persistence.core.lecture_clock import LectureClock, Pause, with_pauses
from tests.support.entries import message

BREAK = Pause(10_000, 16_000)
LATER = Pause(20_000, 21_000)


@pytest.mark.parametrize(
    ("instant", "clock"),
    [
        (500, -500),
        (1_000, 0),
        (9_999, 8_999),
        (10_000, 9_000),
        (13_000, 9_000),
        (16_000, 9_000),
        (16_001, 9_001),
        (20_500, 13_000),
        (22_000, 14_000),
    ],
)
def test_the_clock_stands_still_in_a_pause(instant: int, clock: int) -> None:
    assert LectureClock(1_000, (BREAK, LATER)).at(instant) == clock


def test_a_pause_has_its_beginning_and_not_its_end() -> None:
    clock = LectureClock(1_000, (BREAK,))
    assert [clock.is_paused(it) for it in (9_999, 10_000, 15_999, 16_000)] == [False, True, True, False]


@pytest.mark.parametrize(
    "pauses", [(Pause(500, 2_000),), (Pause(5_000, 5_000),), (LATER, BREAK), (BREAK, Pause(15_999, 17_000))]
)
def test_pauses_that_cannot_be_are_refused(pauses: tuple[Pause, ...]) -> None:
    with pytest.raises(ValueError, match="pause"):
        LectureClock(1_000, pauses)


def test_a_pause_stands_before_what_was_said_in_it_and_is_given_once() -> None:
    one, two, three = message(1), message(9_000), message(19_500)
    coming = [BREAK, LATER, Pause(90_000, 91_000)]
    assert list(with_pauses([one, two], coming)) == [one, BREAK, two]
    assert list(with_pauses([three], coming)) == [LATER, three]
    assert coming == [Pause(90_000, 91_000)]
