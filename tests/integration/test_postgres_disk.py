"""PostgreSQL's disk is really full: that of its tables, then that of its log."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import asyncpg
import pytest

from director.own_postgres import NoPostgresBinaries
from loadtest.small_disk import NoSmallDisk
from persistence import migrate
from persistence.engines import postgres_dsn_of
from persistence.store_sql import SqlStore, open_sql_store
from tests.support.postgres_on_small_disk import PostgresOnSmallDisk, running_on_small_disk
from tests.support.postgres_server import with_setting
from tests.support.stores import all_entries
from tests.support.talkers import talking


@pytest.fixture
def postgres_there() -> Iterator[PostgresOnSmallDisk]:
    try:
        with running_on_small_disk() as there:
            yield there
    except (NoPostgresBinaries, NoSmallDisk) as error:
        pytest.skip(str(error))


async def run(there: PostgresOnSmallDisk, statement: str) -> None:
    connection = await asyncpg.connect(postgres_dsn_of(there.server.url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def until_it_dies(there: PostgresOnSmallDisk) -> None:
    """Have it begin one file of its log after the other, until there is no room for one."""
    with suppress(asyncpg.PostgresError, OSError):
        while True:
            await run(there, "SELECT pg_switch_wal(); SELECT txid_current()")


class TestTables:
    @pytest.fixture
    async def store(self, postgres_there: PostgresOnSmallDisk) -> AsyncIterator[SqlStore]:
        await run(postgres_there, f"CREATE TABLESPACE small LOCATION '{postgres_there.tablespace}'")
        url = with_setting(postgres_there.server.url, "default_tablespace", "small")
        await migrate.upgrade(url)
        async with open_sql_store(url) as store:
            yield store

    async def test_senders_are_told_and_all_goes_on_when_there_is_room(
        self, store: SqlStore, postgres_there: PostgresOnSmallDisk
    ) -> None:
        async with talking(store, text="x" * 4_000) as talkers:
            await talkers.until_acked(20)
            postgres_there.fill()
            await talkers.until_told(9)
            assert await all_entries(store, talkers.rooms[0]), "reading goes on"
            postgres_there.free()
            await talkers.until_acked(50)
            assert all("No space left on device" in why for why in talkers.told)
            assert talkers.most_waiting <= 2 * 9


class TestLog:
    async def test_a_server_that_dies_of_it_is_found_again_when_it_is_started_with_room(
        self, postgres_there: PostgresOnSmallDisk
    ) -> None:
        """PostgreSQL panics where it cannot go on writing its log, and may not come up again by itself."""
        await migrate.upgrade(postgres_there.server.url)
        async with open_sql_store(postgres_there.server.url) as store, talking(store) as talkers:
            await talkers.until_acked(20)
            postgres_there.fill()
            await until_it_dies(postgres_there)
            await talkers.until_told(9)
            assert talkers.most_waiting <= 2 * 9
            postgres_there.free()
            postgres_there.restart()
            await talkers.until_acked(50)
