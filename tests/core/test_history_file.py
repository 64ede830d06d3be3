"""Histories as files: what was written is read again, and a broken line is named."""

from collections.abc import Iterable

import msgspec
import pytest

from director.contract.ids import Epoch, LogId, NodeName, Role, RoomId, Seq, UserId
from loadtest.contract.history import (
    Admitted,
    Framed,
    HistoryEvent,
    Parted,
    Seen,
    UnreadableHistory,
    digest_of,
    events_in,
    seen_of,
)
from loadtest.contract.received import refusal_of
from persistence.contract.messages import Author, Entry, Kind, Mode
from shard_node.contract.events import Position

ADA = Author(UserId("ada"), "Ada", Role.STUDENT)
ROOM = RoomId("r")
EVENTS: list[HistoryEvent] = [
    Admitted(
        "r/ada",
        ROOM,
        1.5,
        node=NodeName("node-1"),
        since=None,
        pos=Position(LogId("l"), Epoch(1), Seq(2)),
        recovered=False,
        reason=None,
        entries=(Seen(Seq(2), "c", UserId("bob"), None, Seq(1)),),
    ),
    Framed("r/ada", ROOM, 2.5, LogId("l"), Epoch(1), Seq(3), Seq(3), (Seen(Seq(3), "d", UserId("bob"), "00ff"),)),
    Parted("r/ada", ROOM, 3.5, "Lost"),
]


def lines(events: Iterable[HistoryEvent] = EVENTS) -> list[bytes]:
    return [msgspec.json.encode(event) + b"\n" for event in events]


def test_what_was_written_is_read_again() -> None:
    assert list(events_in(lines(), name="h")) == EVENTS
    assert list(events_in([line.decode() for line in lines()], name="h")) == EVENTS
    assert list(events_in([], name="h")) == []


def test_empty_lines_are_no_events() -> None:
    assert list(events_in([lines()[0], b"\n", lines()[2]], name="h")) == [EVENTS[0], EVENTS[2]]


def test_a_last_line_that_was_cut_by_a_crash_is_left_out() -> None:
    assert list(events_in([*lines(), lines()[0][:-9]], name="h")) == EVENTS
    assert list(events_in([lines()[0].decode(), lines()[1].decode()[:-9]], name="h")) == EVENTS[:1]


@pytest.mark.parametrize(
    "broken", [b"{}\n", b"not json\n", b'{"event":"news","client":"a","room":"r","heard_at":1}\n', b"[]\n"]
)
def test_a_broken_line_is_named(broken: bytes) -> None:
    with pytest.raises(UnreadableHistory, match="h, line 2"):
        list(events_in([lines()[0], broken, lines()[1]], name="h"))
    with pytest.raises(UnreadableHistory, match="h, line 2"):
        list(events_in([lines()[0], broken], name="h"))


def entry(**said: object) -> Entry:
    return Entry(Seq(1), 1, Kind.MESSAGE, "c", ADA, **said)  # type: ignore[arg-type]


def test_entries_that_say_something_else_have_another_digest() -> None:
    said = [
        entry(text="a"),
        entry(text="b"),
        entry(text="a", reply_to=Seq(1)),
        entry(text=None),
        entry(mode=Mode.STAFF, slow_ms=0),
        entry(mode=Mode.OPEN, slow_ms=0),
        entry(mode=Mode.OPEN, slow_ms=5),
        entry(target=Seq(4)),
        msgspec.structs.replace(entry(text="a"), kind=Kind.QUESTION),
    ]
    digests = [digest_of(one) for one in said]
    assert None not in digests
    assert len(set(digests)) == len(said)
    assert digest_of(entry(text="a")) == digests[0]


def test_a_deleted_entry_has_no_digest_and_a_deletion_names_its_target() -> None:
    assert digest_of(entry(text="a").without_text()) is None
    assert seen_of([entry(target=Seq(4))])[0].target == 4
    assert seen_of([entry(text="a")])[0] == Seen(Seq(1), "c", UserId("ada"), digest_of(entry(text="a")))


def test_the_error_shape_is_found_wherever_it_stands_and_nothing_else_is_taken_for_it() -> None:
    error = {"code": "BUSY", "message": "later", "action": "retry", "temporary": True, "retry_after_ms": 5}
    found = refusal_of({"ok": False, "error": error, "more": 1})
    assert found is not None
    assert (found.code, found.retry_after_ms) == ("BUSY", 5)
    for other in ({"ok": True, "seq": 1}, None, "BUSY", 5, {"error": "BUSY"}):
        assert refusal_of(other) is None
