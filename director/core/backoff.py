"""Backoff: how long a process that died waits for its next start."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Spans in seconds: the first wait, what it grows to, and the life after which all former deaths are forgiven."""

    first: float = 0.2
    longest: float = 5.0
    forgive_after: float = 10.0


@dataclass(frozen=True, slots=True)
class Restart:
    """Start again `after` seconds from the death, which was the `deaths`-th in a row."""

    after: float
    deaths: int


def restart_of(backoff: Backoff, *, deaths: int, lived: float) -> Restart:
    """When to start again a process that died `deaths` times in a row before and lived `lived` seconds this time.

    Each death in a row doubles the wait, up to the longest; a life of `forgive_after` seconds begins anew.
    """
    in_a_row = 1 if lived >= backoff.forgive_after else deaths + 1
    doublings = min(in_a_row - 1, 63)
    return Restart(after=min(backoff.longest, backoff.first * 2**doublings), deaths=in_a_row)
