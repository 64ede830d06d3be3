"""The fault plan: the same for the same seed, every kind in its turn, and time to recover in between."""

import itertools

import pytest

from loadtest.core.fault_plan import (
    ALL_DIRECTORS,
    ALL_KINDS,
    APART,
    LEAD_IN,
    LONGEST,
    MIN_GAP,
    ON_A_NODE,
    TAIL,
    Fault,
    FaultKind,
    FaultPlan,
    Manner,
    plan_faults,
    plan_once,
)

NODES = ("node-1", "node-2", "node-3")
DIRECTORS = ("director-1", "director-2")


def planned(seed: int = 1, *, seconds: float = 600.0, kinds: tuple[FaultKind, ...] = ALL_KINDS) -> FaultPlan:
    return plan_faults(kinds, seconds=seconds, seed=seed, nodes=NODES, directors=DIRECTORS)


def test_a_seed_is_a_schedule() -> None:
    assert planned(7) == planned(7)
    assert planned(7) != planned(8)


@pytest.mark.parametrize("seed", range(40))
def test_ten_minutes_break_everything_and_two_never_the_same_thing_at_once(seed: int) -> None:
    plan = planned(seed)
    assert {fault.kind for fault in plan.faults} == set(ALL_KINDS)
    assert plan.faults[0].begins == LEAD_IN
    assert all(fault.ends + MIN_GAP <= plan.seconds for fault in plan.faults)
    for fault, other in itertools.combinations(plan.faults, 2):
        if other.begins <= fault.ends:
            assert other.number == fault.number + 1, "never three at once"
            assert other.target != fault.target
        assert other.begins >= fault.begins


def test_some_faults_meet_and_most_come_alone() -> None:
    pairs = [pair for seed in range(40) for pair in itertools.pairwise(planned(seed).faults)]
    meeting = [(one, two) for one, two in pairs if two.begins < one.ends]
    assert 0.03 < len(meeting) / len(pairs) < 0.3
    assert any({one.kind, two.kind} <= ON_A_NODE for one, two in meeting), "two nodes at once"
    alone = [(one, two) for one, two in pairs if two.begins >= one.ends]
    assert all(two.begins - one.ends >= 0.8 * MIN_GAP for one, two in alone)


@pytest.mark.parametrize("seed", range(10))
def test_faults_last_as_long_as_they_should_and_hit_what_they_can(seed: int) -> None:
    for fault in planned(seed).faults:
        lasts = fault.ends - fault.begins
        match fault.kind:
            case FaultKind.FREEZE:
                assert lasts > 7.0, "longer than lease and guard"
            case FaultKind.SHORT_FREEZE:
                assert lasts == pytest.approx(2.0)
            case FaultKind.REDIS_PAUSE:
                assert 10.0 <= lasts <= LONGEST
            case FaultKind.KILL | FaultKind.REDIS_KILL | FaultKind.REDIS_WIPE | FaultKind.DIRECTOR_KILL:
                assert lasts == 0.0
            case FaultKind.MOVE | FaultKind.RESTART:
                assert lasts == 0.0
            case _ if fault.manner is Manner.RESET:
                assert lasts == 0.0
            case FaultKind.VANISH:
                assert lasts > 15.0, "longer than clients take to notice"
            case _:
                assert lasts >= 3.0
        assert (fault.target in NODES) == (fault.kind in ON_A_NODE)
        assert (fault.target in (*DIRECTORS, ALL_DIRECTORS)) == (fault.kind is FaultKind.DIRECTOR_KILL)


def test_a_short_time_has_shorter_gaps_and_at_least_one_fault() -> None:
    short = planned(seconds=120.0)
    assert len(short.faults) >= 5
    assert all(fault.ends - fault.begins <= 15.0 for fault in short.faults if fault.kind is not FaultKind.VANISH)
    pause = planned(seconds=1.0, kinds=(FaultKind.REDIS_PAUSE,))
    assert len(pause.faults) == 1
    assert pause.seconds >= pause.faults[0].ends + MIN_GAP


def test_to_measure_each_kind_comes_once_and_alone_on_the_first_node() -> None:
    kinds = (FaultKind.KILL, FaultKind.REDIS_PAUSE, FaultKind.VANISH, FaultKind.REDIS_WIPE)
    plan = plan_once(kinds, seconds=10.0, seed=3, nodes=NODES, directors=DIRECTORS, lasts=None)
    assert tuple(fault.kind for fault in plan.faults) == kinds
    assert [fault.target for fault in plan.faults] == ["node-1", "redis", "node-1", "redis"]
    assert all(two.begins - one.ends == pytest.approx(APART) for one, two in itertools.pairwise(plan.faults))
    assert plan.seconds == plan.faults[-1].ends + TAIL
    assert plan == plan_once(kinds, seconds=10.0, seed=3, nodes=NODES, directors=DIRECTORS, lasts=None)


def test_how_long_a_fault_lasts_may_be_said_but_what_is_over_at_once_stays_so() -> None:
    kinds = (FaultKind.REDIS_PAUSE, FaultKind.KILL)
    plan = plan_once(kinds, seconds=600.0, seed=1, nodes=NODES, directors=DIRECTORS, lasts=60.0)
    assert [fault.ends - fault.begins for fault in plan.faults] == [60.0, 0.0]
    assert plan.seconds == 600.0


def test_a_fault_is_watched_until_the_next_begins_after_it() -> None:
    def fault(number: int, begins: float, ends: float) -> Fault:
        return Fault(number, FaultKind.FREEZE, "node-1", Manner.PLAIN, begins, ends)

    first, overlapping, last = fault(1, 5.0, 15.0), fault(2, 10.0, 18.0), fault(3, 30.0, 40.0)
    plan = FaultPlan((first, overlapping, last), 60.0)
    assert plan.watched_until(first) == plan.watched_until(overlapping) == 30.0
    assert plan.watched_until(last) == 60.0


def test_a_fault_is_told_in_words() -> None:
    assert Fault(1, FaultKind.KILL, "node-1", Manner.PLAIN, 0.0, 0.0).words == "kill node-1"
    assert Fault(1, FaultKind.CUT_REDIS, "node-2", Manner.BLACK_HOLE, 0.0, 9.0).words == "cut-redis node-2, black hole"
