"""Wording: numbers, spans and instants as operators read them."""

from collections.abc import Iterable
from datetime import UTC, datetime


def counted(number: int, noun: str) -> str:
    """`1 room`, `2,000 rooms`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def span(seconds: float) -> str:
    """A span by its two largest units: `0.4 s`, `12 s`, `3 min 20 s`, `10 h 12 min`, `2 d 3 h`."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def local(at_ms: int) -> datetime:
    """Unix milliseconds in this machine's zone."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).astimezone()


def zone_of(at: datetime) -> str:
    """`CET, UTC+01:00`; an instant's own zone."""
    offset = at.strftime("%z")
    name, hours = at.tzname() or "", f"UTC{offset[:3]}:{offset[3:5]}"
    # zones without letters of their own are named by their offset
    return f"{name}, {hours}" if name.isalpha() and name != "UTC" else hours if name != "UTC" else "UTC"


def shortened(names: Iterable[str], *, most: int = 5) -> str:
    """`a, b, c and 7 more`."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(listed) if rest <= 0 else f"{', '.join(listed[:most])} and {rest:,} more"
