"""Whether a node may still act as the owner of its rooms: the rules at the head of core/lease_guard."""

import pytest

from director.contract.lease import LeaseTimings
from shard_node.core.lease_guard import DropRooms, Renew, Serve, StopAccepting, Verdict, judge

TIMINGS = LeaseTimings()


def at(silent: float, store: float | None = None) -> Verdict:
    """The verdict when Redis has been silent for `silent` seconds, and the store for `store`."""
    return judge(now=100.0, redis_at=100 - silent, store_at=None if store is None else 100 - store, timings=TIMINGS)


@pytest.mark.parametrize(
    ("silent", "store", "verdict"),
    [
        (0.0, None, Serve(may_open=True)),
        (0.99, None, Serve(may_open=True)),
        (1.0, None, Renew()),
        (2.99, None, Renew()),
        (3.0, None, StopAccepting()),
        (4.99, None, StopAccepting()),
        (5.0, None, DropRooms()),
        (3.0, 0.5, Serve(may_open=False)),
        (600.0, 2.0, Serve(may_open=False)),
        (600.0, 2.1, StopAccepting()),
        (600.0, 5.0, DropRooms()),
        (4.0, 600.0, StopAccepting()),
    ],
)
def test_the_ladder_goes_down_one_step_at_a_time(silent: float, store: float | None, verdict: Verdict) -> None:
    assert at(silent, store) == verdict


def test_rooms_are_dropped_before_the_lease_can_be_given_to_another() -> None:
    assert at(TIMINGS.expire - TIMINGS.guard) == DropRooms()
