"""The histogram: small, mergeable, and never more than 1 % off."""

import random

import pytest

from loadtest.core.latency import BUCKETS, Latency


def test_nothing_counted_has_no_mean_and_no_percentile() -> None:
    latency = Latency()
    assert latency.mean is None
    assert latency.percentile(50) is None
    assert latency.count == 0


@pytest.mark.parametrize("percent", [1, 25, 50, 90, 99, 99.9])
def test_a_percentile_is_at_most_one_percent_off(percent: float) -> None:
    chance = random.Random(7)
    spans = [chance.lognormvariate(-4, 1.5) for _ in range(20_000)]
    latency = Latency()
    for span in spans:
        latency.add(span)
    exact = sorted(spans)[max(0, -(-len(spans) * percent // 100).__int__() - 1)]
    assert latency.percentile(percent) == pytest.approx(exact, rel=0.0101)


def test_the_hundredth_percentile_is_the_highest_span() -> None:
    latency = Latency()
    for span in (0.5, 2.25, 0.001):
        latency.add(span)
    assert latency.percentile(100) == 2.25
    assert latency.highest == 2.25


def test_a_percentile_never_lies_above_the_highest_span() -> None:
    latency = Latency()
    latency.add(0.010001)
    assert latency.percentile(99) == pytest.approx(0.010001)
    assert (latency.percentile(99) or 1) <= 0.010001


def test_what_is_below_a_microsecond_counts_as_one() -> None:
    latency = Latency()
    latency.add(-0.5)
    latency.add(0.0)
    latency.add(1.0)
    assert latency.count == 3
    assert latency.percentile(50) == 1e-6


def test_what_lasts_longer_than_the_last_bucket_is_counted_in_it() -> None:
    latency = Latency()
    latency.add(1e9)
    assert latency.count == 1
    assert latency.percentile(100) == 1e9
    assert (latency.percentile(50) or 0) > 5_000


def test_merging_is_the_same_as_counting_everything_in_one() -> None:
    chance = random.Random(3)
    one, other, all_in_one = Latency(), Latency(), Latency()
    for place in range(2_000):
        span = chance.expovariate(20)
        (one if place % 3 else other).add(span)
        all_in_one.add(span)
    one.merge(other)
    assert one.count == all_in_one.count
    assert one.highest == all_in_one.highest
    assert one.mean == pytest.approx(all_in_one.mean)
    assert [one.percentile(p) for p in (1, 50, 99)] == [all_in_one.percentile(p) for p in (1, 50, 99)]


def test_counting_a_span_many_times_is_adding_it_as_often() -> None:
    latency = Latency()
    latency.add(0.1, count=99)
    latency.add(5.0)
    assert latency.count == 100
    assert latency.percentile(99) == pytest.approx(0.1, rel=0.01)
    assert latency.mean == pytest.approx(0.149)


def test_its_size_does_not_depend_on_what_it_counts() -> None:
    latency = Latency()
    for exponent in range(-9, 9):
        latency.add(10.0**exponent)
    assert BUCKETS < 1_200
    assert latency.count == 18
