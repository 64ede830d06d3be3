"""A room as its owner knows it."""

import msgspec
import pytest

from director.contract.errors import ErrorCode
from director.contract.ids import RoomId, Seq
from persistence.contract.messages import Draft, Entry, Kind, Mode
from shard_node.core.room import Allowed, Disallowed, Room
from tests.support.entries import (
    LECTURER,
    OTHER,
    STUDENT,
    deletion,
    draft,
    message,
    mode_change,
    mode_draft,
    notice,
    room_state,
)


def room_of(count: int = 0, **state: object) -> Room:
    entries = [message(seq) for seq in range(1, count + 1)]
    return Room(RoomId("math"), room_state(head=count, **state), entries)  # type: ignore[arg-type]


def code_of(answer: Allowed | Disallowed) -> ErrorCode | None:
    return answer.code if isinstance(answer, Disallowed) else None


@pytest.mark.parametrize(
    ("mode", "student", "lecturer"),
    [
        (Mode.OPEN, None, None),
        (Mode.STAFF, ErrorCode.MODE_CLOSED, None),
        (Mode.CLOSED, ErrorCode.MODE_CLOSED, ErrorCode.MODE_CLOSED),
    ],
)
def test_the_mode_says_who_may_send(mode: Mode, student: ErrorCode | None, lecturer: ErrorCode | None) -> None:
    room = room_of(mode=mode)
    assert code_of(room.post(draft(by=STUDENT), 0.0)) == student
    assert code_of(room.post(draft(by=LECTURER), 0.0)) == lecturer


def test_a_closed_room_can_still_be_tidied_and_opened_again() -> None:
    room = room_of(mode=Mode.CLOSED)
    for deed in (
        Draft("d", STUDENT, Kind.DELETE, target=Seq(1)),
        Draft("n", LECTURER, Kind.NOTICE, text="over"),
        mode_draft(Mode.OPEN),
    ):
        assert room.post(deed, 0.0) == Allowed()


def test_a_message_behind_a_mode_under_way_does_not_slip_in() -> None:
    room = room_of()
    closing = mode_draft(Mode.CLOSED)
    assert room.post(closing, 0.0) == Allowed()
    assert code_of(room.post(draft(), 0.0)) == ErrorCode.MODE_CLOSED
    room.withdraw(closing)
    assert room.post(draft(), 0.0) == Allowed(), "the store did not take the mode"


def test_a_mode_that_was_withdrawn_twice_does_no_harm() -> None:
    room = room_of()
    room.withdraw(mode_draft(Mode.CLOSED))
    room.withdraw(draft())
    assert room.post(draft(), 0.0) == Allowed()


def test_slow_mode_holds_students_back_and_nobody_else() -> None:
    room = room_of(slow_ms=10_000)
    assert room.post(draft("a1", by=STUDENT), 0.0) == Allowed()
    again = room.post(draft("a2", by=STUDENT), 4.0)
    assert isinstance(again, Disallowed)
    assert (again.code, again.wait) == (ErrorCode.SLOW_MODE, 6.0)
    assert room.post(draft("b1", by=OTHER), 4.0) == Allowed()
    for cid in ("l1", "l2"):
        assert room.post(draft(cid, by=LECTURER), 4.0) == Allowed()
    assert room.post(draft("a1", by=STUDENT), 4.0) == Allowed(), "a retry does not wait"


def test_committed_entries_are_shown_as_one_frame_that_follows_the_head() -> None:
    room = room_of(2)
    (frame,) = room.show([message(3), message(4)])
    assert (frame.log, frame.epoch, frame.from_, frame.to) == ("log-1", 3, 3, 4)
    assert [msgspec.json.decode(raw, type=Entry) for raw in frame.entries] == [message(3), message(4)]
    assert room.head == 4


def test_a_long_batch_is_shown_in_frames_of_64() -> None:
    frames = room_of().show([message(seq) for seq in range(1, 131)])
    assert [(frame.from_, frame.to) for frame in frames] == [(1, 64), (65, 128), (129, 130)]


def test_a_hole_is_never_shown() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        room_of(2).show([message(4)])


def test_a_message_deleted_in_its_own_batch_is_shown_without_its_text() -> None:
    (frame,) = room_of().show([message(1, "oops"), deletion(2, target=1)])
    assert b"oops" not in b"".join(bytes(raw) for raw in frame.entries)


def test_notice_and_mode_stand_in_the_snapshot_of_the_head() -> None:
    room = room_of()
    room.show([notice(1, "exam on Friday"), mode_change(2, Mode.STAFF, 5_000)])
    snapshot = room.snapshot(members=7)
    assert (snapshot.mode, snapshot.slow_ms, snapshot.notice, snapshot.members) == (
        Mode.STAFF,
        5_000,
        "exam on Friday",
        7,
    )
    room.show([notice(3, None), mode_change(4, Mode.OPEN)])
    assert room.snapshot(7).notice is None
    assert (room.mode, room.slow_ms) == (Mode.OPEN, 0)


def test_a_batch_larger_than_what_is_kept_is_shown_whole() -> None:
    """Frames were cut from the kept entries, which had let go of the batch's own first ones by then."""
    batch = [message(seq, "\x01" * 1_500) for seq in range(1, 65)]
    frames = room_of().show(batch)
    shown = [msgspec.json.decode(raw, type=Entry).seq for frame in frames for raw in frame.entries]
    assert shown == list(range(1, 65))
    assert [frame.from_ for frame in frames[1:]] == [frame.to + 1 for frame in frames[:-1]]
