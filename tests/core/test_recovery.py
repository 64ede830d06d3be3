"""What a joining member is given: the table of protocol section 3."""

import msgspec
import pytest

from director.contract.ids import Epoch, LogId, Seq
from persistence.contract.messages import Entry
from shard_node.contract.events import Position
from shard_node.core.recent import RecentEntries
from shard_node.core.recovery import Replay, Reset, StaleOwner, recover
from tests.support.entries import message

HEAD = 600
RECENT = RecentEntries([message(seq) for seq in range(1, HEAD + 1)], head=Seq(HEAD))


def decide(since: Position | None, tail: int = 50) -> Replay | Reset | StaleOwner:
    return recover(since, tail=tail, log=LogId("log-1"), epoch=Epoch(3), recent=RECENT)


def at(seq: int, *, log: str = "log-1", epoch: int = 3) -> Position:
    return Position(LogId(log), Epoch(epoch), Seq(seq))


def seqs_of(entries: msgspec.Raw) -> list[int]:
    return [entry.seq for entry in msgspec.json.decode(entries, type=list[Entry])]


def test_a_newcomer_gets_the_tail_it_asked_for() -> None:
    answer = decide(None, tail=2)
    assert isinstance(answer, Reset)
    assert answer.reason is None
    assert seqs_of(answer.entries) == [599, 600]


@pytest.mark.parametrize(("since", "expected"), [(598, [599, 600]), (600, []), (100, list(range(101, 601)))])
def test_a_returning_member_gets_everything_since(since: int, expected: list[int]) -> None:
    answer = decide(at(since))
    assert isinstance(answer, Replay)
    assert seqs_of(answer.entries) == expected


@pytest.mark.parametrize(
    ("since", "reason"), [(at(99), "too_far"), (at(601), "new_log"), (at(5, log="other", epoch=99), "new_log")]
)
def test_a_member_that_cannot_be_given_all_is_told_why_and_gets_the_tail(since: Position, reason: str) -> None:
    answer = decide(since)
    assert isinstance(answer, Reset)
    assert answer.reason == reason
    assert seqs_of(answer.entries) == list(range(551, 601))


def test_a_member_served_by_a_later_owner_is_not_admitted() -> None:
    assert isinstance(decide(at(600, epoch=4)), StaleOwner)


def test_a_position_of_an_older_epoch_is_as_good() -> None:
    assert isinstance(decide(at(599, epoch=1)), Replay)
