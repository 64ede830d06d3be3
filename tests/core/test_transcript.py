"""Transcript: what `hall tail` prints of an entry."""

from datetime import UTC

import pytest

from director.cli.transcript import harmless, line_of
from director.contract.ids import Role, Seq, UserId
from persistence.contract.messages import Author, Entry, Kind, Mode

AT = 1_700_000_000_000  # 22:13:20 UTC
KIM = Author(UserId("u1"), "Kim", Role.LECTURER)
LEE = Author(UserId("u2"), "이슬", Role.STUDENT)


def entry(kind: Kind = Kind.MESSAGE, *, by: Author = LEE, **fields: object) -> Entry:
    return Entry(seq=Seq(7), at=AT, kind=kind, cid="c", by=by, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (entry(text="안녕하세요"), "22:13:20   이슬: 안녕하세요"),
        (entry(by=KIM, text="Welcome"), "22:13:20 ★ Kim: Welcome"),
        (entry(Kind.QUESTION, text="Why?", reply_to=Seq(3)), "22:13:20   이슬: [question] (to 3) Why?"),
        (entry(deleted=True), "22:13:20   이슬: (deleted)"),
        (entry(Kind.DELETE, by=KIM, target=Seq(3)), "22:13:20 ★ Kim: -- deleted entry 3"),
        (entry(Kind.NOTICE, by=KIM, text="Break"), "22:13:20 ★ Kim: -- notice: Break"),
        (entry(Kind.NOTICE, by=KIM, text=None), "22:13:20 ★ Kim: -- took the notice down"),
        (
            entry(Kind.MODE, by=KIM, mode=Mode.OPEN, slow_ms=2500),
            "22:13:20 ★ Kim: -- everybody may send, one message every 2.5 s",
        ),
        (entry(Kind.MODE, by=KIM, mode=Mode.STAFF, slow_ms=0), "22:13:20 ★ Kim: -- only staff may send"),
    ],
)
def test_an_entry_is_one_line_that_says_who_what_and_when(given: Entry, line: str) -> None:
    assert line_of(given, zone=UTC) == line


def test_what_people_send_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in line_of(entry(text="\x1b[2J\x1b]0;owned\x07", by=Author(UserId("u"), "a\x9bb", Role.STUDENT)))
    assert harmless("one\ntwo\r\u202ethree") == "one ⏎ two\ufffd\ufffdthree"


def test_joined_emoji_are_left_whole() -> None:
    assert harmless("👩‍🏫 👍🏽") == "👩‍🏫 👍🏽"
