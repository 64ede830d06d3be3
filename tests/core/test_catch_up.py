"""What a member that reads again is shown of what it lacks."""

import random

import msgspec
import pytest

from director.contract.ids import RoomId, Seq
from persistence.contract.messages import Entry
from shard_node.contract.events import MAX_RECOVERED, Frame
from shard_node.core.catch_up import MAX_REST, TAIL, TooFar
from shard_node.core.frame_cut import MAX_FRAME_BYTES, MAX_FRAME_ENTRIES
from shard_node.core.room import Gap, Room
from tests.support.entries import LECTURER, deletion, message, notice, room_state


def entry_at(seq: int, *, every: int = 10, text: str = "hello") -> Entry:
    """Every tenth entry is the lecturer's."""
    return message(seq, text, by=LECTURER) if every and seq % every == 0 else message(seq, text)


def room_to(head: int, *, every: int = 10, text: str = "hello") -> Room:
    room = Room(RoomId("math"), room_state(), [])
    for seq in range(1, head + 1):
        room.show([entry_at(seq, every=every, text=text)])
    return room


def seqs_of(frame: Frame) -> list[int]:
    return [msgspec.json.decode(raw)["seq"] for raw in frame.entries]


def whole_way(room: Room, shown: int) -> list[Frame | Gap]:
    """All steps from `shown` to the head, checked for order, holes and bounds."""
    steps: list[Frame | Gap] = []
    while shown < room.head:
        step = room.next_for(Seq(shown))
        assert not isinstance(step, TooFar)
        frame = step.frame if isinstance(step, Gap) else step
        assert frame.from_ == shown + 1
        assert frame.to > shown
        given = seqs_of(frame)
        assert len(given) <= MAX_FRAME_ENTRIES
        assert len(given) == 1 or sum(map(len, frame.entries)) <= MAX_FRAME_BYTES
        if isinstance(step, Frame):
            assert given == list(range(frame.from_, frame.to + 1))
        else:
            assert given == [seq for seq in given if frame.from_ <= seq <= frame.to]
        steps.append(step)
        shown = frame.to
    return steps


def test_who_lacks_little_is_shown_all_of_it() -> None:
    steps = whole_way(room_to(MAX_REST + 7), shown=7)
    assert all(isinstance(step, Frame) for step in steps)
    assert len(steps) == 4


def test_who_lacks_more_than_200_is_skipped_to_the_newest_50_and_told_the_lecture() -> None:
    gap, tail = whole_way(room_to(400), shown=199)
    assert isinstance(gap, Gap)
    assert isinstance(tail, Frame)
    assert (gap.frame.from_, gap.frame.to) == (200, 400 - TAIL)
    assert seqs_of(gap.frame) == list(range(200, 351, 10))
    assert (gap.frame.log, gap.frame.epoch) == (tail.log, tail.epoch) == ("log-1", 3)


def test_who_lacks_more_than_128_kib_is_skipped_too() -> None:
    room = room_to(60, text="가" * 1_000)
    gap, tail = whole_way(room, shown=0)
    assert isinstance(gap, Gap)
    assert isinstance(tail, Frame)
    assert len(tail.entries) < TAIL, "what is given at the end is one frame"


def test_who_lacks_what_is_no_longer_held_is_told_the_lecture_of_it_all() -> None:
    room = room_to(3 * MAX_RECOVERED, every=100)
    gap, tail = whole_way(room, shown=1)
    assert isinstance(gap, Gap)
    assert isinstance(tail, Frame)
    assert seqs_of(gap.frame) == list(range(100, 1_401, 100))
    assert gap.frame.to == 1_450


def test_a_gap_with_much_lecture_in_it_comes_in_several() -> None:
    room = room_to(1_200, every=3)
    steps = whole_way(room, shown=0)
    gaps = [step.frame for step in steps if isinstance(step, Gap)]
    assert len(gaps) > 4
    told = [seq for frame in gaps for seq in seqs_of(frame)]
    assert told == list(range(3, gaps[-1].to + 1, 3))
    assert all(seqs_of(frame)[-1] <= frame.to for frame in gaps)


def test_a_gap_without_any_lecture_is_empty() -> None:
    gap, _ = whole_way(room_to(900, every=0), shown=3)
    assert isinstance(gap, Gap)
    assert gap.frame.entries == ()


def test_who_lacks_lecture_that_is_not_held_either_must_join_again() -> None:
    room = room_to(2 * MAX_RECOVERED, every=1)
    assert room.next_for(Seq(MAX_RECOVERED - 1)) == TooFar()
    assert not isinstance(room.next_for(Seq(MAX_RECOVERED)), TooFar)


def test_a_room_that_was_just_opened_knows_the_lecture_of_what_it_read() -> None:
    entries = [entry_at(seq) for seq in range(701, 1_201)]
    room = Room(RoomId("math"), room_state(head=1_200), entries)
    gap, _ = whole_way(room, shown=700)
    assert isinstance(gap, Gap)
    assert seqs_of(gap.frame) == list(range(710, 1_151, 10))
    assert room.next_for(Seq(699)) == TooFar()


def test_a_room_whose_history_is_empty_gives_what_has_come_since() -> None:
    room = Room(RoomId("math"), room_state(head=40), [])
    room.show([message(41)])
    step = room.next_for(Seq(40))
    assert isinstance(step, Frame)
    assert room.next_for(Seq(39)) == TooFar()


def test_a_text_that_was_deleted_is_in_no_gap() -> None:
    room = room_to(10)
    room.show([notice(11, "secret"), deletion(12, target=10)])
    for seq in range(13, 900):
        room.show([message(seq)])
    gap, _ = whole_way(room, shown=0)
    assert isinstance(gap, Gap)
    told = [msgspec.json.decode(raw) for raw in gap.frame.entries]
    assert [(entry["seq"], entry.get("deleted", False), "text" in entry) for entry in told] == [
        (10, True, False),
        (11, False, True),
        (12, False, False),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_whoever_reads_however_slowly_gets_every_number_or_is_told_of_the_gap(seed: int) -> None:
    rng = random.Random(seed)
    room = Room(RoomId("math"), room_state(), [])
    shown, last_lecture = 0, 0
    for seq in range(1, 3_000):
        by = LECTURER if rng.random() < 0.1 else message(1).by
        room.show([message(seq, "x" * rng.choice((1, 50, 2_000)), by=by)])
        while shown < room.head and rng.random() < 0.01:
            step = room.next_for(Seq(shown))
            assert not isinstance(step, TooFar)
            frame = step.frame if isinstance(step, Gap) else step
            assert frame.from_ == shown + 1
            for raw in frame.entries:
                entry = msgspec.json.decode(raw)
                assert shown < entry["seq"] <= frame.to
                shown = entry["seq"]
                last_lecture = max(last_lecture, shown if entry["by"]["role"] == "lecturer" else 0)
            shown = frame.to
    assert last_lecture > 0
