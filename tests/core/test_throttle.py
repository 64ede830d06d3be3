"""How often one person may ask."""

from director.contract.ids import UserId
from shard_node.core.throttle import Rate, SlowMode, TokenBucket

ANN, BEN = UserId("ann"), UserId("ben")


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(Rate(per_second=2, burst=3), now=0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(0.0) == 0.5
    assert bucket.take(0.5) == 0.0
    assert bucket.take(0.5) == 0.5


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = TokenBucket(Rate(per_second=2, burst=3), now=0.0)
    assert [bucket.take(1e6) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_slow_mode_makes_each_person_wait_for_their_own_turn() -> None:
    slow = SlowMode()
    slow.note(ANN, "a1", slow=10, now=0.0)
    assert slow.wait_of(ANN, "a2", slow=10, now=4.0) == 6.0
    assert slow.wait_of(ANN, "a2", slow=10, now=10.0) == 0.0
    assert slow.wait_of(BEN, "b1", slow=10, now=4.0) == 0.0


def test_a_retry_of_the_last_post_does_not_wait_and_does_not_start_the_wait_anew() -> None:
    slow = SlowMode()
    slow.note(ANN, "a1", slow=10, now=0.0)
    assert slow.wait_of(ANN, "a1", slow=10, now=1.0) == 0.0
    slow.note(ANN, "a1", slow=10, now=9.0)
    assert slow.wait_of(ANN, "a2", slow=10, now=9.0) == 1.0


def test_slow_mode_remembers_no_more_than_those_who_posted_lately() -> None:
    slow = SlowMode()
    for number in range(10_000):
        slow.note(UserId(f"u{number}"), "c", slow=1, now=float(number))
    assert len(slow._last) <= 3


def test_the_end_of_slow_mode_lets_everybody_post() -> None:
    slow = SlowMode()
    slow.note(ANN, "a1", slow=10, now=0.0)
    slow.clear()
    assert slow.wait_of(ANN, "a2", slow=10, now=0.0) == 0.0
