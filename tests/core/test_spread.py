"""Values counted between bounds, as Prometheus reads them."""

from hypothesis import given
from hypothesis import strategies as st

from director.contract.spread import PATIENT, QUICK, Spread


def test_a_value_is_counted_at_the_first_bound_that_it_does_not_exceed() -> None:
    it = Spread((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        it.note(value)
    assert it.cumulative() == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]
    assert (it.count, it.total) == (5, 7.5)


@given(st.lists(st.floats(0, 100)))
def test_each_bound_has_all_that_do_not_exceed_it(values: list[float]) -> None:
    it = Spread(QUICK)
    for value in values:
        it.note(value)
    for bound, count in it.cumulative()[:-1]:
        assert count == sum(value <= float(bound) for value in values)
    assert it.cumulative()[-1] == ("+Inf", len(values))


def test_bounds_ascend() -> None:
    for bounds in (QUICK, PATIENT):
        assert list(bounds) == sorted(set(bounds))
