"""What SQLite is told for each ask.

A list of rows goes into one statement as `VALUES (?, ?), (?, ?)`, for each statement costs a turn of the interpreter's
lock. There are texts for a few lengths only, which the connection keeps prepared.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

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

_LENGTHS = (256, 64, 8, 1)
_STATE = tuple(column.name for column in STATE_COLUMNS)
_ENTRY = tuple(column.name for column in schema.entries.c)


def rows_of(cursor: sqlite3.Cursor, ask: Ask) -> Rows:
    """Do what `ask` wants in the transaction that is open; its rows."""
    match ask:
        case LockRooms(rooms):
            # the whole file is locked
            return _read(cursor, _ROOMS, [(room,) for room in rooms])
        case FindCids(keys):
            return _read(cursor, _CIDS, keys)
        case FindTargets(keys):
            return _read(cursor, _TARGETS, keys)
        case AddEntries(rows):
            return _write(cursor, _ADD_ENTRIES, rows)
        case MoveRooms(rows):
            cursor.executemany(_MOVE_ROOM, [(*moved, room) for room, *moved in rows])
        case TakeTexts(keys):
            cursor.executemany("UPDATE entries SET text = NULL, deleted = 1 WHERE room = ? AND seq = ?", keys)
        case AddRoom(row):
            return cursor.execute(_ADD_ROOM, row).fetchall()
        case HandOver(room, epoch, incarnation):
            cursor.execute("UPDATE rooms SET epoch = ?, owner_inc = ? WHERE room = ?", (epoch, incarnation, room))
        case AddOwner(room, epoch, incarnation, first_seq):
            cursor.execute(_ADD_OWNER, (room, epoch, incarnation, first_seq))
        case SetMark():
            cursor.execute("SAVEPOINT mark")
        case BackToMark():
            cursor.execute("ROLLBACK TO mark")
    return ()


def _read(cursor: sqlite3.Cursor, text_of: Callable[[int], str], keys: Rows) -> Rows:
    found: list[Sequence[Any]] = []
    for start in range(0, len(keys), _LENGTHS[0]):
        some = keys[start : start + _LENGTHS[0]]
        length = min(length for length in _LENGTHS if length >= len(some))
        # nothing equals NULL
        filled = [*some, *[(None,) * len(some[0])] * (length - len(some))]
        found += cursor.execute(text_of(length), list(chain.from_iterable(filled))).fetchall()
    return found


def _write(cursor: sqlite3.Cursor, text_of: Callable[[int], str], rows: Rows) -> Rows:
    for some in _in_lengths(rows):
        cursor.execute(text_of(len(some)), list(chain.from_iterable(some)))
    return ()


def _in_lengths(rows: Rows) -> Iterator[Rows]:
    start = 0
    for length in _LENGTHS:
        while len(rows) - start >= length:
            yield rows[start : start + length]
            start += length


def _looked_up(table: str, keys: tuple[str, ...], wanted: tuple[str, ...]) -> Callable[[int], str]:
    """The rows of `table` by a list of keys, each found by an index: a CROSS JOIN's left side comes first.

    `(a, b) IN (VALUES ...)` would be shorter, but SQLite answers it by a scan of the whole table.
    """
    given = ", ".join(f"it.{name}" for name in wanted)
    on = " AND ".join(f"it.{name} = asked.{name}" for name in keys)

    @cache
    def text_of(length: int) -> str:
        return (
            f"WITH asked ({', '.join(keys)}) AS (VALUES {_marks(len(keys), length)}) "  # noqa: S608 (our own names)
            f"SELECT {given} FROM asked CROSS JOIN {table} AS it ON {on}"
        )

    return text_of


@cache
def _add_entries(length: int) -> str:
    return f"INSERT INTO entries ({', '.join(_ENTRY)}) VALUES {_marks(len(_ENTRY), length)}"  # noqa: S608 (our own names)


def _marks(width: int, length: int = 1) -> str:
    return ", ".join([f"({', '.join('?' * width)})"] * length)


_ROOMS = _looked_up("rooms", ("room",), _STATE)
_CIDS = _looked_up("entries", ("room", "author", "cid"), ("room", "author", "cid", "seq", "epoch", "at", "digest"))
_TARGETS = _looked_up("entries", ("room", "seq"), ("room", "seq", "author", "kind", "deleted"))
_ADD_ENTRIES = _add_entries
_ADD_ROOM = f"INSERT INTO rooms ({', '.join(_STATE)}) VALUES {_marks(len(_STATE))} ON CONFLICT DO NOTHING RETURNING 1"  # noqa: S608
_ADD_OWNER = "INSERT INTO owners (room, epoch, owner_inc, first_seq) VALUES (?, ?, ?, ?)"
_MOVE_ROOM = "UPDATE rooms SET last_seq = ?, last_at = ?, mode = ?, slow_ms = ?, notice = ? WHERE room = ?"
