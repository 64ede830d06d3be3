"""Rows: entries and room states as the tables hold them."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType
from sqlalchemy import Row

from director.contract.ids import Epoch, Incarnation, LogId, Role, RoomId, Seq, UserId
from persistence import schema
from persistence.contract.messages import Author, Entry, Kind, Mode
from persistence.contract.store import RoomState

RowValues = dict[str, Any]

STATE_COLUMNS = tuple(column for column in schema.rooms.c if column.name != "state")
ENTRY_COLUMNS = tuple(column for column in schema.entries.c if column.name not in ("room", "epoch", "digest"))


def entry_row(room: RoomId, epoch: Epoch, entry: Entry, digest: bytes) -> RowValues:
    """The row of `entries` that holds `entry`."""
    return {
        "room": room,
        "seq": entry.seq,
        "epoch": epoch,
        "at": entry.at,
        "kind": entry.kind.value,
        "cid": entry.cid,
        "author": entry.by.id,
        "author_name": entry.by.name,
        "author_role": entry.by.role.value,
        "text": _column_of(entry.text),
        "reply_to": _column_of(entry.reply_to),
        "target": _column_of(entry.target),
        "mode": None if isinstance(entry.mode, UnsetType) else entry.mode.value,
        "slow_ms": _column_of(entry.slow_ms),
        "deleted": entry.deleted is True,
        "digest": digest,
    }


def entry_of(row: Row[Any]) -> Entry:
    """The entry in a row of `ENTRY_COLUMNS`."""
    kind = Kind(row.kind)
    return Entry(
        seq=row.seq,
        at=row.at,
        kind=kind,
        cid=row.cid,
        by=Author(UserId(row.author), row.author_name, Role(row.author_role)),
        # a notice without text is one that takes the former notice down
        text=row.text if row.text is not None or kind is Kind.NOTICE else UNSET,
        reply_to=_field_of(row.reply_to),
        target=_field_of(row.target),
        mode=UNSET if row.mode is None else Mode(row.mode),
        slow_ms=_field_of(row.slow_ms),
        deleted=True if row.deleted else UNSET,
    )


def state_values(state: RoomState) -> RowValues:
    """What a row of `rooms` says, without its key."""
    return {
        "log": state.log,
        "epoch": state.epoch,
        "owner_inc": state.incarnation,
        "last_seq": state.last_seq,
        "last_at": state.last_at,
        "mode": state.mode.value,
        "slow_ms": state.slow_ms,
        "notice": state.notice,
    }


def states_of(rows: Sequence[Row[Any]]) -> dict[RoomId, RoomState]:
    """The states in rows of `STATE_COLUMNS`, by their rooms."""
    return {
        RoomId(row.room): RoomState(
            log=LogId(row.log),
            epoch=Epoch(row.epoch),
            incarnation=Incarnation(row.owner_inc),
            last_seq=Seq(row.last_seq),
            last_at=row.last_at,
            mode=Mode(row.mode),
            slow_ms=row.slow_ms,
            notice=row.notice,
        )
        for row in rows
    }


def _column_of(field: Any) -> Any:
    return None if field is UNSET else field


def _field_of(column: Any) -> Any:
    return UNSET if column is None else column
