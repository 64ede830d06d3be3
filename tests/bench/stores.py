"""Stores for benches: fresh ones of each kind that this machine has, at this release's schema."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp

from director.own_postgres import NoPostgresBinaries, PostgresFailed, running_postgres
from persistence.migrate import upgrade
from tests.bench.crowd import WORKSHOP

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
POSTGRESQL_URL = "HALL_BENCH_POSTGRESQL_URL"


class NoStore(Exception):
    """This kind of store is not to be had here; the message says why."""


@contextmanager
def fresh_store(kind: str) -> Iterator[str]:
    """The URL of an empty store on the checkout's disk, gone when the block ends. Raises NoStore."""
    if kind == POSTGRESQL:
        with _postgresql() as url:
            yield url
        return
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix="store-", dir=WORKSHOP))
    try:
        url = f"sqlite+aiosqlite:///{folder / 'store.sqlite3'}"
        asyncio.run(upgrade(url))
        yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _postgresql() -> Iterator[str]:
    """The server that was given, else one of our own that waits for the disk as any other."""
    with ExitStack() as stack:
        url = os.environ.get(POSTGRESQL_URL)
        try:
            url = url or stack.enter_context(running_postgres(durable=True)).url
            asyncio.run(upgrade(url))
        except (ValueError, NoPostgresBinaries, PostgresFailed) as error:
            raise NoStore(str(error)) from error
        yield url
