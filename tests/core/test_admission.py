"""How many may come at once."""

import pytest

from shard_node.core.admission import MAX_JOIN_RATE, MIN_JOIN_RATE, Budgets, Gate, JoinMeter
from shard_node.core.throttle import Rate


def test_those_who_are_refused_get_slots_of_their_own() -> None:
    gate = Gate(Rate(per_second=10, burst=2), now=0.0)
    assert [gate.ask(0.0) for _ in range(2)] == [0.0, 0.0]
    assert [round(gate.ask(0.0), 3) for _ in range(3)] == [0.1, 0.2, 0.3]


def test_a_crowd_that_comes_back_at_its_slots_is_let_in() -> None:
    gate = Gate(Rate(per_second=10, burst=1), now=0.0)
    slots = [gate.ask(0.0) for _ in range(50)]
    assert all(gate.ask(slot + 0.001) == 0.0 for slot in slots[1:])


def test_a_gate_goes_on_at_its_new_pace() -> None:
    gate = Gate(Rate(per_second=10, burst=1), now=0.0)
    gate.ask(0.0)
    gate.pace(Rate(per_second=100, burst=1))
    assert gate.ask(0.0) == pytest.approx(0.01)


def test_a_node_learns_what_joins_cost_it() -> None:
    meter = JoinMeter()
    for _ in range(50):
        meter.learn(joins=100, cpu=0.2, span=0.2)
    assert meter.rate == pytest.approx(400, rel=0.01)
    assert meter.window_of(1_000) == pytest.approx(2.5, rel=0.01)


def test_what_a_node_with_time_left_does_besides_is_not_held_against_joins() -> None:
    """Coming up to 10,000 members, a node that fanned out to them put thousands off who cost it a millisecond each."""
    meter = JoinMeter()
    meter.learn(joins=100, cpu=0.7, span=1.0)
    assert meter == JoinMeter()
    meter.learn(joins=900, cpu=0.5, span=1.0)
    assert meter.rate > JoinMeter().rate


@pytest.mark.parametrize(("joins", "cpu"), [(19, 5.0), (0, 1.0), (100, 0.0)])
def test_few_joins_teach_nothing(joins: int, cpu: float) -> None:
    meter = JoinMeter()
    meter.learn(joins=joins, cpu=cpu, span=1.0)
    assert meter == JoinMeter()


def test_the_pace_stays_within_reason() -> None:
    meter = JoinMeter()
    for _ in range(99):
        meter.learn(joins=20, cpu=99.0, span=99.0)
    assert meter.rate == MIN_JOIN_RATE
    for _ in range(99):
        meter.learn(joins=10_000, cpu=0.001, span=1.0)
    assert meter.rate == MAX_JOIN_RATE
    assert (meter.window_of(1), meter.window_of(10**6)) == (0.25, 20.0)


def test_joins_resumes_and_sends_do_not_eat_from_one_budget() -> None:
    budgets = Budgets(now=0.0)
    while budgets.joins.ask(0.0) == 0.0:
        pass
    assert budgets.resumes.ask(0.0) == 0.0
    assert budgets.sends.ask(0.0) == 0.0
    budgets.learn(joins=1_000, cpu=0.1, span=1.0)
    assert budgets.meter.rate > 1_000
