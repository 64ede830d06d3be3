"""How late this process is, and whether it was asleep."""

from shard_node.core.lag import LagProbe


def test_a_steady_beat_raises_no_doubt() -> None:
    probe = LagProbe(0.0)
    for tenth in range(1, 100):
        probe.beat(tenth / 10)
    assert not probe.is_doubtful(10.0)
    assert round(probe.take_latest(), 3) == 0.0


def test_the_latest_beat_is_told_once() -> None:
    probe = LagProbe(0.0)
    for beat_at in (0.1, 0.45, 0.6):
        probe.beat(beat_at)
    assert round(probe.take_latest(), 3) == 0.25
    assert probe.take_latest() == 0.0
    probe.beat(2.7)
    assert round(probe.take_latest(), 3) == 2.0


def test_a_pause_that_was_looked_at_before_the_beat_is_told_with_the_next() -> None:
    probe = LagProbe(0.0)
    assert probe.is_doubtful(3.0)
    probe.beat(3.0)
    assert round(probe.take_latest(), 3) == 2.9


def test_a_pause_is_seen_by_whoever_looks_first() -> None:
    probe = LagProbe(0.0)
    assert probe.is_doubtful(1.5)
    probe.beat(1.6)
    assert probe.is_doubtful(1.7), "a beat alone settles nothing"


def test_a_read_that_was_sent_after_the_pause_settles_the_doubt() -> None:
    probe = LagProbe(0.0)
    probe.beat(5.0)
    probe.confirmed(sent_at=4.9)
    assert probe.is_doubtful(5.0), "that answer is from before the pause"
    probe.confirmed(sent_at=5.0)
    assert not probe.is_doubtful(5.05)
    probe.confirmed(sent_at=5.1)
    assert not probe.is_doubtful(5.2)
