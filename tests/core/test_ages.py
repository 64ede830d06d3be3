"""persistence/core/ages: how old is old."""

import pytest

from persistence.core.ages import MIN_AGE, age_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("36h", 129_600), ("1d", 86_400), ("180d", 15_552_000), ("26W", 15_724_800), (" 2 y ", 63_072_000)],
)
def test_an_age_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert age_of(text) == seconds


@pytest.mark.parametrize("text", ["", "180", "d", "-1d", "1.5d", "1d2h", "1m", "9999999d"])
def test_anything_else_is_none(text: str) -> None:
    assert age_of(text) is None


def test_a_day_is_kept_at_least() -> None:
    assert age_of("1d") == MIN_AGE
