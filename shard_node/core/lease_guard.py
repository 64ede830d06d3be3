"""Whether a node may still act as the owner of its rooms (design, section 3: lease ladder).

Rules, with all spans counted on the node's own monotonic clock from when a confirmed request was *sent*:

 1. Redis confirmed within `renew`: serve. Older: serve, and a renewal is due.
 2. Redis silent for `stop_accepting`: no room is opened. Those that are open go on as long as the store has confirmed
    their rows within 2 s; without it nobody is admitted.
 3. Both silent for `drop_rooms`: the rooms are dropped, before any director may give them to another.
"""

from dataclasses import dataclass

from director.contract.lease import LeaseTimings

STORE_CONFIRMS_FOR = 2.0


@dataclass(frozen=True, slots=True)
class Serve:
    """All is well, or well enough: `may_open` tells whether further rooms may be opened."""

    may_open: bool


@dataclass(frozen=True, slots=True)
class Renew:
    """Serve, and renew the lease now."""


@dataclass(frozen=True, slots=True)
class StopAccepting:
    """Refuse joins; commits are still judged by the store."""


@dataclass(frozen=True, slots=True)
class DropRooms:
    """Drop every room now."""


Verdict = Serve | Renew | StopAccepting | DropRooms


def judge(*, now: float, redis_at: float, store_at: float | None, timings: LeaseTimings) -> Verdict:
    """Decide from when the last confirmed requests to Redis and to the store were sent (None: the store never was)."""
    silent = now - redis_at
    if silent < timings.renew:
        return Serve(may_open=True)
    if silent < timings.stop_accepting:
        return Renew()
    if store_at is not None and now - store_at <= STORE_CONFIRMS_FOR:
        return Serve(may_open=False)
    if store_at is not None:
        silent = min(silent, now - store_at)
    return DropRooms() if silent >= timings.drop_rooms else StopAccepting()
