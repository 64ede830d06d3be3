"""When a transaction that holds the store's lock is overdue."""

from director.core.lock_hold import Holder, LockHold, look

FROZEN = Holder(7, b"pid 7 transaction 1")


def overdue_at(*looks: tuple[float, Holder | None]) -> list[tuple[int, Holder]]:
    """The numbers of those looks that found somebody overdue, and whom; each look comes so long after the former."""
    hold, found = LockHold(), []
    for number, (elapsed, holder) in enumerate(looks, 1):
        hold, overdue = look(hold, holder, elapsed=elapsed, limit=2.0)
        if overdue is not None:
            found.append((number, overdue))
    return found


def test_who_holds_the_lock_in_one_transaction_for_more_than_the_limit_is_overdue_once() -> None:
    assert overdue_at(*[(0.25, FROZEN)] * 40) == [(10, FROZEN)]  # the ninth look is the one at 2.0 s


def test_nobody_is_overdue_while_nobody_holds_the_lock() -> None:
    assert overdue_at(*[(0.25, None)] * 40) == []


def test_a_process_that_takes_the_lock_again_and_again_is_not_overdue() -> None:
    assert overdue_at(*[(0.25, Holder(7, b"transaction %d" % i)) for i in range(40)]) == []


def test_processes_that_hold_it_in_turn_are_not_overdue_though_the_note_be_old() -> None:
    """The note is written a moment after the lock was had."""
    assert overdue_at(*[(0.25, Holder(pid, b"")) for pid in (7, 8) * 20]) == []


def test_a_moment_without_a_holder_begins_the_count_anew() -> None:
    half = [(0.25, FROZEN)] * 8
    assert overdue_at(*half, (0.25, None), *half) == []


def test_the_next_transaction_of_a_process_that_was_overdue_may_be_overdue_too() -> None:
    again = Holder(7, b"pid 7 transaction 2")
    assert overdue_at(*[(0.25, FROZEN)] * 20, *[(0.25, again)] * 20) == [(10, FROZEN), (30, again)]


def test_a_watch_that_stood_still_itself_does_not_count_that_time() -> None:
    assert overdue_at((0.25, FROZEN), (600.0, FROZEN), (600.0, FROZEN), (600.0, FROZEN), (600.0, FROZEN)) == []
    assert overdue_at((0.25, FROZEN), *[(600.0, FROZEN)] * 5) == [(6, FROZEN)]
