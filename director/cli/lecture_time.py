"""LectureTime: when a lecture begins, as an operator writes it: `09:00`, or an ISO 8601 instant."""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\Z")


class NoSuchTime(ValueError):
    """That is no time of a lecture; the message says why."""


def lecture_start(text: str, *, now: datetime, minutes: int, zone: tzinfo | None = None) -> datetime:
    """When the lecture of so many minutes begins, with its zone: `zone`, or this machine's.

    A time of day is the next one whose lecture is not over: today's while that is to come or under way, else
    tomorrow's. An instant without an offset is local. `now` has a zone, whichever. Raises NoSuchTime for anything else,
    for a lecture that is over, and for a time that clocks skip.
    """
    length = timedelta(minutes=minutes)
    if clock := _CLOCK.match(text.strip()):
        today = now.astimezone(zone).date()
        at = time(int(clock[1]), int(clock[2]))
        start = _local(datetime.combine(today, at), zone)
        if start + length <= now:
            start = _local(datetime.combine(today + timedelta(days=1), at), zone)
        return start
    start = _instant(text.strip(), zone)
    if start + length <= now:
        raise NoSuchTime(f"a lecture of {minutes} minutes from {start:%Y-%m-%d %H:%M} is over")
    return start


def _instant(text: str, zone: tzinfo | None) -> datetime:
    try:
        # a date alone is an ISO instant too, but nobody means midnight by it
        at = datetime.fromisoformat(text) if ":" in text else None
    except ValueError:
        at = None
    if at is None:
        raise NoSuchTime(f"{text!r} is no time: write 09:00, or 2026-03-02T09:00, or 2026-03-02T09:00+01:00")
    return _local(at, zone) if at.tzinfo is None else at.astimezone(zone)


def _local(naive: datetime, zone: tzinfo | None) -> datetime:
    at = naive.astimezone() if zone is None else naive.replace(tzinfo=zone)
    if at.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive:
        raise NoSuchTime(f"there is no {naive:%H:%M} on {naive:%Y-%m-%d}: clocks are put forward then")
    return at
