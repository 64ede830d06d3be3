"""Recovery times: who lost the connection to a fault, and how soon all were back."""

from director.contract.ids import Epoch, LogId, NodeName, RoomId, Seq, UserId
from loadtest.contract.history import NOT_DONE, Acked, Admitted, Asked, Denied, Finished, Parted
from loadtest.core.recovery_times import FaultSpan, LifeLines
from shard_node.contract.events import Position

ROOM = RoomId("r")
SPAN = FaultSpan(begun_at=100.0, watched_until=120.0)


def joins(lines: LifeLines, client: str, at: float, *, node: str = "node-1") -> None:
    pos = Position(LogId("log"), Epoch(1), Seq(0))
    lines.record(
        Admitted(client, ROOM, at, NodeName(node), since=None, pos=pos, recovered=False, reason=None, entries=())
    )


def parts(lines: LifeLines, client: str, at: float, why: str = "Lost") -> None:
    lines.record(Parted(client, ROOM, at, why))


def sends(lines: LifeLines, at: float, answer: float | None, *, code: str | None = None) -> None:
    cid = f"c{at}"
    lines.record(Asked("a", ROOM, at, cid, UserId("a")))
    if answer is not None and code is None:
        lines.record(Acked("a", ROOM, answer, cid, UserId("a"), Seq(1), Epoch(1), False))
    elif answer is not None and code is not None:
        lines.record(Denied("a", ROOM, answer, cid, code))


def test_times_count_from_the_faults_beginning_until_a_share_of_the_affected_is_back() -> None:
    lines = LifeLines()
    for number in range(20):
        joins(lines, f"m{number}", 1.0)
    for number in range(10):
        parts(lines, f"m{number}", 101.0)
        joins(lines, f"m{number}", 102.0 + number)
    recovery = lines.recovery_of(SPAN)
    assert (recovery.affected, recovery.back) == (10, 10)
    assert recovery.seconds == (6.0, 11.0, 11.0, 11.0)


def test_who_never_comes_back_leaves_the_last_shares_open() -> None:
    lines = LifeLines()
    for client in "abcd":
        joins(lines, client, 1.0)
        parts(lines, client, 100.5)
    for client, at in zip("abc", (103.0, 101.0, 102.0), strict=True):
        joins(lines, client, at)
    recovery = lines.recovery_of(SPAN)
    assert (recovery.affected, recovery.back) == (4, 3)
    assert recovery.seconds == (2.0, None, None, None)


def test_only_the_return_to_stay_counts() -> None:
    lines = LifeLines()
    for at in (1.0, 102.0, 109.0, 125.0):
        joins(lines, "a", at)
        if at < 109.0:
            parts(lines, "a", at + (99.5 if at == 1.0 else 1.0))
    assert lines.recovery_of(SPAN).seconds == (9.0,) * 4


def test_what_happened_before_or_long_after_or_by_ones_own_will_is_no_ones_fault() -> None:
    lines = LifeLines()
    for client in ("before", "after", "own", "leaver"):
        joins(lines, client, 1.0)
    parts(lines, "before", 50.0)
    parts(lines, "after", 120.0)
    lines.dropping("own")
    parts(lines, "own", 105.0)
    joins(lines, "own", 106.0)
    parts(lines, "leaver", 110.0, "left")
    assert lines.recovery_of(SPAN).affected == 0
    assert lines.recovery_of(SPAN).seconds == (None,) * 4
    parts(lines, "own", 107.0)
    assert lines.recovery_of(SPAN).affected == 1, "after its return it can be hit again"


def test_who_cuts_the_own_connection_is_counted_apart_and_so_is_the_return() -> None:
    lines = LifeLines()
    for client in ("early", "back", "gone", "twice"):
        joins(lines, client, 1.0)
    for client, drops, returns in (
        ("early", 90.0, 105.0),
        ("back", 101.0, 104.0),
        ("gone", 102.0, None),
        ("twice", 103.0, 106.0),
        ("twice", 110.0, 112.0),
        ("back", 121.0, None),
    ):
        lines.dropping(client)
        parts(lines, client, drops)
        if returns is not None:
            joins(lines, client, returns)
    recovery = lines.recovery_of(SPAN)
    assert (recovery.dropped, recovery.returned) == (4, 3)
    assert recovery.affected == 0


def test_sends_are_timed_by_when_they_were_asked_for() -> None:
    lines = LifeLines()
    sends(lines, 99.0, 119.0)
    sends(lines, 101.0, 104.5)
    sends(lines, 102.0, 110.0, code="MODE_CLOSED")
    sends(lines, 103.0, 163.0, code=NOT_DONE)
    sends(lines, 104.0, None)
    lines.record(Acked("a", ROOM, 105.0, "unheard of", UserId("a"), Seq(1), Epoch(1), False))
    lines.record(Finished("a", ROOM, 200.0, True))
    recovery = lines.recovery_of(SPAN)
    assert (recovery.slowest_send, recovery.failed_sends) == (8.0, 1)


def test_it_knows_who_is_where_now() -> None:
    lines = LifeLines()
    joins(lines, "a", 1.0)
    joins(lines, "b", 1.0, node="node-2")
    joins(lines, "c", 1.0)
    parts(lines, "c", 2.0)
    assert (lines.live_on("node-1"), lines.live_on("node-2"), lines.live_on("node-3")) == (1, 1, 0)
