"""When a node has more to do than it can."""

import pytest

from shard_node.contract.events import NodeMode
from shard_node.core.overload import Overload, Strain, Thresholds

NORMAL, BATCHED, CALM = NodeMode.NORMAL, NodeMode.BATCHED, NodeMode.CALM
LIMITS = Thresholds(
    batched=Strain(lag=0.1, outgoing=100, commit=0.2),
    calm=Strain(lag=0.5, outgoing=1_000, commit=1.0),
    enter_after=1.0,
    leave_at=0.5,
    leave_after=5.0,
)
EASE = Strain()


def modes(*strains: Strain, overload: Overload | None = None, start: float = 0.0) -> list[NodeMode]:
    """The mode after each of these, a second apart."""
    it = overload or Overload(LIMITS)
    return [it.judge(strain, start + second) for second, strain in enumerate(strains)]


@pytest.mark.parametrize("strain", [Strain(lag=0.1), Strain(outgoing=100), Strain(commit=0.2)])
def test_any_strain_that_lasts_a_second_makes_it_batched(strain: Strain) -> None:
    assert modes(strain, strain) == [NORMAL, BATCHED]


@pytest.mark.parametrize("strain", [Strain(lag=0.5), Strain(outgoing=1_000), Strain(commit=1.0)])
def test_much_of_it_makes_it_calm_at_once(strain: Strain) -> None:
    assert modes(strain, strain) == [NORMAL, CALM]


def test_a_hiccup_changes_nothing() -> None:
    hiccup = Strain(lag=3.0)
    assert modes(hiccup, EASE, hiccup, EASE, hiccup) == [NORMAL] * 5


def test_it_goes_from_batched_to_calm_when_that_does_not_help() -> None:
    some, much = Strain(lag=0.2), Strain(lag=0.9)
    assert modes(some, some, much, much) == [NORMAL, BATCHED, BATCHED, CALM]


def test_it_is_left_only_after_five_seconds_of_ease() -> None:
    it = Overload(LIMITS)
    modes(*[Strain(lag=0.2)] * 2, overload=it)
    assert modes(*[EASE] * 6, overload=it, start=2.0) == [BATCHED] * 5 + [NORMAL]


def test_from_calm_it_goes_as_far_down_as_the_strain_allows() -> None:
    for after, expected in ((EASE, NORMAL), (Strain(lag=0.15), BATCHED), (Strain(lag=0.07), BATCHED)):
        it = Overload(LIMITS)
        modes(*[Strain(lag=0.9)] * 2, overload=it)
        assert modes(*[after] * 6, overload=it, start=2.0)[-1] is expected


def test_what_is_better_but_not_good_keeps_the_mode() -> None:
    it = Overload(LIMITS)
    modes(*[Strain(lag=0.2)] * 2, overload=it)
    assert set(modes(*[Strain(lag=0.06)] * 20, overload=it, start=2.0)) == {BATCHED}


def test_ease_that_is_interrupted_begins_anew() -> None:
    it = Overload(LIMITS)
    modes(*[Strain(lag=0.2)] * 2, overload=it)
    spans = [EASE] * 4 + [Strain(lag=0.06)] + [EASE] * 5
    assert set(modes(*spans, overload=it, start=2.0)) == {BATCHED}


def test_it_tells_what_it_was_judged_by() -> None:
    it = Overload()
    assert it.strain == EASE
    it.judge(Strain(lag=0.03), 0.0)
    assert (it.mode, it.strain) == (NORMAL, Strain(lag=0.03))
