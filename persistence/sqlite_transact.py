"""A writing transaction of SQLite: run as a whole in the thread of its connection.

One turn of the thread for a transaction. With a turn for each statement the event loop stands between them while the
file is locked for all nodes, and the turns cost ten times what SQLite does.
"""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any, Generic

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from persistence.asks import Ask, RoomFault, Steps, T, TryAgain
from persistence.contract.store import OutcomeUnknown, StoreUnavailable
from persistence.sqlite_lock import BEGIN, is_busy
from persistence.sqlite_statements import rows_of

_ROOM_FAULTS = (sqlite3.IntegrityError, sqlite3.DataError, UnicodeEncodeError, OverflowError)


class SqliteTransact:
    """Transact over an engine of one connection, whose BEGIN takes the file's write lock."""

    def __init__(self, writer: AsyncEngine) -> None:
        self._writer = writer

    async def __call__(self, steps: Steps[T]) -> T:
        transaction = _Transaction(steps)
        try:
            async with self._writer.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                try:
                    # what aiosqlite runs its own calls by; it offers nothing for several of them in one turn
                    result: T = await driver._execute(transaction.run, driver._conn)
                    return result
                except asyncio.CancelledError:
                    transaction.is_unwanted = True
                    raise
                finally:
                    if transaction.is_broken:
                        await connection.invalidate()
        except SQLAlchemyError as error:
            raise StoreUnavailable(f"the store could not be opened: {error}") from error


class _Transaction(Generic[T]):
    """`run` belongs to the connection's thread, the flags to both. One that `is_broken` leaves such a connection."""

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self.is_unwanted = False
        self.is_broken = False

    def run(self, connection: sqlite3.Connection) -> T:
        # closed, for a statement that an error's traceback keeps alive would keep the lock alive, too
        with closing(connection.cursor()) as cursor:
            return self._run(connection, cursor)

    def _run(self, connection: sqlite3.Connection, cursor: sqlite3.Cursor) -> T:
        try:
            cursor.execute(BEGIN)
            result = self._run_steps(cursor)
            if self.is_unwanted:
                raise StoreUnavailable("nobody waits for the transaction any more")
        except sqlite3.Error as error:
            self._roll_back(connection)
            raise _refusal_of(error) from error
        except BaseException:
            self._roll_back(connection)
            raise
        try:
            cursor.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back(connection)
            self.is_broken = True
            if committed_nothing(error):
                raise StoreUnavailable(f"the store could not commit: {error}") from error
            raise OutcomeUnknown(f"it is unclear what a commit did: {error}") from error
        return result

    def _run_steps(self, cursor: sqlite3.Cursor) -> T:
        steps = self._steps
        try:
            ask: Ask = next(steps)
            while True:
                if self.is_unwanted:
                    raise StoreUnavailable("nobody waits for the transaction any more")
                try:
                    rows = rows_of(cursor, ask)
                except _ROOM_FAULTS as fault:
                    ask = steps.throw(RoomFault(str(fault)))
                else:
                    ask = steps.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            connection.rollback()
        except sqlite3.Error:
            self.is_broken = True


def committed_nothing(error: BaseException | None) -> bool:
    """Whether a COMMIT that failed so is certain to have committed nothing: the lock was not had, or the disk is full.

    After an error of the disk itself the commit may still be found in the WAL by whoever opens the file next.
    """
    return is_busy(error) or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _refusal_of(error: sqlite3.Error) -> StoreUnavailable:
    refused = TryAgain if is_busy(error) else StoreUnavailable
    return refused(f"the store could not write: {error}")
