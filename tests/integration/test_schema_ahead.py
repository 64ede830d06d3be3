"""A fleet goes on while its store is upgraded: this release works on a newer schema that is made for such as it
(persistence/core/schema_fit), and stays away from one that is not."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from director.contract.ids import Seq
from persistence import migrate
from persistence.contract.store import Appended
from persistence.engines import open_engines
from persistence.schema import REVISIONS
from persistence.store_sql import open_sql_store
from tests.support.stores import ROOM, all_entries, append, deleted, numbers, open_room, said, store_url

EXPANSION = (
    "ALTER TABLE entries ADD COLUMN edited_at BIGINT",
    "ALTER TABLE rooms ADD COLUMN colour VARCHAR(16) NOT NULL DEFAULT 'blue'",
    "CREATE TABLE pins (room VARCHAR(128) NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (room, seq))",
    "CREATE INDEX ix_entries_at ON entries (at)",
)


async def expand(url: str, version: str) -> None:
    """What the next release's first migration would do."""
    engines = open_engines(url)
    async with engines.writer.begin() as connection:
        for statement in EXPANSION:
            await connection.exec_driver_sql(statement)
        await connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
    await engines.close()


@pytest.fixture
async def url(tmp_path: Path) -> str:
    url = store_url(tmp_path)
    await migrate.upgrade(url)
    return url


async def test_a_store_may_be_expanded_under_a_release_that_is_at_work(url: str) -> None:
    async with open_sql_store(url) as store:
        await open_room(store)
        await append(store, said("a"), said("b"))
        await expand(url, f"0900_for_{REVISIONS[-1][:4]}")
        assert numbers(await append(store, said("c", reply_to=1), deleted("d", 2))) == [3, 4]
        await open_room(store, epoch=2)
        assert isinstance((await append(store, said("e"), epoch=2))[0], Appended)
    async with open_sql_store(url) as anew:
        assert [it.seq for it in await all_entries(anew)] == [1, 2, 3, 4, 5]
        page = await anew.read_before(ROOM, before=Seq(3), limit=2, max_bytes=9_999)
        assert [it.seq for it in page.entries] == [1, 2]


async def test_such_a_store_fits_and_is_not_taken_back(url: str) -> None:
    version = f"0900_for_{REVISIONS[-1][:4]}"
    await expand(url, version)
    assert await migrate.schema_problem(url) is None
    await migrate.upgrade(url)
    engines = open_engines(url)
    async with engines.reader.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT version_num FROM alembic_version")).scalar() == version
    await engines.close()


async def test_a_node_starts_on_it_again(url: str) -> None:
    """A node of the former release that crashes in the middle of an upgrade must come back."""
    await expand(url, f"0900_for_{REVISIONS[-1][:4]}")
    async with node_on(url) as node:
        assert await said_by(node, "lease_unanswered"), "it runs, and looks for Redis"


@pytest.mark.parametrize("version", ["0900", "0900_for_0899"])
async def test_a_node_refuses_what_is_not_for_it_and_says_what_to_do(url: str, version: str) -> None:
    await expand(url, version)
    async with node_on(url) as node:
        output = (await asyncio.wait_for(node.communicate(), 60))[0].decode()
    assert node.returncode == 1
    assert "start the newer release" in output


async def test_a_node_refuses_a_store_without_tables_and_says_what_to_do(tmp_path: Path) -> None:
    async with node_on(store_url(tmp_path)) as node:
        output = (await asyncio.wait_for(node.communicate(), 60))[0].decode()
    assert node.returncode == 1
    assert "hall store upgrade --store" in output


@asynccontextmanager
async def node_on(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A real node over the store, whose Redis is not there; ended with the block."""
    settings = {
        "HALL_DEMO": "1",
        "HALL_STORE_URL": url,
        "HALL_DATA": str(Path(url.partition("///")[2]).parent),
        "HALL_REDIS_URL": "redis://127.0.0.1:1/0",
        "HALL_NODE_PORT": "0",
    }
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "shard_node.app"),
        env={**{name: it for name, it in os.environ.items() if not name.startswith("HALL_")}, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield node
    finally:
        if node.returncode is None:
            node.send_signal(signal.SIGKILL)
            await node.communicate()


async def said_by(node: asyncio.subprocess.Process, words: str) -> bool:
    """Whether the node writes a line with these words before it ends."""
    assert node.stdout is not None
    async with asyncio.timeout(60):
        async for line in node.stdout:
            if words in line.decode():
                return True
    return False
