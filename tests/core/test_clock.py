"""director/contract/clock: Redis' time from the own monotonic clock."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from director.contract.clock import FleetClock


def test_before_the_first_reading_nothing_is_known() -> None:
    clock = FleetClock()
    assert not clock.is_set
    with pytest.raises(LookupError):
        clock.now_ms(1.0)


def test_a_reading_is_placed_in_the_middle_of_its_round_trip() -> None:
    clock = FleetClock()
    clock.take(1_000_000, sent_at=10.0, received_at=10.2)
    assert clock.is_set
    assert clock.now_ms(10.1) == 1_000_000
    assert clock.now_ms(11.1) == 1_001_000


def test_a_slow_reading_does_not_spoil_a_fresh_quick_one() -> None:
    clock = FleetClock()
    clock.take(1_000_000, sent_at=10.0, received_at=10.002)
    clock.take(1_001_900, sent_at=11.0, received_at=12.0)
    assert clock.now_ms(10.001) == 1_000_000


def test_an_old_reading_gives_way_as_clocks_drift() -> None:
    clock = FleetClock()
    clock.take(1_000_000, sent_at=10.0, received_at=10.002)
    clock.take(5_000_000, sent_at=4_000.0, received_at=4_000.004)
    assert clock.now_ms(4_000.002) == 5_000_000


@settings(deadline=None)
@given(
    offset=st.integers(0, 10**12),
    sent_at=st.floats(0, 10**6),
    there=st.floats(0, 1),
    back=st.floats(0, 1),
)
def test_the_error_is_at_most_half_the_round_trip(offset: int, sent_at: float, there: float, back: float) -> None:
    clock = FleetClock()
    clock.take(int(offset + (sent_at + there) * 1000), sent_at=sent_at, received_at=sent_at + there + back)
    at = sent_at + 5
    assert abs(clock.now_ms(at) - (offset + at * 1000)) <= (there + back) * 500 + 3
