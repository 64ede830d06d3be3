"""The newest entries of a room."""

import msgspec
import pytest

from director.contract.ids import Seq
from persistence.contract.messages import Entry
from shard_node.contract.events import MAX_ANSWER_BYTES, MAX_RECOVERED
from shard_node.core.recent import RecentEntries
from tests.support.entries import deletion, message


def seqs_of(raws: tuple[msgspec.Raw, ...] | msgspec.Raw) -> list[int]:
    if isinstance(raws, msgspec.Raw):
        return [entry.seq for entry in msgspec.json.decode(raws, type=list[Entry])]
    return [msgspec.json.decode(raw, type=Entry).seq for raw in raws]


def recent_of(count: int) -> RecentEntries:
    return RecentEntries([message(seq) for seq in range(1, count + 1)], head=Seq(count))


def test_an_empty_room_covers_its_own_head_and_nothing_else() -> None:
    recent = RecentEntries([], head=Seq(0))
    assert recent.first == 1
    assert recent.covers(Seq(0))
    assert not recent.covers(Seq(1))
    assert recent.after(Seq(0)) == ()
    assert seqs_of(recent.answer_last(50)) == seqs_of(recent.answer_after(Seq(0))) == []


def test_what_follows_a_number_comes_in_order_and_whole() -> None:
    recent = recent_of(10)
    assert seqs_of(recent.after(Seq(7))) == [8, 9, 10]
    assert seqs_of(recent.after(Seq(0), limit=2)) == [1, 2]
    assert seqs_of(recent.answer_last(3)) == [8, 9, 10]
    assert seqs_of(recent.answer_last(99)) == list(range(1, 11))
    assert seqs_of(recent.answer_last(0)) == []


def test_what_is_not_held_is_refused() -> None:
    recent = RecentEntries([message(8)], head=Seq(8))
    for seq in (6, 9):
        with pytest.raises(ValueError, match="is not held"):
            recent.after(Seq(seq))


def test_the_newest_are_counted_and_weighed() -> None:
    recent = RecentEntries([message(seq) for seq in range(11, 21)], head=Seq(20))
    size = len(recent.after(Seq(19))[0])
    assert recent.size_after(Seq(17)) == 3 * size
    assert recent.newest_within(4, 10 * size) == 4
    assert recent.newest_within(50, 3 * size) == 3
    assert recent.newest_within(50, 3 * size - 1) == 2
    assert len(recent) == recent.newest_within(50, 10**6) == 10


def test_answers_are_kept_for_a_few_positions_only() -> None:
    recent = recent_of(40)
    answers = [recent.answer_after(Seq(seq)) for seq in range(40)]
    assert recent.answer_after(Seq(39)) is answers[39]
    assert recent.answer_after(Seq(0)) is not answers[0]
    assert seqs_of(recent.answer_after(Seq(0))) == seqs_of(answers[0])


def test_no_more_than_a_recovery_may_hold_is_kept() -> None:
    recent = recent_of(MAX_RECOVERED + 5)
    assert recent.first == 6
    assert recent.covers(Seq(5))
    assert not recent.covers(Seq(4))
    assert len(recent.after(Seq(5))) == MAX_RECOVERED


def test_no_more_bytes_than_a_recovery_may_hold_are_kept() -> None:
    recent = RecentEntries([], head=Seq(0))
    for seq in range(1, 101):
        recent.append(message(seq, "가" * 2_000))
    kept = recent.answer_last(500)
    assert 0 < len(bytes(kept)) <= MAX_ANSWER_BYTES
    assert seqs_of(kept)[-1] == 100


def test_an_entry_larger_than_the_bound_is_kept_alone() -> None:
    recent = RecentEntries([message(1)], head=Seq(1))
    recent.append(message(2, "x" * (MAX_ANSWER_BYTES + 1)))
    assert seqs_of(recent.answer_last(10)) == [2]


def test_a_number_that_does_not_follow_is_refused() -> None:
    recent = recent_of(2)
    for seq in (2, 4):
        with pytest.raises(ValueError, match="does not follow"):
            recent.append(message(seq))


def test_a_deleted_text_is_never_given_again() -> None:
    recent = recent_of(3)
    recent.append(deletion(4, target=2))
    struck = msgspec.json.decode(recent.after(Seq(1), limit=1)[0])
    assert struck["deleted"] is True
    assert "text" not in struck
    assert seqs_of(recent.answer_last(9)) == [1, 2, 3, 4]


def test_a_deletion_of_what_is_no_longer_held_changes_nothing_else() -> None:
    recent = RecentEntries([message(8)], head=Seq(8))
    recent.append(deletion(9, target=2))
    assert recent.entry(Seq(2)) is None
    assert recent.entry(Seq(8)) == message(8)


def test_those_who_ask_alike_are_given_the_same_bytes_until_something_new_comes() -> None:
    recent = recent_of(3)
    answer = recent.answer_after(Seq(1))
    assert recent.answer_after(Seq(1)) is answer
    recent.append(message(4))
    assert seqs_of(recent.answer_after(Seq(1))) == [2, 3, 4]
