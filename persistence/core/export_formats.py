"""Export formats: a room's log as JSON lines, as a table for spreadsheets, as captions for a recording.

Each format is a `head` and a text for each entry or pause, one behind the other. Deletions have been applied: a deleted
entry has no text to begin with.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from persistence.contract.messages import Entry, Kind
from persistence.core.lecture_clock import LectureClock, Pause

Item = Entry | Pause


@dataclass(frozen=True, slots=True)
class Format:
    """`text_of` gives "" for what a format leaves out."""

    head: str
    text_of: Callable[[Item, LectureClock], str]


# JSON lines: an entry as clients see it, and `clock_ms`; `paused` where the lecture stood still


def _json_line(item: Item, clock: LectureClock) -> str:
    if isinstance(item, Pause):
        line = {"kind": "pause", "at": item.from_at, "until_at": item.to_at, "clock_ms": clock.at(item.from_at)}
    else:
        line = {**msgspec.to_builtins(item), "clock_ms": clock.at(item.at)}
        if clock.is_paused(item.at):
            line["paused"] = True
    return msgspec.json.encode(line).decode() + "\n"


# CSV (RFC 4180), with the mark by which spreadsheets know UTF-8


_COLUMNS = (
    "seq",
    "time",
    "clock_s",
    "paused",
    "kind",
    "user",
    "name",
    "role",
    "text",
    "reply_to",
    "target",
    "mode",
    "slow_ms",
    "deleted",
)
_FORMULA_STARTS = tuple("=+-@＝＋－＠")


def _csv_row(item: Item, clock: LectureClock) -> str:
    if isinstance(item, Pause):
        until = f"until {_iso(item.to_at)}"
        return _row({**_moment(item.from_at, clock), "kind": "pause", "paused": 1, "text": until})
    fields = msgspec.structs.asdict(item)
    row = {name: "" if fields[name] is msgspec.UNSET else fields[name] for name in _COLUMNS if name in fields}
    people = {"user": item.by.id, "name": item.by.name, "role": item.by.role.value}
    flags = {"deleted": int(item.deleted is True), "paused": int(clock.is_paused(item.at))}
    return _row({**row, **_moment(item.at, clock), **people, **flags})


def _moment(at: int, clock: LectureClock) -> Mapping[str, object]:
    return {"time": _iso(at), "clock_s": f"{clock.at(at) / 1000:.3f}"}


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _row(fields: Mapping[str, object]) -> str:
    line = io.StringIO()
    # everything in quotes: where the list separator is another than the comma, it must not cut a text open
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(
        [_cell(name, fields.get(name, "")) for name in _COLUMNS]
    )
    return line.getvalue()


def _cell(name: str, value: object) -> str:
    """What people wrote must not be run as a formula by the spreadsheet that opens it: a ' before it makes it text."""
    text = "" if value is None else str(value)
    if name == "clock_s":
        return text  # our own number, which may be negative
    is_risky = text.lstrip().startswith(_FORMULA_STARTS) or text.startswith(("\t", "\r", "\n"))
    return f"'{text}" if is_risky else text


# WebVTT (W3C), for the recording: what was said while it ran


_MIN_CUE_MS, _MAX_CUE_MS, _CUE_MS_A_CHARACTER = 3_000, 10_000, 60


def _cue(item: Item, clock: LectureClock) -> str:
    if isinstance(item, Pause):
        seconds = (item.to_at - item.from_at) / 1000
        return f"NOTE a pause of {seconds:.0f} s at {_timestamp(clock.at(item.from_at))}\n\n"
    begins = clock.at(item.at)
    is_spoken = item.kind in (Kind.MESSAGE, Kind.QUESTION, Kind.NOTICE)
    if not is_spoken or not isinstance(item.text, str) or begins < 0 or clock.is_paused(item.at):
        return ""
    ends = begins + min(_MAX_CUE_MS, max(_MIN_CUE_MS, _CUE_MS_A_CHARACTER * len(item.text)))
    name = _escaped(item.by.name) or "(erased)"
    words = "\n".join(line for line in _escaped(item.text).splitlines() if line.strip()) or " "
    voice = f"<v.{item.by.role.value}.{item.kind.value} {name}>{words}</v>"
    return f"{item.seq}\n{_timestamp(begins)} --> {_timestamp(ends)}\n{voice}\n\n"


def _timestamp(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


def _escaped(text: str) -> str:
    """Without what would end the cue, its voice or a tag."""
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r\n", "\n").replace("\r", "\n")
    )


FORMATS: Mapping[str, Format] = {
    "jsonl": Format("", _json_line),
    "csv": Format("\ufeff" + _row({name: name for name in _COLUMNS}), _csv_row),
    "vtt": Format("WEBVTT\n\n", _cue),
}
