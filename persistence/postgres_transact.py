"""A writing transaction of PostgreSQL, on the driver's own connection.

1. A transaction has a span. A server that has not answered by then is left alone and the connection cut; nothing is
   committed, unless it had been told to.
2. After COMMIT was sent, only the server's own refusal says that nothing was committed. All else is unclear, and is
   settled under the rows' locks, which the server holds until it has done the one or the other.
"""

import asyncio
from typing import Any, Generic

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from persistence.asks import Ask, RoomFault, Steps, T, TryAgain
from persistence.contract.store import OutcomeUnknown, StoreUnavailable
from persistence.postgres_statements import rows_of

TRANSACTION_TIMEOUT = 3.0
"""Seconds for a whole transaction; longer than what the server allows a statement, so that it speaks first."""

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_ROLL_BACK_TIMEOUT = 0.5

_DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

# what no waiting mends: a schema, a right or a password that is not there
_LASTING = ("28", "3D", "3F", "42")
# a connection on which these came is as good as before, when its transaction is rolled back
_HARMLESS = ("55P03", "57014", "40001", "40P01")


class PostgresTransact:
    """Transact over an engine of asyncpg's connections."""

    def __init__(self, writer: AsyncEngine, *, timeout: float = TRANSACTION_TIMEOUT) -> None:
        self._writer = writer
        self._timeout = timeout

    async def __call__(self, steps: Steps[T]) -> T:
        try:
            async with self._writer.connect() as connection:
                driver: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection
                transaction = _Transaction(driver, steps)
                try:
                    async with asyncio.timeout(self._timeout):
                        return await transaction.run()
                except BaseException as error:
                    if not await transaction.was_rolled_back(after=error):
                        await cut(connection)
                    if isinstance(error, _DRIVER_ERRORS):
                        raise transaction.refusal(error) from error
                    raise
        except SQLAlchemyError as error:
            raise refusal_of(error) from error


class _Transaction(Generic[T]):
    def __init__(self, driver: asyncpg.Connection, steps: Steps[T]) -> None:
        self._driver = driver
        self._steps = steps
        self._is_committing = False

    async def run(self) -> T:
        await self._driver.execute(_BEGIN)
        result = await self._run_steps()
        self._is_committing = True
        said = await self._driver.execute("COMMIT")
        if said != "COMMIT":
            raise StoreUnavailable(f"the store answered a commit by {said}")
        return result

    async def _run_steps(self) -> T:
        steps = self._steps
        try:
            ask: Ask = next(steps)
            while True:
                try:
                    rows = await rows_of(self._driver, ask)
                except (asyncpg.DataError, asyncpg.PostgresError, UnicodeEncodeError) as error:
                    if not _is_room_fault(error):
                        raise
                    ask = steps.throw(RoomFault(str(error)))
                else:
                    ask = steps.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result

    async def was_rolled_back(self, *, after: BaseException) -> bool:
        """Roll back if the connection is in a known state after this error; whether it is, and goes on."""
        code = _code_of(after)
        if self._is_committing or not (isinstance(after, RoomFault | StoreUnavailable) or code in _HARMLESS):
            return False
        try:
            async with asyncio.timeout(_ROLL_BACK_TIMEOUT):
                await self._driver.execute("ROLLBACK")
        except _DRIVER_ERRORS:
            return False
        return True

    def refusal(self, error: Exception) -> StoreUnavailable:
        if self._is_committing and not committed_nothing(error):
            return OutcomeUnknown(f"it is unclear what a commit did: {error or 'no answer'}")
        return refusal_of(error)


async def cut(connection: AsyncConnection) -> None:
    """Give a connection up without a word to the server, which may not answer any more."""
    if not connection.invalidated:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        driver.terminate()
        await connection.invalidate()


def committed_nothing(error: BaseException) -> bool:
    """Whether an error of COMMIT is certain to say that nothing was committed: the server's own, and it goes on.

    One that ends the session may come between the commit and its answer, as when the server is shut down while it waits
    for its standby.
    """
    return isinstance(error, asyncpg.PostgresError) and error.severity_en == "ERROR"


def refusal_of(error: BaseException) -> StoreUnavailable:
    """What an error means to who wanted to write, if no COMMIT was sent."""
    refused = StoreUnavailable if (_code_of(error) or "").startswith(_LASTING) else TryAgain
    return refused(f"the store could not write: {error or type(error).__name__}")


def _is_room_fault(error: BaseException) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(("22", "23"))
    return True  # a value that the driver cannot put into the column's form


def _code_of(error: Any) -> str | None:
    """The server's code, also from within SQLAlchemy's own errors."""
    code: str | None = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return code
