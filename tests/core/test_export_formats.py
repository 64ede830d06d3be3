"""persistence/core/export_formats: a log as JSON lines, a table and captions."""

import csv
import io
import json
import re

import msgspec
import pytest

from director.contract.ids import Role, UserId
from persistence.contract.messages import Author, Entry, Kind, Mode
from persistence.core.export_formats import FORMATS, Item
from persistence.core.lecture_clock import LectureClock, Pause
from tests.support.entries import LECTURER, deletion, message, mode_change, notice

CLOCK = LectureClock(1_000, (Pause(5_000, 65_000),))


def said(text: str, *, seq: int = 1, at: int = 2_500, by: Author = LECTURER) -> Entry:
    return msgspec.structs.replace(message(seq, text, by=by), at=at)


def written(shape: str, *items: Item) -> str:
    return FORMATS[shape].head + "".join(FORMATS[shape].text_of(it, CLOCK) for it in items)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


class TestJsonLines:
    def test_a_line_is_the_entry_and_the_clock(self) -> None:
        entry = said("hello 안녕\nyou")
        (line,) = written("jsonl", entry).splitlines()
        assert json.loads(line) == {**json.loads(msgspec.json.encode(entry)), "clock_ms": 1_500}

    def test_a_pause_is_a_line_and_what_was_said_in_it_is_marked(self) -> None:
        pause, paused = map(json.loads, written("jsonl", CLOCK.pauses[0], said("coffee?", at=6_000)).splitlines())
        assert pause == {"kind": "pause", "at": 5_000, "until_at": 65_000, "clock_ms": 4_000}
        assert (paused["paused"], paused["clock_ms"]) == (True, 4_000)

    def test_a_deleted_entry_has_no_text(self) -> None:
        assert "hello" not in written("jsonl", message(1, "hello").without_text())


class TestCsv:
    def test_a_table_has_one_row_for_each_entry(self) -> None:
        table = written("csv", said('a "quote", a\nline; 안녕'), mode_change(2, Mode.STAFF, 500), deletion(3, 1))
        assert table.startswith('\ufeff"seq","time","clock_s"')
        message_row, mode_row, delete_row = rows(table)
        assert message_row == {
            "seq": "1",
            "time": "1970-01-01T00:00:02.500Z",
            "clock_s": "1.500",
            "paused": "0",
            "kind": "message",
            "user": "lee",
            "name": "Prof. Lee",
            "role": "lecturer",
            "text": 'a "quote", a\nline; 안녕',
            "reply_to": "",
            "target": "",
            "mode": "",
            "slow_ms": "",
            "deleted": "0",
        }
        assert (mode_row["mode"], mode_row["slow_ms"], delete_row["target"]) == ("staff", "500", "1")

    @pytest.mark.parametrize(
        "text",
        ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n=1", "＝1", "－1", "\u3000=cmd|' /C calc'!A0"],
    )
    def test_nothing_that_people_wrote_is_run_as_a_formula(self, text: str) -> None:
        row = rows(written("csv", said(text, by=Author(UserId(text), text, Role.STUDENT))))[0]
        for column in ("text", "name", "user"):
            assert row[column] == f"'{text}", "a spreadsheet takes what begins with ' for text"

    def test_every_cell_is_quoted_so_that_no_other_separator_cuts_it_open(self) -> None:
        line = written("csv", said("a;=1;b")).splitlines()[1]
        assert re.fullmatch(r'("[^"]*",)*"[^"]*"', line)

    def test_what_came_before_the_lecture_has_a_negative_clock(self) -> None:
        assert rows(written("csv", said("early", at=0)))[0]["clock_s"] == "-1.000"

    def test_a_pause_is_a_row(self) -> None:
        (row,) = rows(written("csv", CLOCK.pauses[0]))
        assert (row["kind"], row["clock_s"], row["text"]) == ("pause", "4.000", "until 1970-01-01T00:01:05.000Z")

    def test_a_deleted_entry_and_a_notice_taken_down_have_no_text(self) -> None:
        table = rows(written("csv", message(1, "hello").without_text(), notice(2, None)))
        assert [(it["text"], it["deleted"]) for it in table] == [("", "1"), ("", "0")]


class TestWebVtt:
    def test_captions_are_cues_with_the_lecture_s_clock(self) -> None:
        assert written("vtt", said("hello"), said("why?", seq=2, at=3_724_000)) == (
            "WEBVTT\n\n"
            "1\n00:00:01.500 --> 00:00:04.500\n<v.lecturer.message Prof. Lee>hello</v>\n\n"
            "2\n01:01:03.000 --> 01:01:06.000\n<v.lecturer.message Prof. Lee>why?</v>\n\n"
        )

    def test_what_people_write_ends_no_cue_and_opens_no_tag(self) -> None:
        text = "a\n\n00:00:01.000 --> 00:00:02.000\r\n\r\n<b>&\r\r"
        cue = written("vtt", said(text, by=Author(UserId("x"), "<v >&", Role.STUDENT))).removeprefix("WEBVTT\n\n")
        head, times, *words, end, last = cue.split("\n")
        assert (head, end, last) == ("1", "", "")
        assert re.fullmatch(r"[\d:.]+ --> [\d:.]+", times)
        assert all(words), "an empty line would end the cue"
        inside = "\n".join(words).removeprefix("<v.student.message &lt;v &gt;&amp;>").removesuffix("</v>")
        assert "-->" not in inside
        assert "<" not in inside
        assert ">" not in inside
        assert "&lt;b&gt;&amp;" in inside

    def test_long_texts_stand_longer_within_bounds(self) -> None:
        spans = [re.findall(r"\.(\d+) --> 00:00:(\d+)", written("vtt", said("x" * n)))[0] for n in (1, 100, 2_000)]
        assert [span[1] for span in spans] == ["04", "07", "11"]

    def test_what_is_not_in_the_recording_is_left_out(self) -> None:
        gone = message(1, "hello").without_text()
        early, paused = said("early", at=0), said("coffee?", at=6_000)
        text = written("vtt", gone, early, CLOCK.pauses[0], paused, mode_change(4, Mode.OPEN), deletion(5, 1))
        assert text == "WEBVTT\n\nNOTE a pause of 60 s at 00:00:04.000\n\n"

    def test_notices_are_shown_and_one_that_is_taken_down_is_not(self) -> None:
        text = written("vtt", notice(1, "exam on Friday"), notice(2, None))
        assert "exam on Friday" in text
        assert text.count("-->") == 1

    def test_an_erased_author_and_a_blank_text_leave_a_valid_cue(self) -> None:
        erased = Entry(message(1).seq, 2_000, Kind.NOTICE, "c", Author(UserId("erased-1"), "", Role.LECTURER), " \n ")
        assert "<v.lecturer.notice (erased)> </v>" in written("vtt", erased)
