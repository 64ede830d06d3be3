"""What of a room nobody misses."""

import msgspec
import pytest

from director.contract.ids import Seq
from persistence.contract.messages import Entry, Mode
from shard_node.contract.events import MAX_ANSWER_BYTES, MAX_RECOVERED
from shard_node.core.lecture import LectureEntries, is_lecture
from tests.support.entries import LECTURER, STUDENT, deletion, message, mode_change, notice


def lecture_of(*entries: Entry, complete_after: int = 0) -> LectureEntries:
    it = LectureEntries(complete_after=Seq(complete_after))
    for entry in entries:
        it.append(entry, msgspec.json.encode(entry))
    return it


def held(it: LectureEntries, after: int, to: int) -> list[Entry]:
    return [msgspec.json.decode(raw, type=Entry) for _, raw in it.between(Seq(after), Seq(to))]


def test_staff_deletions_notices_and_modes_are_lecture_and_students_chat_is_not() -> None:
    assert is_lecture(message(1, by=LECTURER))
    assert is_lecture(deletion(2, target=1, by=STUDENT)), "what is deleted must go from every screen"
    assert is_lecture(notice(3, "exam"))
    assert is_lecture(mode_change(4, Mode.STAFF))
    assert not is_lecture(message(5, by=STUDENT))


def test_a_range_holds_its_own_entries_in_order() -> None:
    it = lecture_of(message(1, by=LECTURER), message(2), notice(3, "exam"), message(4, by=LECTURER))
    assert [entry.seq for entry in held(it, 0, 9)] == [1, 3, 4]
    assert [entry.seq for entry in held(it, 1, 3)] == [3]
    assert held(it, 4, 4) == []


def test_a_deleted_text_is_never_given_again_though_it_was_staffs_own() -> None:
    it = lecture_of(message(1, "oops", by=LECTURER), message(2), deletion(3, target=1), deletion(4, target=2))
    struck, *deletions = held(it, 0, 4)
    assert struck == message(1, by=LECTURER).without_text()
    assert [entry.target for entry in deletions] == [1, 2]


def test_no_more_than_500_are_kept_and_what_is_no_longer_complete_is_refused() -> None:
    it = lecture_of(*(message(seq, by=LECTURER) for seq in range(1, MAX_RECOVERED + 4)))
    assert it.complete_after == 3
    assert len(held(it, 3, MAX_RECOVERED + 3)) == MAX_RECOVERED
    with pytest.raises(ValueError, match="is not held"):
        it.between(Seq(2), Seq(9))


def test_no_more_than_256_kib_are_kept_but_one_entry_always_is() -> None:
    it = lecture_of(*(message(seq, "가" * 2_000, by=LECTURER) for seq in range(1, 101)))
    kept = list(it.between(it.complete_after, Seq(100)))
    assert sum(len(raw) for _, raw in kept) <= MAX_ANSWER_BYTES
    assert kept[0][0] == it.complete_after + 1
    it.append(
        message(101, "x" * MAX_ANSWER_BYTES, by=LECTURER), msgspec.json.encode(message(101, "x" * MAX_ANSWER_BYTES))
    )
    assert [seq for seq, _ in it.between(Seq(100), Seq(101))] == [101]


def test_chat_that_is_not_kept_does_not_make_it_incomplete() -> None:
    it = lecture_of(*(message(seq) for seq in range(8, 2_000)), complete_after=7)
    assert it.complete_after == 7
    with pytest.raises(ValueError, match="is not held"):
        it.between(Seq(6), Seq(9))
