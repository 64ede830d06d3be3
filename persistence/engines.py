"""Engines: the connections of one store, and what its dialect does differently from the others."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from persistence import sqlite_engine

LOCK_TIMEOUT = 0.5
"""Seconds for which a writing transaction waits for its turn. Short, for those who have more patience try again: the
writer, which must tell its senders in time, and the opening of a room, which outwaits a frozen holder."""


@dataclass(frozen=True, slots=True)
class Engines:
    """Connections for writing and for reading, apart, so that no reader waits for a writer or delays one.

    A transaction that `writer` begins holds its locks before its first statement. `reader` commits nothing: each
    statement sees what is committed then. `committed_nothing` tells of an error of COMMIT whether it is certain that
    nothing was committed, `was_locked` of any error whether the transaction had waited for its turn in vain.
    """

    writer: AsyncEngine
    reader: AsyncEngine
    committed_nothing: Callable[[DBAPIError], bool]
    was_locked: Callable[[DBAPIError], bool]

    async def close(self) -> None:
        """Close all connections that are not in use."""
        await self.writer.dispose()
        await self.reader.dispose()


def open_engines(url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> Engines:
    """The engines for a database; connections are made when they are first used.

    Raises ValueError for a database that is not supported: there is `sqlite+aiosqlite:///PATH` alone.
    """
    parsed = make_url(url)
    if sqlite_file_of(url) is None:
        raise ValueError(f"the store must be a file, sqlite+aiosqlite:///PATH, not {parsed.render_as_string()}")
    return Engines(
        writer=sqlite_engine.open_writer(parsed, lock_timeout=lock_timeout),
        reader=sqlite_engine.open_reader(parsed),
        committed_nothing=sqlite_engine.committed_nothing,
        was_locked=sqlite_engine.was_locked,
    )


def sqlite_file_of(url: str) -> Path | None:
    """The file of a store that is one; None for any other kind of URL."""
    parsed = make_url(url)
    if parsed.drivername != "sqlite+aiosqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)
