"""Entries and drafts: what they look like on the wire, and what makes two drafts the same."""

import msgspec
import pytest

from director.contract.ids import Seq
from persistence.contract.messages import Draft, Entry, Kind, Mode
from tests.support.stores import LECTURER, STUDENT, asked, deleted, moded, noticed, said


def on_the_wire(entry: Entry) -> dict[str, object]:
    shape: dict[str, object] = msgspec.json.decode(msgspec.json.encode(entry))
    return {name: value for name, value in shape.items() if name not in ("seq", "at", "cid", "by")}


@pytest.mark.parametrize(
    ("draft", "shape"),
    [
        (said("c", "hi"), {"kind": "message", "text": "hi"}),
        (said("c", "hi", reply_to=3), {"kind": "message", "text": "hi", "reply_to": 3}),
        (asked("c", "why"), {"kind": "question", "text": "why"}),
        (deleted("c", 3), {"kind": "delete", "target": 3}),
        (noticed("c", "break"), {"kind": "notice", "text": "break"}),
        (noticed("c", None), {"kind": "notice", "text": None}),
        (moded("c", Mode.STAFF, 500), {"kind": "mode", "mode": "staff", "slow_ms": 500}),
    ],
)
def test_an_entry_has_the_fields_of_its_kind_and_no_others(draft: Draft, shape: dict[str, object]) -> None:
    assert on_the_wire(draft.numbered(Seq(7), 5)) == shape


def test_an_entry_carries_its_number_its_time_its_cid_and_its_author() -> None:
    shape = msgspec.json.decode(msgspec.json.encode(said("c9", "hi", by=LECTURER).numbered(Seq(7), 1234)))
    assert shape["seq"] == 7
    assert shape["at"] == 1234
    assert shape["cid"] == "c9"
    assert shape["by"] == {"id": "t1", "name": "Prof. Kim", "role": "lecturer"}


def test_a_deleted_entry_keeps_all_but_its_text() -> None:
    entry = said("c", "hi", reply_to=3).numbered(Seq(7), 5)
    assert on_the_wire(entry.without_text()) == {"kind": "message", "reply_to": 3, "deleted": True}
    assert entry.without_text().without_text() == entry.without_text()


def test_entries_read_back_from_the_wire_as_they_were() -> None:
    for draft in (said("c", "안녕 👋"), noticed("c", None), moded("c", Mode.OPEN), deleted("c", 1)):
        entry = draft.numbered(Seq(1), 1)
        assert msgspec.json.decode(msgspec.json.encode(entry), type=Entry) == entry


def test_the_digest_is_the_same_for_the_same_asking_and_differs_for_any_other() -> None:
    drafts = [
        said("c", "hi"),
        said("c", "hi!"),
        said("c", "hi", reply_to=1),
        asked("c", "hi"),
        noticed("c", "hi"),
        noticed("c", None),
        deleted("c", 1),
        deleted("c", 2),
        moded("c", Mode.OPEN),
        moded("c", Mode.STAFF),
        moded("c", Mode.OPEN, 100),
    ]
    assert len({draft.digest for draft in drafts}) == len(drafts)
    assert {len(draft.digest) for draft in drafts} == {8}
    assert said("c", "hi", by=STUDENT).digest == said("d", "hi", by=LECTURER).digest


def test_a_text_that_is_no_unicode_still_has_a_digest() -> None:
    assert said("c", "\ud800").digest != said("c", "\ud801").digest


def test_only_a_text_belongs_to_spoken_kinds() -> None:
    stray = Draft("c", STUDENT, Kind.DELETE, text="not mine", target=Seq(1))
    assert on_the_wire(stray.numbered(Seq(2), 1)) == {"kind": "delete", "target": 1}
