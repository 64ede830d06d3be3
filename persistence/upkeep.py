"""Upkeep: an operator's transactions on a store that a fleet may be working on at the same time.

They take the same locks as the fleet does, a room's row before anything of the room (store_sql), wait for them with
more patience than a node has, and are short, so that no node waits long.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Row, event, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import ConnectionPoolEntry

from director.contract.ids import RoomId
from persistence import schema
from persistence.contract.store import RoomState, StoreUnavailable
from persistence.engines import Engines, open_engines, sqlite_file_of
from persistence.rows import STATE_COLUMNS, states_of

LOCK_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 30.0
ROOMS_A_SLICE = 200

Rest = Callable[[float], Awaitable[None]]
"""Waits for some seconds: `asyncio.sleep`, or what a test has in its place."""


@asynccontextmanager
async def open_upkeep(url: str, *, rest: Rest = asyncio.sleep) -> AsyncIterator["Upkeep"]:
    """Upkeep of the store at `url`, whose schema is this release's. Raises ValueError for an unsupported URL."""
    engines = open_engines(url, lock_timeout=LOCK_TIMEOUT, statement_timeout=STATEMENT_TIMEOUT)
    if sqlite_file_of(url) is not None:
        event.listen(engines.writer.sync_engine, "connect", _overwrite_what_goes)
    try:
        yield Upkeep(engines, rest=rest)
    finally:
        await engines.close()


class Upkeep:
    """Transactions and reads; whatever the database raises becomes StoreUnavailable."""

    def __init__(self, engines: Engines, *, rest: Rest = asyncio.sleep) -> None:
        self._engines = engines
        self._rest = rest

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed if its block ends well. Afterwards the fleet is given as much time as it
        took: one who takes SQLite's lock again at once leaves none to those who wait for it."""
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        try:
            async with self._engines.writer.connect() as connection:
                await connection.begin()
                yield connection
                try:
                    await connection.commit()
                except SQLAlchemyError:
                    await connection.invalidate()
                    raise
        except (SQLAlchemyError, OSError) as error:
            raise StoreUnavailable(f"the store could not write: {error}") from error
        await self._rest(max(0.005, loop.time() - started_at))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement sees what is committed then."""
        try:
            async with self._engines.reader.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise StoreUnavailable(f"the store could not be read: {error}") from error

    async def room_slices(self, *columns: Any, room: RoomId | None = None) -> AsyncIterator[list[Row[Any]]]:
        """`room` and `columns` of the rooms' rows (or of one room's), some at a time, by ascending name."""
        after = ""
        rooms = schema.rooms
        while True:
            wanted = select(rooms.c.room, *columns).order_by(rooms.c.room).limit(ROOMS_A_SLICE)
            wanted = wanted.where(rooms.c.room > after if room is None else rooms.c.room == room)
            async with self.reading() as connection:
                rows = list((await connection.execute(wanted)).all())
            if rows:
                yield rows
            if room is not None or len(rows) < ROOMS_A_SLICE:
                return
            after = rows[-1].room


async def lock_room(connection: AsyncConnection, room: RoomId) -> RoomState | None:
    """The room's row, locked until the end of the transaction; None if it has none."""
    wanted = select(*STATE_COLUMNS).where(schema.rooms.c.room == room).with_for_update(key_share=True)
    return states_of((await connection.execute(wanted)).all()).get(room)


def _overwrite_what_goes(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """SQLite leaves what it removes in the free parts of its file unless it is told to write zeros there."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()
