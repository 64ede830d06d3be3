"""SQLite as an engine: one file that the nodes of one host share (design, section 3).

1. Every writing transaction starts with BEGIN IMMEDIATE, so what it reads is what it writes upon. Left alone, neither
   SQLAlchemy nor the driver sends any BEGIN before the first SELECT, and another process can fence the room between
   the check of its owner and the insert. (sqlite_lock says how it waits.)
2. A commit is on the disk when it returns: WAL with synchronous=FULL.
3. Readers have connections of their own that never ask for the write lock; in WAL they and the writer do not wait for
   each other.
"""

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from persistence.sqlite_lock import BEGIN, WriterConnection

MAX_READERS = 4
MAX_WRITER_CACHE_KIB = 16 * 1024

READ_TIMEOUT = 1.0
"""Seconds for which a reader waits for a connection, and then for a file that is locked as a whole."""


def open_writer(url: URL, *, lock_timeout: float) -> AsyncEngine:
    """One connection, whose transactions wait up to `lock_timeout` seconds for the file's write lock and then hold it
    from their BEGIN on. Makes the file if it is not there."""
    engine = create_async_engine(
        url,
        pool_size=1,
        max_overflow=0,
        # what people wrote must not stand in the words of an error, which are logged
        hide_parameters=True,
        connect_args={"timeout": lock_timeout, "factory": WriterConnection},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        _leave_begin_to_us(connection)
        _run(
            connection,
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "PRAGMA foreign_keys=ON",
            f"PRAGMA cache_size=-{MAX_WRITER_CACHE_KIB}",
            # from here on only BEGIN ever has to wait, and it does so by itself
            "PRAGMA busy_timeout=0",
        )

    @event.listens_for(engine.sync_engine, "begin")
    def take_write_lock(connection: Connection) -> None:
        connection.exec_driver_sql(BEGIN)

    return engine


def open_reader(url: URL) -> AsyncEngine:
    """A few connections that cannot write."""
    engine = create_async_engine(
        url,
        pool_size=MAX_READERS,
        max_overflow=0,
        pool_timeout=READ_TIMEOUT,
        hide_parameters=True,
        connect_args={"timeout": READ_TIMEOUT},
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        _run(connection, "PRAGMA query_only=ON")

    return engine


def _leave_begin_to_us(connection: DBAPIConnection) -> None:
    connection.isolation_level = None


def _run(connection: DBAPIConnection, *statements: str) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()
