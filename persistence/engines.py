"""Engines: the connections of one store, and what its dialect does differently from the others.

sqlite+aiosqlite:///PATH            a file, for the nodes of one host
postgresql://USER@HOST:PORT/NAME    a server, for those of several (as libpq takes it, so also several hosts)
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from persistence import postgres_engine, sqlite_engine
from persistence.asks import Transact
from persistence.postgres_transact import PostgresTransact, cut
from persistence.sqlite_transact import SqliteTransact

LOCK_TIMEOUT = 0.5
"""Seconds for which a writing transaction waits for its turn. Short, for those who have more patience try again: the
writer, which must tell its senders in time, and the opening of a room, which outwaits a frozen holder."""

_POSTGRES = re.compile(r"postgres(?:ql)?(?:\+asyncpg)?://")
_PASSWORD = re.compile(r"(?<=://)([^@/?]*):[^@/?]*@")


@dataclass(frozen=True, slots=True)
class Engines:
    """Connections for writing and for reading, apart, so that no reader waits for a writer or delays one.

    A transaction that `writer` begins holds a SQLite file's lock before its first statement. `transact` runs those of
    the store's own, up to `max_writers` at once. `reader` commits nothing: each statement sees what is committed then.
    `cut` gives a connection up without waiting for the server.
    """

    writer: AsyncEngine
    reader: AsyncEngine
    transact: Transact
    cut: Callable[[AsyncConnection], Awaitable[None]]
    max_writers: int = 1

    async def close(self) -> None:
        """Close all connections that are not in use."""
        await self.writer.dispose()
        await self.reader.dispose()


def open_engines(url: str, *, lock_timeout: float = LOCK_TIMEOUT, statement_timeout: float | None = None) -> Engines:
    """The engines for a database; connections are made when they are first used.

    A server ends a statement after `statement_timeout` seconds (0: never; None: as suits a node). Raises ValueError for
    a database that is not supported.
    """
    if sqlite_file_of(url) is not None:
        parsed = make_url(url)
        writer = sqlite_engine.open_writer(parsed, lock_timeout=lock_timeout)
        return Engines(writer, sqlite_engine.open_reader(parsed), SqliteTransact(writer), AsyncConnection.invalidate)
    dsn = postgres_dsn_of(url)
    if dsn is None:
        raise ValueError(
            f"the store must be sqlite+aiosqlite:///PATH or postgresql://USER@HOST/DATABASE, not {shown(url)}"
        )
    timeouts = postgres_engine.Timeouts(lock=lock_timeout)
    if statement_timeout is not None:
        timeouts = replace(timeouts, statement=statement_timeout)
    writer = postgres_engine.open_writer(dsn, timeouts)
    reader = postgres_engine.open_reader(dsn, timeouts)
    return Engines(writer, reader, PostgresTransact(writer), cut, postgres_engine.MAX_WRITERS)


def sqlite_file_of(url: str) -> Path | None:
    """The file of a store that is one; None for any other kind of URL."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None  # several hosts, which SQLAlchemy cannot read
    if parsed.drivername != "sqlite+aiosqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


def postgres_dsn_of(url: str) -> str | None:
    """The URL of a PostgreSQL server as its driver takes it; None for any other kind of URL."""
    scheme = _POSTGRES.match(url)
    return None if scheme is None else f"postgresql://{url[scheme.end() :]}"


def shown(url: str) -> str:
    """The URL without its password."""
    return _PASSWORD.sub(r"\1:***@", url)
