"""When a room's newest counts are told."""

from shard_node.contract.events import Ambient, NodeMode
from shard_node.core.ambient import AmbientNews


def newest(
    it: AmbientNews, now: float, *, members: int = 7, mode: NodeMode = NodeMode.NORMAL, **reactions: int
) -> Ambient | None:
    return it.newest(members=members, reactions=reactions, mode=mode, now=now)


def test_counts_are_told_every_two_seconds_at_most() -> None:
    it = AmbientNews(0.0)
    assert newest(it, 1.9) is None
    assert newest(it, 2.0) == Ambient(7, {})
    assert newest(it, 3.9, members=8) is None
    assert newest(it, 4.0, members=8) == Ambient(8, {})


def test_what_has_not_changed_is_not_told_again() -> None:
    it = AmbientNews(0.0)
    newest(it, 2.0)
    assert newest(it, 4.0) is None
    assert newest(it, 6.0, mode=NodeMode.BATCHED) == Ambient(7, {}, NodeMode.BATCHED)


def test_reactions_are_always_news() -> None:
    it = AmbientNews(0.0)
    newest(it, 2.0)
    assert newest(it, 4.0, clap=3) == Ambient(7, {"clap": 3})
    assert newest(it, 6.0) is None, "none since"
    assert newest(it, 8.0, clap=3) == Ambient(7, {"clap": 3})


def test_in_calm_mode_they_are_told_every_ten_seconds() -> None:
    it = AmbientNews(0.0)
    assert newest(it, 9.9, mode=NodeMode.CALM) is None
    assert newest(it, 10.0, mode=NodeMode.CALM) is not None


def test_a_crowd_that_comes_is_not_counted_aloud_until_it_is_in() -> None:
    it = AmbientNews(0.0)
    newest(it, 2.0, members=20)
    for second in range(2, 8):
        for _ in range(40):
            it.stir()
        assert newest(it, 2.0 * second, members=40 * second) is None
    assert newest(it, 16.0, members=300) == Ambient(300, {})


def test_a_few_that_come_are_no_crowd_and_of_many_it_takes_more() -> None:
    it = AmbientNews(0.0)
    for _ in range(10):
        it.stir()
    assert newest(it, 2.0, members=10) is not None
    for _ in range(50):
        it.stir()
    assert newest(it, 4.0, members=1_000) is not None
    for _ in range(51):
        it.stir()
    assert newest(it, 6.0, members=1_001) is None


def test_no_silence_lasts_longer_than_twenty_seconds() -> None:
    it = AmbientNews(0.0)
    told = []
    for second in range(1, 31):
        for _ in range(100):
            it.stir()
        if newest(it, 2.0 * second, members=500 + second) is not None:
            told.append(2 * second)
    assert told == [20, 40, 60]
