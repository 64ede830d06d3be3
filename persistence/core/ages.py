"""Ages: how old an entry must be to be let go, as operators say it."""

import re

MIN_AGE = 24 * 60 * 60.0
"""Seconds for which every entry is kept. A retry of a send is harmless only as long as the entry that its first try
made is there to be found; clients give up long before a day is over."""

_AGE = re.compile(r"(\d{1,6})\s*([hdwy])\Z")
_SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0, "y": 365 * 86_400.0}


def age_of(text: str) -> float | None:
    """The seconds that `36h`, `180d`, `26w` or `2y` stand for; None for anything else. A year has 365 days."""
    found = _AGE.match(text.strip().lower())
    return None if found is None else int(found[1]) * _SECONDS[found[2]]
