"""Rows: entries and room states as the tables hold them, value by value in the order of their columns."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from director.contract.ids import Epoch, Incarnation, LogId, Role, RoomId, Seq, UserId
from persistence import schema
from persistence.contract.messages import Author, Entry, Kind, Mode
from persistence.contract.store import Duplicate, RoomState

EntryValues = tuple[Any, ...]
RoomValues = tuple[Any, ...]

STATE_COLUMNS = tuple(column for column in schema.rooms.c if column.name != "state")
ENTRY_COLUMNS = tuple(column for column in schema.entries.c if column.name not in ("room", "epoch", "digest"))

# plain text, which every driver takes as it is; and an enum's own `value` costs ten times a look-up
_WORD_OF: dict[Kind | Role, str] = {it: it.value for it in (*Kind, *Role)}


def entry_values(room: RoomId, epoch: Epoch, entry: Entry, digest: bytes) -> EntryValues:
    """The row of `entries` that holds `entry`."""
    by, mode, text = entry.by, entry.mode, entry.text
    reply_to, target, slow_ms = entry.reply_to, entry.target, entry.slow_ms
    return (
        room,
        entry.seq,
        epoch,
        entry.at,
        _WORD_OF[entry.kind],
        entry.cid,
        by.id,
        by.name,
        _WORD_OF[by.role],
        None if text is UNSET else text,
        None if reply_to is UNSET else reply_to,
        None if target is UNSET else target,
        None if isinstance(mode, UnsetType) else mode.value,
        None if slow_ms is UNSET else slow_ms,
        entry.deleted is True,
        digest,
    )


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry in a row of `ENTRY_COLUMNS`."""
    seq, at, kind_name, cid, author, name, role, text, reply_to, target, mode, slow_ms, deleted = row
    kind = Kind(kind_name)
    return Entry(
        seq=seq,
        at=at,
        kind=kind,
        cid=cid,
        by=Author(UserId(author), name, Role(role)),
        # a notice without text is one that takes the former notice down
        text=text if text is not None or kind is Kind.NOTICE else UNSET,
        reply_to=_field_of(reply_to),
        target=_field_of(target),
        mode=UNSET if mode is None else Mode(mode),
        slow_ms=_field_of(slow_ms),
        deleted=True if deleted else UNSET,
    )


def room_values(room: RoomId, state: RoomState) -> RoomValues:
    """The row of `STATE_COLUMNS` that holds `state`."""
    return (
        room,
        state.log,
        state.epoch,
        state.incarnation,
        state.last_seq,
        state.last_at,
        state.mode.value,
        state.slow_ms,
        state.notice,
    )


def states_of(rows: Iterable[Sequence[Any]]) -> dict[RoomId, RoomState]:
    """The states in rows of `STATE_COLUMNS`, by their rooms."""
    return {
        RoomId(room): RoomState(
            log=LogId(log),
            epoch=Epoch(epoch),
            incarnation=Incarnation(incarnation),
            last_seq=Seq(last_seq),
            last_at=last_at,
            mode=Mode(mode),
            slow_ms=slow_ms,
            notice=notice,
        )
        for room, log, epoch, incarnation, last_seq, last_at, mode, slow_ms, notice in rows
    }


def duplicates_of(rows: Iterable[Sequence[Any]]) -> dict[RoomId, dict[tuple[UserId, str], Duplicate]]:
    """The entries in rows of room, author, cid, seq, epoch, at, digest, as first results of their cids."""
    found: dict[RoomId, dict[tuple[UserId, str], Duplicate]] = {}
    for room, author, cid, seq, epoch, at, digest in rows:
        found.setdefault(room, {})[author, cid] = Duplicate(seq, epoch, at, digest)
    return found


def _field_of(column: Any) -> Any:
    return UNSET if column is None else column
