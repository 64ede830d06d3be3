"""What PostgreSQL is told for each ask.

A list of rows goes into one statement as one array for each column, so there is one text for any number of rows, which
the connection keeps prepared; new entries are copied.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
from sqlalchemy import BigInteger, Column, Integer, Table

from persistence import schema
from persistence.asks import (
    AddEntries,
    AddOwner,
    AddRoom,
    Ask,
    BackToMark,
    FindCids,
    FindTargets,
    HandOver,
    LockRooms,
    MoveRooms,
    SetMark,
    TakeTexts,
)
from persistence.rows import STATE_COLUMNS

Rows = Sequence[Sequence[Any]]


async def rows_of(connection: asyncpg.Connection, ask: Ask) -> Rows:
    """Do what `ask` wants in the transaction that is open; its rows."""
    if isinstance(ask, AddEntries):
        # half of what an INSERT costs the server, and a quarter of what it costs us
        await connection.copy_records_to_table(_ENTRIES.name, records=ask.rows, columns=_ENTRY_NAMES)
        return ()
    text, parameters = _statement_of(ask)
    rows: Rows = await connection.fetch(text, *parameters)
    return rows


def _statement_of(
    ask: LockRooms
    | FindCids
    | FindTargets
    | MoveRooms
    | TakeTexts
    | AddRoom
    | HandOver
    | AddOwner
    | SetMark
    | BackToMark,
) -> tuple[str, Iterable[Any]]:
    match ask:
        case LockRooms(rooms):
            return _LOCK_ROOMS, (rooms,)
        case FindCids(keys):
            return _FIND_CIDS, zip(*keys, strict=True)
        case FindTargets(keys):
            return _FIND_TARGETS, zip(*keys, strict=True)
        case MoveRooms(rows):
            return _MOVE_ROOMS, zip(*rows, strict=True)
        case TakeTexts(keys):
            return _TAKE_TEXTS, zip(*keys, strict=True)
        case AddRoom(row):
            return _ADD_ROOM, row
        case HandOver(room, epoch, incarnation):
            return _HAND_OVER, (room, epoch, incarnation)
        case AddOwner(room, epoch, incarnation, first_seq):
            return _ADD_OWNER, (room, epoch, incarnation, first_seq)
        case SetMark():
            return "SAVEPOINT mark", ()
        case BackToMark():
            return "ROLLBACK TO mark", ()


def _names(columns: Iterable[Column[Any]]) -> str:
    return ", ".join(column.name for column in columns)


def _columns(table: Table, names: str) -> tuple[Column[Any], ...]:
    return tuple(table.c[name] for name in names.split())


def _asked(columns: Sequence[Column[Any]]) -> str:
    """A table made of one parameter for each column."""
    arrays = ", ".join(f"${i}::{_type_of(column)}[]" for i, column in enumerate(columns, start=1))
    return f"unnest({arrays}) AS asked ({_names(columns)})"


def _type_of(column: Column[Any]) -> str:
    for kind, name in ((BigInteger, "int8"), (Integer, "int4")):
        if isinstance(column.type, kind):
            return name
    return "text"


def _looked_up(table: Table, keys: str, wanted: str) -> str:
    on = " AND ".join(f"it.{name} = asked.{name}" for name in keys.split())
    given = ", ".join(f"it.{name}" for name in f"{keys} {wanted}".split())
    return f"SELECT {given} FROM {_asked(_columns(table, keys))} JOIN {table.name} AS it ON {on}"


def _inserted(table: Table, columns: Sequence[Column[Any]]) -> str:
    marks = ", ".join(f"${i}" for i in range(1, len(columns) + 1))
    return f"INSERT INTO {table.name} ({_names(columns)}) VALUES ({marks})"


_ROOMS, _ENTRIES, _OWNERS = schema.rooms, schema.entries, schema.owners
_MOVED = _columns(_ROOMS, "room last_seq last_at mode slow_ms notice")

# ruff: noqa: S608 (all names are our own)
_LOCK_ROOMS = f"SELECT {_names(STATE_COLUMNS)} FROM rooms WHERE room = ANY($1::text[]) ORDER BY room FOR NO KEY UPDATE"
_FIND_CIDS = _looked_up(_ENTRIES, "room author cid", "seq epoch at digest")
_FIND_TARGETS = _looked_up(_ENTRIES, "room seq", "author kind deleted")
_ENTRY_NAMES = tuple(column.name for column in _ENTRIES.c)
_MOVE_ROOMS = (
    f"UPDATE rooms SET {', '.join(f'{column.name} = asked.{column.name}' for column in _MOVED[1:])} "
    f"FROM {_asked(_MOVED)} WHERE rooms.room = asked.room"
)
_TAKE_TEXTS = (
    f"UPDATE entries SET text = NULL, deleted = true FROM {_asked(_columns(_ENTRIES, 'room seq'))} "
    "WHERE entries.room = asked.room AND entries.seq = asked.seq"
)
_ADD_ROOM = _inserted(_ROOMS, STATE_COLUMNS) + " ON CONFLICT DO NOTHING RETURNING 1"
_HAND_OVER = "UPDATE rooms SET epoch = $2, owner_inc = $3 WHERE room = $1"
_ADD_OWNER = _inserted(_OWNERS, _columns(_OWNERS, "room epoch owner_inc first_seq"))
