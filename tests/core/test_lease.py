"""director/contract/lease: the order of the lease ladder."""

import pytest

from director.contract.lease import LeaseTimings


def test_the_ladder_s_own_spans_are_in_order() -> None:
    timings = LeaseTimings()
    assert timings.renew < timings.stop_accepting < timings.drop_rooms <= timings.expire - timings.guard


@pytest.mark.parametrize(
    "spans",
    [
        {"renew": 0.0},
        {"renew": 3.0},
        {"stop_accepting": 5.0},
        {"drop_rooms": 5.1},
        {"expire": 5.9},
        {"guard": 1.1},
    ],
)
def test_spans_out_of_order_are_refused(spans: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of order"):
        LeaseTimings(**spans)


def test_a_fingerprint_tells_timings_apart() -> None:
    assert LeaseTimings().fingerprint == LeaseTimings().fingerprint
    assert LeaseTimings().fingerprint != LeaseTimings(expire=7.0).fingerprint
    assert len(LeaseTimings().fingerprint) == 8


def test_in_the_settle_time_each_node_asks_more_than_twice() -> None:
    assert LeaseTimings().settle == 3.0
    assert LeaseTimings(renew=2.0).settle == 6.0
