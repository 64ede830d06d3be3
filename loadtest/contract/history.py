"""Recorded histories: what clients asked, were told and were shown, one JSON object a line.

`client` names one member of one room for good: it keeps its name over reconnections, and no two members share one.
`heard_at` is for people; a checker compares no clocks. Events of one client stand in the order in which they happened.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec
from msgspec import UNSET

from director.contract.ids import Epoch, LogId, NodeName, RoomId, Seq, UserId
from persistence.contract.messages import Entry
from shard_node.contract.events import Position

NOT_DONE = "NOT_DONE"


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """An entry as it was shown or stored. `digest` is of its content, None where it was shown as deleted."""

    seq: Seq
    cid: str
    author: UserId
    digest: str | None
    target: Seq | None = None


def digest_of(entry: Entry) -> str | None:
    """Sixteen hexadecimal digits of what an entry says; None if its text was taken away."""
    if entry.deleted is True:
        return None
    return _digest_of(entry.kind, entry.text, entry.reply_to, entry.target, entry.mode, entry.slow_ms)


@lru_cache(maxsize=4096)  # an entry is digested once for each member that it is shown to
def _digest_of(*parts: object) -> str:
    said = repr([None if part is UNSET else part for part in parts])
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


def seen_of(entries: Iterable[Entry]) -> tuple[Seen, ...]:
    """Entries as histories hold them."""
    return tuple(
        Seen(entry.seq, entry.cid, entry.by.id, digest_of(entry), None if entry.target is UNSET else entry.target)
        for entry in entries
    )


class _Event(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True):
    client: str
    room: RoomId
    heard_at: float


class Asked(_Event, frozen=True, tag="asked"):
    """The client began to ask for something that adds an entry; it may try several times with this `cid`."""

    cid: str
    author: UserId


class Acked(_Event, frozen=True, tag="acked"):
    """It was told that it is done: entry `seq`, committed in `epoch`."""

    cid: str
    author: UserId
    seq: Seq
    epoch: Epoch
    dup: bool


class Denied(_Event, frozen=True, tag="denied"):
    """It was refused for good with this code, or gave up (NOT_DONE): then whether it was stored is not known."""

    cid: str
    code: str


class Admitted(_Event, frozen=True, tag="admitted"):
    """`joined`: `since` is what the client asked with, `first` the head of the answer's claim."""

    node: NodeName
    since: Position | None
    pos: Position
    recovered: bool
    reason: str | None
    entries: tuple[Seen, ...]


class Framed(_Event, frozen=True, tag="framed"):
    """`frame`, as it arrived."""

    log: LogId
    epoch: Epoch
    from_: Seq
    to: Seq
    entries: tuple[Seen, ...]


class Gapped(_Event, frozen=True, tag="gapped"):
    """`gap`, as it arrived."""

    log: LogId
    epoch: Epoch
    from_: Seq
    to: Seq
    entries: tuple[Seen, ...]


class Parted(_Event, frozen=True, tag="parted"):
    """The connection ended; what arrives later belongs to another."""

    why: str


class Finished(_Event, frozen=True, tag="finished"):
    """The member was asked to catch up with the end of the log and then left; `live`: it was joined at that time."""

    live: bool


HistoryEvent = Asked | Acked | Denied | Admitted | Framed | Gapped | Parted | Finished

_decoder = msgspec.json.Decoder(HistoryEvent)


class UnreadableHistory(ValueError):
    """A line is no event of a history; the message names it."""


def events_in(lines: Iterable[bytes | str], *, name: str) -> Iterator[HistoryEvent]:
    """The events of a history file. Raises UnreadableHistory; a last line that was cut by a crash is left out."""
    number, unreadable = 0, None
    for number, line in enumerate(lines, start=1):
        if unreadable is not None:
            raise UnreadableHistory(f"{name}, line {number - 1}: {unreadable}")
        if not line.strip():
            continue
        try:
            yield _decoder.decode(line)
        except msgspec.DecodeError as error:
            unreadable = error
    last = line if number else ""
    if unreadable is not None and (last.endswith("\n") if isinstance(last, str) else last.endswith(b"\n")):
        raise UnreadableHistory(f"{name}, line {number}: {unreadable}")
