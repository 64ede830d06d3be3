"""Migration: bringing a store to this release's schema.

python -m persistence.migrate URL
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from persistence.contract.store import StoreUnavailable
from persistence.core.schema_fit import Fits, NoTables, TooNew, TooOld, judge_schema
from persistence.engines import Engines, open_engines, shown, sqlite_file_of
from persistence.schema import REVISIONS

LOCK_TIMEOUT = 5.0
"""Seconds for which an upgrade waits for its turn: nodes may be at work on the store."""

# the same among the processes that upgrade one database of a server, until the transaction ends
_ONLY_ONE = text("SELECT pg_advisory_xact_lock(hashtext('lecturehall upgrade'))")


class SchemaTooNew(Exception):
    """The store was made or upgraded by a newer release; the message says what to do."""


async def upgrade(url: str) -> None:
    """Bring the store at `url` to this release's schema, making it and its folder if they are not there.

    Any number of processes may do so at once: one does the work, the others wait for it. Costs one small read if there
    is nothing to do. Raises SchemaTooNew, StoreUnavailable, or ValueError for a URL that is not supported.
    """
    engines = open_engines(url, lock_timeout=LOCK_TIMEOUT, statement_timeout=0)
    file = sqlite_file_of(url)
    try:
        async with nullcontext() if file is None else _only_one(file):
            if _is_done(await _version(engines)):
                return
            async with engines.writer.begin() as connection:
                if file is None:
                    await connection.execute(_ONLY_ONE)
                    # another may have done the work while this one waited
                    if _is_done(await connection.run_sync(_read_version)):
                        return
                await connection.run_sync(_run_versions)
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(f"the store could not be upgraded: {error}") from error
    finally:
        await engines.close()


async def schema_problem(url: str) -> str | None:
    """Why this release cannot work with the store at `url` and what to do about it; None if it can. Changes nothing.

    Raises StoreUnavailable if the store cannot be read, ValueError for a URL that is not supported.
    """
    engines = open_engines(url)
    to_do = f"run: hall store upgrade --store '{shown(url)}'"
    file = sqlite_file_of(url)
    try:
        if file is not None and not file.exists():
            return f"there is no store at {file}; {to_do}"
        version = await _version(engines)
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(f"the store could not be read: {error}") from error
    finally:
        await engines.close()
    match judge_schema(version, known=REVISIONS):
        case Fits():
            return None
        case NoTables():
            return f"the store has no tables; {to_do}"
        case TooOld(version):
            return f"the store's schema is {version}, older than {REVISIONS[-1]} which this release needs; {to_do}"
        case TooNew(version):
            return _too_new(version)


def _too_new(version: str) -> str:
    return (
        f"the store's schema is {version}, made by a newer release; this one knows {REVISIONS[-1]} at most: "
        "start the newer release"
    )


def _is_done(version: str | None) -> bool:
    match judge_schema(version, known=REVISIONS):
        case Fits():
            return True
        case TooNew(version):
            raise SchemaTooNew(_too_new(version))
        case NoTables() | TooOld():
            return False


async def _version(engines: Engines) -> str | None:
    """The schema's version; None where there is none."""
    async with engines.reader.connect() as connection:
        return await connection.run_sync(_read_version)


def _read_version(connection: Connection) -> str | None:
    """Without Alembic, whose import costs every start-up."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _run_versions(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic reads its options through a ConfigParser, to which % is special
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])


@asynccontextmanager
async def _only_one(file: Path) -> AsyncIterator[None]:
    """Wait until no other process is in here, for this file; the lock dies with its holder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(file.with_name(file.name + ".upgrade-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


if __name__ == "__main__":
    asyncio.run(upgrade(sys.argv[1]))
