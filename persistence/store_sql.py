"""The store in an SQL database: the same promises as the memory twin, kept by the rows' locks (design, section 3)."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from sqlalchemy import Row, Select, bindparam, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from director.contract.ids import Epoch, Incarnation, LogId, RoomId, Seq, UserId
from persistence import schema
from persistence.bulk import KeyedRows, insert_all
from persistence.contract.messages import Kind
from persistence.contract.store import (
    Behind,
    Duplicate,
    Fenced,
    Opened,
    Outcome,
    OutcomeUnknown,
    OwnerRecord,
    Page,
    RoomBatch,
    RoomState,
    StoreUnavailable,
    Unsettled,
)
from persistence.core.batch import BatchPlan, Target, authored_cids_of, plan_batch, references_of
from persistence.core.fence import judge_opening
from persistence.core.page import cut_page
from persistence.engines import LOCK_TIMEOUT, Engines, open_engines
from persistence.rows import ENTRY_COLUMNS, STATE_COLUMNS, entry_of, entry_row, state_values, states_of

MAX_ROOMS_A_STATEMENT = 500

OPEN_WITHIN = 2.4
"""Seconds for which a room's opening tries to get its turn. With the lock's time-out of its last try it outwaits a
frozen holder of the lock (2.5 s at most: design, section 3), and is done before the node gives it up (3 s)."""

# Faults of one room's own rows or words, which must not keep the other rooms of a batch from being committed: its
# numbers stand in the way, its text is no Unicode, a number does not fit its column.
_ROOM_FAULTS = (IntegrityError, DataError, UnicodeEncodeError, OverflowError)

_T = TypeVar("_T")

_known_cids = KeyedRows(schema.entries, keys=("room", "author", "cid"), wanted=("seq", "epoch", "at", "digest"))
_targets = KeyedRows(schema.entries, keys=("room", "seq"), wanted=("author", "kind", "deleted"))
_json = msgspec.json.Encoder()


def open_sql_store(url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> "SqlStore":
    """The store at `url` (`sqlite+aiosqlite:///PATH`), which `migrate.upgrade` has brought to this release's schema.

    Connects when first used. Close it, or use it as an async context manager. Raises ValueError for any other kind of
    URL.
    """
    return SqlStore(open_engines(url, lock_timeout=lock_timeout))


class SqlStore:
    """RoomLog, RoomHistory and StoreAudit over one database that other processes use too.

    Writes of this process take turns on one connection; of openings one at a time asks for it, so that a batch never
    waits for more than one. While another process holds the database, appending fails after some `lock_timeout`,
    opening some `lock_timeout` after `open_within`, and reading goes on. A call that is cancelled may have been
    committed.
    """

    def __init__(self, engines: Engines, *, open_within: float = OPEN_WITHIN) -> None:
        self._engines = engines
        self._open_within = open_within
        self._turn = asyncio.Lock()
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections once the write in progress, if any, is over."""
        async with self._turn:
            await self._engines.close()

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
                    return await self._open_once(room, epoch=epoch, incarnation=incarnation, fresh_log=fresh_log)
                except _Locked:
                    if loop.time() >= give_up_at:
                        raise
        finally:
            self._opening.release()

    async def _open_once(
        self, room: RoomId, *, epoch: Epoch, incarnation: Incarnation, fresh_log: LogId
    ) -> Opened | Behind:
        async with self._writing() as connection:
            state = (await _lock_states(connection, [room])).get(room)
            verdict = judge_opening(state, epoch=epoch, incarnation=incarnation, fresh_log=fresh_log)
            if isinstance(verdict, Opened) and verdict.state is not state:
                await _write_owner(connection, room, verdict.state, is_new=state is None)
            return verdict

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        if not batches:
            return {}
        in_lock_order = sorted(batches, key=lambda batch: batch.room)
        try:
            async with self._writing() as connection:
                return await _append(connection, in_lock_order)
        except _ROOM_FAULTS:
            async with self._writing() as connection:
                return await _append_one_by_one(connection, in_lock_order)

    async def row_states(self, rooms: Sequence[RoomId]) -> Mapping[RoomId, RoomState]:
        states: dict[RoomId, RoomState] = {}
        async with self._reading() as connection:
            for some in _slices(rooms, MAX_ROOMS_A_STATEMENT):
                states |= states_of((await connection.execute(_select_states(some))).all())
        return states

    async def read_before(self, room: RoomId, *, before: Seq | None, limit: int, max_bytes: int) -> Page:
        seq = schema.entries.c.seq
        wanted = _select_entries(room, limit).order_by(seq.desc())
        page = await self._read_page(wanted if before is None else wanted.where(seq < before), limit, max_bytes)
        return Page(page.entries[::-1], page.more)

    async def read_after(self, room: RoomId, *, after: Seq, limit: int, max_bytes: int) -> Page:
        seq = schema.entries.c.seq
        return await self._read_page(_select_entries(room, limit).where(seq > after).order_by(seq), limit, max_bytes)

    async def find(self, room: RoomId, *, author: UserId, cid: str) -> Duplicate | None:
        async with self._reading() as connection:
            found = await _known_cids.read(connection, [(room, author, cid)])
        return next((_duplicate_of(row) for row in found), None)

    async def read_owners(self, room: RoomId) -> Sequence[OwnerRecord]:
        owners = schema.owners
        async with self._reading() as connection:
            rows = await connection.execute(select(owners).where(owners.c.room == room).order_by(owners.c.epoch))
            return [OwnerRecord(room, row.epoch, row.owner_inc, row.first_seq) for row in rows]

    async def _read_page(self, wanted: Select[Any], limit: int, max_bytes: int) -> Page:
        async with self._reading() as connection:
            rows = (await connection.execute(wanted)).all()
        found = (entry_of(row) for row in rows)
        return Page(*cut_page(found, size_of=lambda it: len(_json.encode(it)), limit=limit, max_bytes=max_bytes))

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed if its block ends well, and rolled back else."""
        async with self._turn:
            try:
                async with self._engines.writer.connect() as connection:
                    await connection.begin()
                    yield connection
                    await self._commit(connection)
            except (IntegrityError, DataError):
                raise
            except DBAPIError as error:
                refused = _Locked if self._engines.was_locked(error) else StoreUnavailable
                raise refused(f"the store could not write: {error}") from error
            except SQLAlchemyError as error:
                raise StoreUnavailable(f"the store could not write: {error}") from error

    async def _commit(self, connection: AsyncConnection) -> None:
        try:
            await connection.commit()
        except DBAPIError as error:
            # SQLAlchemy takes the transaction for ended and would put the connection back with it still open
            await connection.invalidate()
            if self._engines.committed_nothing(error):
                raise StoreUnavailable(f"the store could not commit: {error}") from error
            raise OutcomeUnknown(f"the answer to a commit was lost: {error}") from error

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engines.reader.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreUnavailable(f"the store could not be read: {error}") from error


class _Locked(StoreUnavailable):
    """Another process holds the database."""


async def _append(connection: AsyncConnection, batches: Sequence[RoomBatch]) -> dict[RoomId, tuple[Outcome, ...]]:
    """Plan all batches against the locked rows and write what the plans say. Raises one of _ROOM_FAULTS if one room's
    plan cannot be written."""
    states = await _lock_states(connection, [batch.room for batch in batches])
    opened = [batch for batch in batches if batch.room in states]
    known: dict[RoomId, dict[tuple[UserId, str], Duplicate]] = {batch.room: {} for batch in opened}
    for row in await _known_cids.read(connection, [(b.room, *key) for b in opened for key in authored_cids_of(b)]):
        known[row.room][row.author, row.cid] = _duplicate_of(row)
    targets: dict[RoomId, dict[Seq, Target]] = {batch.room: {} for batch in opened}
    pointed_at = [(b.room, seq) for b in opened for seq in references_of(b, last_seq=states[b.room].last_seq)]
    for row in await _targets.read(connection, pointed_at):
        targets[row.room][row.seq] = Target(row.author, Kind(row.kind), row.deleted)
    plans = {
        batch.room: plan_batch(states[batch.room], batch, known=known[batch.room], targets=targets[batch.room])
        for batch in opened
    }
    await _write_plans(connection, plans)
    never_opened = Fenced(Epoch(0))
    return {b.room: plans[b.room].outcomes if b.room in plans else (never_opened,) * len(b.drafts) for b in batches}


async def _append_one_by_one(
    connection: AsyncConnection, batches: Sequence[RoomBatch]
) -> dict[RoomId, tuple[Outcome, ...]]:
    """As `_append`, but a room whose plan cannot be written is left out, and the others are written."""
    outcomes: dict[RoomId, tuple[Outcome, ...]] = {}
    for batch in batches:
        try:
            async with connection.begin_nested():
                outcomes |= await _append(connection, [batch])
        except _ROOM_FAULTS as fault:
            outcomes[batch.room] = (Unsettled(f"the room's entries cannot be stored: {fault}"),) * len(batch.drafts)
    return outcomes


async def _write_plans(connection: AsyncConnection, plans: Mapping[RoomId, BatchPlan]) -> None:
    moving = {room: plan for room, plan in plans.items() if plan.entries}
    if moving:
        added = [
            entry_row(room, plan.state.epoch, entry, digest)
            for room, plan in moving.items()
            for entry, digest in plan.entries
        ]
        await insert_all(connection, schema.entries, added)
        await connection.execute(
            _WRITE_STATE, [{"of_room": room, **state_values(plan.state)} for room, plan in moving.items()]
        )
    bare = [{"of_room": room, "of_seq": seq} for room, plan in plans.items() for seq in plan.bare]
    if bare:
        await connection.execute(_TAKE_TEXT_AWAY, bare)


async def _write_owner(connection: AsyncConnection, room: RoomId, state: RoomState, *, is_new: bool) -> None:
    if is_new:
        await connection.execute(insert(schema.rooms), {"room": room, **state_values(state)})
    else:
        await connection.execute(_WRITE_STATE, {"of_room": room, **state_values(state)})
    record = {"room": room, "epoch": state.epoch, "owner_inc": state.incarnation, "first_seq": state.last_seq + 1}
    await connection.execute(insert(schema.owners), record)


async def _lock_states(connection: AsyncConnection, rooms: Sequence[RoomId]) -> dict[RoomId, RoomState]:
    """The rows of `rooms`, locked until the end of the transaction where it does not hold the whole store anyway."""
    states: dict[RoomId, RoomState] = {}
    for some in _slices(rooms, MAX_ROOMS_A_STATEMENT):
        wanted = _select_states(some).order_by(schema.rooms.c.room).with_for_update(key_share=True)
        states |= states_of((await connection.execute(wanted)).all())
    return states


def _select_states(rooms: Sequence[RoomId]) -> Select[Any]:
    return select(*STATE_COLUMNS).where(schema.rooms.c.room.in_(rooms))


def _select_entries(room: RoomId, limit: int) -> Select[Any]:
    """One row more than `limit`, which tells whether there are more."""
    return select(*ENTRY_COLUMNS).where(schema.entries.c.room == room).limit(limit + 1)


def _duplicate_of(row: Row[Any]) -> Duplicate:
    return Duplicate(row.seq, row.epoch, row.at, row.digest)


def _slices(items: Sequence[_T], length: int) -> Iterator[Sequence[_T]]:
    return (items[start : start + length] for start in range(0, len(items), length))


_WRITE_STATE = update(schema.rooms).where(schema.rooms.c.room == bindparam("of_room"))
_TAKE_TEXT_AWAY = (
    update(schema.entries)
    .where(schema.entries.c.room == bindparam("of_room"), schema.entries.c.seq == bindparam("of_seq"))
    .values(text=None, deleted=True)
)
