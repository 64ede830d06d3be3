"""Migration: bringing a store to this release's schema.

python -m persistence.migrate URL
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from persistence.contract.store import StoreUnavailable
from persistence.engines import Engines, open_engines, sqlite_file_of
from persistence.schema import REVISIONS

LOCK_TIMEOUT = 5.0
"""Seconds for which an upgrade waits for its turn: nodes may be at work on the store."""


class SchemaTooNew(Exception):
    """The store was made or upgraded by a newer release; the message says what to do."""


async def upgrade(url: str) -> None:
    """Bring the store at `url` to this release's schema, making it and its folder if they are not there.

    Any number of processes may do so at once: one does the work, the others wait for it. Costs one small read if there
    is nothing to do. Raises SchemaTooNew, StoreUnavailable, or ValueError for a URL that is not supported.
    """
    engines = open_engines(url, lock_timeout=LOCK_TIMEOUT)
    path = _path_of(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        async with _only_one(path.with_name(path.name + ".upgrade-lock")):
            version = await _version(engines)
            if version == REVISIONS[-1]:
                return
            if version is not None and version not in REVISIONS:
                raise SchemaTooNew(_too_new(version))
            async with engines.writer.begin() as connection:
                await connection.run_sync(_run_versions)
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the store could not be upgraded: {error}") from error
    finally:
        await engines.close()


async def schema_problem(url: str) -> str | None:
    """Why this release cannot work with the store at `url` and what to do about it; None if it can. Changes nothing.

    Raises StoreUnavailable if the store cannot be read, ValueError for a URL that is not supported.
    """
    engines = open_engines(url)
    to_do = f"run: python -m persistence.migrate '{make_url(url).render_as_string()}'"
    try:
        if not _path_of(url).exists():
            return f"there is no store at {_path_of(url)}; {to_do}"
        version = await _version(engines)
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the store could not be read: {error}") from error
    finally:
        await engines.close()
    if version is None:
        return f"the store has no tables; {to_do}"
    if version not in REVISIONS:
        return _too_new(version)
    if version != REVISIONS[-1]:
        return f"the store's schema is {version}, older than {REVISIONS[-1]} which this release needs; {to_do}"
    return None


def _too_new(version: str) -> str:
    return (
        f"the store's schema is {version}, made by a newer release; this one knows {REVISIONS[-1]} at most: "
        "start the newer release"
    )


def _path_of(url: str) -> Path:
    path = sqlite_file_of(url)
    assert path is not None, "open_engines takes no other"
    return path


async def _version(engines: Engines) -> str | None:
    """The schema's version; None where there is none. Read without Alembic, whose import costs every start-up."""

    def read(connection: Connection) -> str | None:
        if not inspect(connection).has_table("alembic_version"):
            return None
        version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return version

    async with engines.reader.connect() as connection:
        return await connection.run_sync(read)


def _run_versions(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic reads its options through a ConfigParser, to which % is special
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])


@asynccontextmanager
async def _only_one(path: Path) -> AsyncIterator[None]:
    """Wait until no other process is in here; the lock dies with its holder."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


if __name__ == "__main__":
    asyncio.run(upgrade(sys.argv[1]))
