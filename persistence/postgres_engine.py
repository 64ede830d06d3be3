"""PostgreSQL as an engine: a server that the nodes of many hosts share (design, section 3).

1. READ COMMITTED, said by us whatever the server's default is: a statement that has waited for a row sees it as its
   last owner left it. At a higher level it would see its transaction's first moment, and so a stale last number.
2. A commit is on the disk when it returns: where the server would not wait for that, we ask it to.
3. A process that freezes in a transaction loses it, and the rows that it locked, by the server's own time-outs; and one
   whose machine is gone by TCP's.
4. No plan may read a whole table: what is prepared while tables are small is used when they are large.
5. What one connection has shown of its server counts for all that are older: where one was cut the others are made anew
   before they are used, or each of them would have to find out for itself, which takes seconds.
"""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from persistence.postgres_hosts import connect_to_one

MAX_WRITERS = 5
"""One for the batch of the moment, the others for rooms that are opened meanwhile."""
MAX_READERS = 4

CONNECT_TIMEOUT = 2.0
"""Seconds for making a connection to a host."""
READ_WAIT = 1.0
"""Seconds for which a reader waits for a connection."""

_MADE_AFTER = "made after cut"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds after which the server gives up: waiting for a row, a statement, a transaction whose client says nothing,
    and a connection whose host acknowledges nothing. 0 is for ever."""

    lock: float
    statement: float = 2.0
    idle: float = 2.0
    silence: float = 2.0


def open_writer(dsn: str, timeouts: Timeouts) -> AsyncEngine:
    """Connections whose transactions end with their time-outs."""
    return _engine(dsn, _settings(timeouts), size=MAX_WRITERS)


def open_reader(dsn: str, timeouts: Timeouts) -> AsyncEngine:
    """A few connections that cannot write, each of whose statements stands for itself."""
    return _engine(
        dsn, _settings(timeouts) | {"default_transaction_read_only": "on"}, size=MAX_READERS, isolation="AUTOCOMMIT"
    )


def _settings(timeouts: Timeouts) -> dict[str, str]:
    return {
        "application_name": "lecturehall",
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        "lock_timeout": _ms(timeouts.lock),
        "statement_timeout": _ms(timeouts.statement),
        "idle_in_transaction_session_timeout": _ms(timeouts.idle),
        "tcp_user_timeout": _ms(timeouts.silence),
        "tcp_keepalives_idle": "2",
        "tcp_keepalives_interval": "1",
        "tcp_keepalives_count": "3",
        "client_encoding": "utf-8",
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        # a plan that could not do without a scan counts as so dear that it would be compiled
        "jit": "off",
    }


def _engine(dsn: str, settings: dict[str, str], *, size: int, isolation: str | None = None) -> AsyncEngine:
    engine = create_async_engine(
        # what it connects to is said by the creator: SQLAlchemy cannot read all that is allowed in the URL
        "postgresql+asyncpg://",
        async_creator=_creator(dsn, settings),
        pool_size=size,
        max_overflow=0,
        pool_timeout=READ_WAIT,
        # what people wrote must not stand in the words of an error, which are logged
        hide_parameters=True,
        **({} if isolation is None else {"isolation_level": isolation, "skip_autocommit_rollback": True}),
    )
    cuts = itertools.count()
    last_cut = next(cuts)

    @event.listens_for(engine.sync_engine, "connect")
    def note(_connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info[_MADE_AFTER] = last_cut

    @event.listens_for(engine.sync_engine, "invalidate")
    def doubt_the_others(
        _connection: DBAPIConnection, _entry: ConnectionPoolEntry, error: BaseException | None
    ) -> None:
        nonlocal last_cut
        if not isinstance(error, DisconnectionError):  # our own doubt
            last_cut = next(cuts)

    @event.listens_for(engine.sync_engine, "checkout")
    def doubt(connection: DBAPIConnection, entry: ConnectionPoolEntry, _fairy: PoolProxiedConnection) -> None:
        if entry.info[_MADE_AFTER] != last_cut:
            driver: Any = connection.driver_connection
            driver.terminate()
            raise DisconnectionError("it is older than one that had to be cut")

    return engine


def _creator(dsn: str, settings: dict[str, str]) -> Callable[[], Awaitable[asyncpg.Connection]]:
    # of several hosts the one that takes writes, also after a failover
    attributes = None if "target_session_attrs" in parse_qs(urlsplit(dsn).query) else "primary"

    async def connect_to(host: str) -> asyncpg.Connection:
        try:
            connection = await asyncpg.connect(
                host, server_settings=settings, timeout=CONNECT_TIMEOUT, target_session_attrs=attributes
            )
        except OSError as error:  # a TimeoutError is one too
            raise asyncpg.ConnectionFailureError(f"no connection: {error or type(error).__name__}") from error
        except asyncpg.TargetServerAttributeNotMatched as error:
            raise asyncpg.ReadOnlySQLTransactionError(str(error)) from error
        return connection

    async def connect() -> asyncpg.Connection:
        connection = await connect_to_one(dsn, connect_to)
        await _wait_for_the_disk(connection)
        return connection

    return connect


async def _wait_for_the_disk(connection: asyncpg.Connection) -> None:
    """A server, database or role may be set to answer commits early; any setting that waits longer is left as it is."""
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
