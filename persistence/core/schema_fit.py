"""Schema fit: whether a release can work on a store's schema, also while a fleet is being upgraded.

1. Every version of the schema has an id of four digits, `0007`, or one that also names an older version:
   `0007_for_0006` is a schema on which releases that know 0006 or later work, whether or not they know 0007.
2. A release works on the newest version that it knows, and on any newer one that says so by its id.
3. Expand first: a version that only adds (tables, indexes, columns with a default) is for the version before it. So the
   store is upgraded first, while the fleet of the former release runs, restarts and crashes as it likes; then its
   processes, one by one.
4. Contract later: what a release no longer uses is taken away by a version of a release after it, which is for the
   first version whose releases no longer used it. So releases are rolled out one after the other, none left out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ID = re.compile(r"(\d{4})(?:_for_(\d{4}))?\Z")


@dataclass(frozen=True, slots=True)
class Fits:
    """The release works on this version; `is_newer` if it does not know it but the version is for such as it."""

    version: str
    is_newer: bool


@dataclass(frozen=True, slots=True)
class NoTables:
    """There is no schema at all."""


@dataclass(frozen=True, slots=True)
class TooOld:
    """An earlier version: the store is to be upgraded."""

    version: str


@dataclass(frozen=True, slots=True)
class TooNew:
    """A version that this release does not know and that is not for it."""

    version: str


SchemaFit = Fits | NoTables | TooOld | TooNew


def judge_schema(version: str | None, *, known: Sequence[str]) -> SchemaFit:
    """Whether a release that knows the versions `known`, oldest first, can work on a store whose version this is."""
    if version is None:
        return NoTables()
    if version in known:
        return Fits(version, is_newer=False) if version == known[-1] else TooOld(version)
    oldest = _made_for(version)
    if oldest is not None and oldest <= _number_of(known[-1]):
        return Fits(version, is_newer=True)
    return TooNew(version)


def _made_for(version: str) -> int | None:
    found = _ID.match(version)
    return int(found[2]) if found and found[2] else None


def _number_of(version: str) -> int:
    """Raises ValueError for an id that breaks rule 1: it is one of our own."""
    found = _ID.match(version)
    if found is None:
        raise ValueError(f"{version!r} is no id of a schema's version: 0007, or 0007_for_0006")
    return int(found[1])
