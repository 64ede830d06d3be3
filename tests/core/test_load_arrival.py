"""How a class arrives: a bell brings most of it in the first seconds."""

import pytest

from loadtest.core.arrival import Shape, present_at


def curve(shape: Shape, *, students: int = 300, seconds: float = 240.0) -> list[int]:
    return [present_at(after, shape=shape, students=students, seconds=seconds) for after in range(int(seconds))]


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("seconds", [10.0, 240.0])
def test_all_come_nobody_leaves_and_somebody_is_always_there(shape: Shape, seconds: float) -> None:
    there = curve(shape, seconds=seconds)
    assert there == sorted(there)
    assert there[0] >= 1
    assert there[-1] == 300


def test_a_bell_brings_half_of_the_class_in_five_seconds_and_all_within_two_minutes() -> None:
    there = curve(Shape.BELL)
    assert there[5] in (150, 151)
    assert there[120] == 300


def test_steady_brings_one_after_the_other() -> None:
    there = curve(Shape.STEADY)
    assert there[15] == 150
    assert there[30] == 300
