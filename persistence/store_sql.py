"""The store in an SQL database: the same promises as the memory twin, kept by the rows' locks (design, section 3)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from sqlalchemy import Row, Select, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from director.contract.ids import Epoch, Incarnation, LogId, RoomId, Seq, UserId
from persistence import schema
from persistence.asks import RoomFault, Steps, TryAgain
from persistence.contract.store import (
    Behind,
    Duplicate,
    Opened,
    Outcome,
    OutcomeUnknown,
    OwnerRecord,
    Page,
    RoomBatch,
    RoomState,
    StoreUnavailable,
)
from persistence.core.page import cut_page
from persistence.engines import LOCK_TIMEOUT, Engines, open_engines
from persistence.rows import ENTRY_COLUMNS, STATE_COLUMNS, entry_of, states_of
from persistence.transactions import appending, appending_one_by_one, opening

MAX_ROOMS_A_STATEMENT = 500

OPEN_WITHIN = 2.4
"""Seconds for which a room's opening tries to get its turn. With the lock's time-out of its last try it outwaits a
frozen holder of the lock (2.5 s at most: design, section 3), and is done before the node gives it up (3 s)."""

READ_TIMEOUT = 2.5
"""Seconds for a read of a server that says nothing."""

_PAUSE = 0.02

_T = TypeVar("_T")

_json = msgspec.json.Encoder()


def open_sql_store(url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> "SqlStore":
    """The store at `url` (engines says which there are), which `migrate.upgrade` has brought to this release's schema.

    Connects when first used. Close it, or use it as an async context manager. Raises ValueError for any other kind of
    URL.
    """
    return SqlStore(open_engines(url, lock_timeout=lock_timeout))


class SqlStore:
    """RoomLog, RoomHistory and StoreAudit over one database that other processes use too.

    Writes of this process take turns on as many connections as the database has use for; openings leave one to batches,
    or where there is one only, ask for it one at a time, so that a batch never waits for more than one. While another
    process holds a row or the file, appending fails after some `lock_timeout`, opening some `lock_timeout` after
    `open_within`, and reading goes on. A server that does not answer is given up after seconds, and found again by
    itself. A call that is cancelled may have been committed.
    """

    def __init__(self, engines: Engines, *, open_within: float = OPEN_WITHIN) -> None:
        self._engines = engines
        self._open_within = open_within
        self._turn = asyncio.Semaphore(engines.max_writers)
        self._opening = asyncio.Semaphore(max(1, engines.max_writers - 1))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections once the writes in progress are over."""
        for _ in range(self._engines.max_writers):
            await self._turn.acquire()
        await self._engines.close()
        for _ in range(self._engines.max_writers):
            self._turn.release()

    async def open_room(
        self, room: RoomId, *, epoch: Epoch, incarnation: Incarnation, fresh_log: LogId
    ) -> Opened | Behind:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._open_within
        try:
            async with asyncio.timeout_at(give_up_at):
                await self._opening.acquire()
        except TimeoutError as error:
            raise StoreUnavailable("the openings before it take too long") from error
        try:
            while True:
                try:
                    return await self._write(opening(room, epoch=epoch, incarnation=incarnation, fresh_log=fresh_log))
                except (TryAgain, OutcomeUnknown):
                    # opening is idempotent
                    if loop.time() + _PAUSE >= give_up_at:
                        raise
                    await asyncio.sleep(_PAUSE)
        finally:
            self._opening.release()

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        if not batches:
            return {}
        in_lock_order = sorted(batches, key=lambda batch: batch.room)
        try:
            return await self._write(appending(in_lock_order))
        except RoomFault:
            return await self._write(appending_one_by_one(in_lock_order))

    async def row_states(self, rooms: Sequence[RoomId]) -> Mapping[RoomId, RoomState]:
        async def read(connection: AsyncConnection) -> dict[RoomId, RoomState]:
            states: dict[RoomId, RoomState] = {}
            for some in _slices(rooms, MAX_ROOMS_A_STATEMENT):
                wanted = select(*STATE_COLUMNS).where(schema.rooms.c.room.in_(some))
                states |= states_of((await connection.execute(wanted)).all())
            return states

        return await self._read(read)

    async def read_before(self, room: RoomId, *, before: Seq | None, limit: int, max_bytes: int) -> Page:
        seq = schema.entries.c.seq
        wanted = _select_entries(room, limit).order_by(seq.desc())
        page = await self._read_page(wanted if before is None else wanted.where(seq < before), limit, max_bytes)
        return Page(page.entries[::-1], page.more)

    async def read_after(self, room: RoomId, *, after: Seq, limit: int, max_bytes: int) -> Page:
        seq = schema.entries.c.seq
        return await self._read_page(_select_entries(room, limit).where(seq > after).order_by(seq), limit, max_bytes)

    async def find(self, room: RoomId, *, author: UserId, cid: str) -> Duplicate | None:
        it = schema.entries.c
        wanted = select(it.seq, it.epoch, it.at, it.digest)
        rows = await self._read_all(wanted.where(it.room == room, it.author == author, it.cid == cid))
        return next((Duplicate(row.seq, row.epoch, row.at, row.digest) for row in rows), None)

    async def read_owners(self, room: RoomId) -> Sequence[OwnerRecord]:
        it = schema.owners.c
        rows = await self._read_all(select(schema.owners).where(it.room == room).order_by(it.epoch))
        return [OwnerRecord(room, row.epoch, row.owner_inc, row.first_seq) for row in rows]

    async def _read_page(self, wanted: Select[Any], limit: int, max_bytes: int) -> Page:
        found = (entry_of(row) for row in await self._read_all(wanted))
        return Page(*cut_page(found, size_of=lambda it: len(_json.encode(it)), limit=limit, max_bytes=max_bytes))

    async def _read_all(self, wanted: Select[Any]) -> Sequence[Row[Any]]:
        async def read(connection: AsyncConnection) -> Sequence[Row[Any]]:
            rows: Sequence[Row[Any]] = (await connection.execute(wanted)).all()
            return rows

        return await self._read(read)

    async def _write(self, steps: Steps[_T]) -> _T:
        async with self._turn:
            return await self._engines.transact(steps)

    async def _read(self, work: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
        try:
            return await self._read_once(work)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise StoreUnavailable(f"the store could not be read: {error}") from error
        except (SQLAlchemyError, OSError) as error:
            raise StoreUnavailable(f"the store could not be read: {error}") from error
        try:
            # the connection had died since it was last used, and all others that were made before it are gone too
            return await self._read_once(work)
        except (SQLAlchemyError, OSError) as error:
            raise StoreUnavailable(f"the store could not be read: {error}") from error

    async def _read_once(self, work: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
        async with self._engines.reader.connect() as connection:
            try:
                async with asyncio.timeout(READ_TIMEOUT):
                    return await work(connection)
            except (TimeoutError, asyncio.CancelledError):
                await self._engines.cut(connection)
                raise


def _select_entries(room: RoomId, limit: int) -> Select[Any]:
    """One row more than `limit`, which tells whether there are more."""
    return select(*ENTRY_COLUMNS).where(schema.entries.c.room == room).limit(limit + 1)


def _slices(items: Sequence[_T], length: int) -> Iterator[Sequence[_T]]:
    return (items[start : start + length] for start in range(0, len(items), length))
