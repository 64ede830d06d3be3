"""When a lecture begins, as an operator writes it, in zones whose clocks are put forward and back."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from director.cli.lecture_time import NoSuchTime, lecture_start

SEOUL, BERLIN = ZoneInfo("Asia/Seoul"), ZoneInfo("Europe/Berlin")


def start(text: str, now: str, *, zone: ZoneInfo = SEOUL, minutes: int = 90) -> str:
    told = lecture_start(text, now=datetime.fromisoformat(now), minutes=minutes, zone=zone)
    return told.isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        ("09:00", "2026-03-02T08:30+09:00", "2026-03-02T09:00+09:00"),
        ("9:00", "2026-03-02T08:30+09:00", "2026-03-02T09:00+09:00"),
        ("09:00", "2026-03-02T10:00+09:00", "2026-03-02T09:00+09:00"),  # is under way
        ("09:00", "2026-03-02T10:30+09:00", "2026-03-03T09:00+09:00"),  # ends at this instant
        ("00:15", "2026-03-02T23:30+09:00", "2026-03-03T00:15+09:00"),
        ("09:00", "2026-03-01T23:40+00:00", "2026-03-02T09:00+09:00"),  # it is 08:40 there
        ("2026-03-02T09:00", "2026-03-01T12:00+09:00", "2026-03-02T09:00+09:00"),
        ("2026-03-02 09:00", "2026-03-01T12:00+09:00", "2026-03-02T09:00+09:00"),
        ("2026-03-02T09:00Z", "2026-03-01T12:00+09:00", "2026-03-02T18:00+09:00"),
        ("2026-03-02T09:00+01:00", "2026-03-01T12:00+09:00", "2026-03-02T17:00+09:00"),
    ],
)
def test_a_time_of_day_is_the_next_that_is_not_over_an_instant_is_itself(text: str, now: str, expected: str) -> None:
    assert start(text, now) == expected


@pytest.mark.parametrize("text", ["", "9", "24:00", "09:60", "noon", "2026-03-02", "2026-02-30T09:00", "09:00:00"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(NoSuchTime, match="write 09:00"):
        start(text, "2026-03-01T12:00+09:00")


def test_a_lecture_that_is_over_is_refused() -> None:
    with pytest.raises(NoSuchTime, match="is over"):
        start("2026-03-01T09:00", "2026-03-01T10:30+09:00")


def test_tomorrow_has_its_own_offset_when_clocks_change_overnight() -> None:
    assert start("09:00", "2026-03-28T20:00+01:00", zone=BERLIN) == "2026-03-29T09:00+02:00"
    assert start("09:00", "2026-10-24T20:00+02:00", zone=BERLIN) == "2026-10-25T09:00+01:00"


def test_a_time_that_clocks_skip_is_refused() -> None:
    with pytest.raises(NoSuchTime, match="put forward"):
        start("02:30", "2026-03-28T20:00+01:00", zone=BERLIN)


def test_without_a_zone_it_is_this_machines() -> None:
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    told = lecture_start("2026-03-02T15:00", now=now, minutes=90)
    assert told.replace(tzinfo=None) == datetime(2026, 3, 2, 15)  # noqa: DTZ001 (the wall clock is meant)
    assert told.utcoffset() == datetime(2026, 3, 2, 15).astimezone().utcoffset()
