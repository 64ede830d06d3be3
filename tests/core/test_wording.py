"""Numbers, spans and zones as operators read them."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from director.cli.wording import counted, local, shortened, span, zone_of


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3599.9, "1 h"),
        (10 * 3600 + 720, "10 h 12 min"),
        (86_399, "1 d"),
        (2 * 86_400 + 3 * 3600, "2 d 3 h"),
    ],
)
def test_a_span_is_told_by_its_two_largest_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(number, "room") for number in (0, 1, 2_000)] == ["0 rooms", "1 room", "2,000 rooms"]


def test_long_lists_are_cut_and_say_so() -> None:
    assert shortened("abc", most=3) == "a, b, c"
    assert shortened("abcd", most=3) == "a, b, c and 1 more"


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        (UTC, "UTC"),
        (ZoneInfo("Asia/Seoul"), "KST, UTC+09:00"),
        (ZoneInfo("America/Sao_Paulo"), "UTC-03:00"),
        (timezone(timedelta(hours=5, minutes=30)), "UTC+05:30"),
    ],
)
def test_a_zone_is_named_by_its_letters_and_its_offset(zone: timezone, words: str) -> None:
    assert zone_of(datetime(2026, 3, 2, 9, tzinfo=zone)) == words


def test_unix_milliseconds_are_shown_in_this_machines_zone() -> None:
    at = local(1_772_409_600_000)
    assert at == datetime(2026, 3, 2, 0, tzinfo=UTC)
    assert at.utcoffset() is not None
