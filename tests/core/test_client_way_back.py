"""The way back: what a client does after each kind of end, and how long it waits (protocol, sections 6 and 7)."""

import random

import pytest

from director.contract.errors import Action, ErrorCode, ErrorDetail
from director.contract.ids import Epoch, NodeName
from loadtest.contract.received import Moved
from loadtest.core.way_back import (
    AskDirector,
    Backoff,
    GiveUp,
    JoinAgain,
    JoinThere,
    Lost,
    MovedAway,
    SentAway,
    Unrouted,
    next_step,
    why_of,
)

NODE = NodeName("node-1")


class Highest(random.Random):
    """Chance that always draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return b


def error(code: str, action: str, retry_after_ms: int = 0) -> ErrorDetail:
    return ErrorDetail(code, "as told", action, True, retry_after_ms)


def test_the_first_try_after_a_loss_falls_into_the_window_and_then_the_spans_double_up_to_twenty_seconds() -> None:
    backoff = Backoff(Highest())
    backoff.live_for(60, reconnect_window=3)
    assert [backoff.wait() for _ in range(8)] == [3, 0.5, 1, 2, 4, 8, 16, 20]


def test_before_the_first_join_there_is_no_window() -> None:
    assert Backoff(Highest()).wait() == 0.5


def test_a_try_is_drawn_from_the_whole_span() -> None:
    waits = set()
    for seed in range(200):
        backoff = Backoff(random.Random(seed))
        backoff.live_for(60, reconnect_window=2)
        waits.add(backoff.wait())
    assert min(waits) < 0.1
    assert max(waits) > 1.9
    assert all(0 <= wait <= 2 for wait in waits)


def test_after_ten_seconds_live_the_count_begins_anew() -> None:
    backoff = Backoff(Highest())
    backoff.live_for(60, reconnect_window=1)
    assert [backoff.wait() for _ in range(4)] == [1, 0.5, 1, 2]
    backoff.live_for(10, reconnect_window=1)
    assert [backoff.wait() for _ in range(2)] == [1, 0.5]


def test_a_connection_that_lived_for_a_moment_does_not_begin_the_count_anew() -> None:
    backoff = Backoff(Highest())
    backoff.live_for(60, reconnect_window=1)
    assert [backoff.wait() for _ in range(3)] == [1, 0.5, 1]
    backoff.live_for(9.9, reconnect_window=1)
    assert backoff.wait() == 2


def test_a_first_connection_that_is_lost_early_has_its_window() -> None:
    backoff = Backoff(Highest())
    backoff.live_for(1, reconnect_window=7)
    assert backoff.wait() == 7


def test_retry_after_is_a_lower_bound_and_the_jitter_stays() -> None:
    backoff = Backoff(random.Random(1))
    waits = [next_step(SentAway(error("BUSY", "retry", 5_000)), backoff) for _ in range(20)]
    assert all(isinstance(step, JoinAgain) and step.after >= 5 for step in waits)
    assert len(set(waits)) == 20


def test_a_loss_without_a_word_asks_the_director_with_the_hint() -> None:
    step = next_step(Lost(NODE), Backoff(random.Random(1)))
    assert isinstance(step, AskDirector)
    assert step.failed == NODE


def test_a_bye_asks_the_director_without_a_hint() -> None:
    step = next_step(SentAway(error("SHUTDOWN", "reroute")), Backoff(random.Random(1)))
    assert isinstance(step, AskDirector)
    assert step.failed is None


def test_after_moved_one_joins_there_at_once_and_no_try_is_counted() -> None:
    backoff = Backoff(Highest())
    moved = Moved("http://127.0.0.1:9002", "/socket.io/", NodeName("node-2"), Epoch(8), "ticket", 1_000)
    assert next_step(MovedAway(moved), backoff) == JoinThere(moved)
    assert backoff.wait() == 0.5


@pytest.mark.parametrize("code", list(ErrorCode))
def test_a_refused_join_is_followed_by_what_its_action_says(code: ErrorCode) -> None:
    step = next_step(SentAway(error(code, code.action, 100)), Backoff(random.Random(1)))
    match code.action:
        case Action.RETRY:
            assert isinstance(step, JoinAgain)
        case Action.REROUTE:
            assert isinstance(step, AskDirector)
            assert step.after >= 0.1
        case Action.STAY | Action.FIX | Action.STOP:
            assert step == GiveUp(error(code, code.action, 100))


def test_a_director_that_does_not_answer_is_asked_again_with_the_same_hint() -> None:
    step = next_step(Unrouted(NODE), Backoff(random.Random(1)))
    assert isinstance(step, AskDirector)
    assert step.failed == NODE


def test_a_director_that_is_not_sure_yet_is_asked_again_with_the_same_hint() -> None:
    step = next_step(Unrouted(NODE, error("OWNER_UNCONFIRMED", "retry", 500)), Backoff(random.Random(1)))
    assert isinstance(step, AskDirector)
    assert step.failed == NODE
    assert step.after >= 0.5


def test_a_director_that_refuses_for_good_is_not_asked_again() -> None:
    step = next_step(Unrouted(None, error("FORBIDDEN", "stop")), Backoff(random.Random(1)))
    assert step == GiveUp(error("FORBIDDEN", "stop"))


def test_an_unknown_code_is_obeyed_by_its_action() -> None:
    assert isinstance(next_step(SentAway(error("NEW_CODE", "reroute")), Backoff(random.Random(1))), AskDirector)
    assert isinstance(next_step(SentAway(error("NEW_CODE", "stop")), Backoff(random.Random(1))), GiveUp)


def test_a_history_can_say_how_a_connection_ended() -> None:
    moved = Moved("http://127.0.0.1:9002", "/socket.io/", NodeName("node-2"), Epoch(8), "ticket", 1_000)
    ends = [Lost(NODE, "hole"), SentAway(error("BUSY", "retry")), MovedAway(moved), Unrouted(None)]
    assert [why_of(ended) for ended in ends] == ["hole", "BUSY", "moved", "no route"]
    assert why_of(Unrouted(None, error("FORBIDDEN", "stop"))) == "FORBIDDEN"
