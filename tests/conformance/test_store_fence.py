"""The fence against time: a batch is stopped between the check of its owner and its insert, while a second process
fences the room (design, section 3).

Left to themselves, SQLAlchemy and aiosqlite send no BEGIN before the first SELECT, and the old owner's entries are
committed after the fence: tried, and shown by the second test here.
"""

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from director.contract.ids import Epoch
from persistence import migrate
from persistence.contract.store import Appended, Fenced, Outcome
from persistence.engines import Engines, open_engines
from persistence.store_sql import SqlStore
from tests.support.stores import ROOM, all_entries, append, numbers, open_room, said, store_url

PATIENCE = 30.0

FENCER = """
import asyncio, sys
from persistence.contract.store import StoreUnavailable
from persistence.store_sql import open_sql_store
from tests.support.stores import open_room

async def fence() -> None:
    async with open_sql_store(sys.argv[1], lock_timeout=0.1) as store:
        while True:
            try:
                opened = await open_room(store, epoch=2, incarnation="inc-2")
            except StoreUnavailable:
                print("waits", flush=True)
            else:
                print("opened", opened.state.last_seq, flush=True)
                return

asyncio.run(fence())
"""


class Pause:
    """Stops the writer of an engine before it inserts entries, that is after it has checked their owner."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.reached = asyncio.Event()
        self.over = asyncio.Event()

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def stop(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("INSERT INTO entries"):
                self.reached.set()
                await_only(asyncio.wait_for(self.over.wait(), PATIENCE))


@asynccontextmanager
async def fencer(url: str) -> AsyncIterator[asyncio.StreamReader]:
    """A second process that opens the room with the next epoch, trying again for as long as the file is locked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FENCER, url, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def word(said_by: asyncio.StreamReader) -> str:
    return (await asyncio.wait_for(said_by.readline(), PATIENCE)).decode().strip()


async def fence_during_a_batch(engines: Engines, url: str) -> tuple[list[str], list[Outcome]]:
    """What the second process said, first while the batch stood still and then after it, and the batch's outcomes."""
    store = SqlStore(engines)
    await open_room(store)
    await append(store, said("before"))
    pause = Pause(engines.writer)
    batch = asyncio.create_task(append(store, said("a"), said("b")))
    await asyncio.wait_for(pause.reached.wait(), PATIENCE)
    async with fencer(url) as second:
        words = [await word(second)]
        pause.over.set()
        outcomes = await batch
        while not words[-1].startswith("opened"):
            words.append(await word(second))
    return words, outcomes


@pytest.fixture
async def url(tmp_path: Path) -> str:
    url = store_url(tmp_path)
    await migrate.upgrade(url)
    return url


async def test_a_fence_waits_for_the_batch_before_it_and_nothing_is_committed_after_it(url: str) -> None:
    engines = open_engines(url)
    words, outcomes = await fence_during_a_batch(engines, url)
    async with SqlStore(engines) as store:
        assert words[0] == "waits", "the second process fenced the room between the check and the insert"
        assert words[-1] == "opened 3", "the new owner has not seen all that the old one had committed"
        assert numbers(outcomes) == [2, 3]
        assert await append(store, said("c")) == [Fenced(Epoch(2))]
        assert [entry.cid for entry in await all_entries(store)] == ["before", "a", "b"]
        assert [it.first_seq for it in await store.read_owners(ROOM)] == [1, 4]


@pytest.mark.parametrize("driver_begins", [True, False])
async def test_without_our_begin_the_fence_is_void(url: str, driver_begins: bool) -> None:
    """The same with the engine that one would write first: what the test above proves is not proved by chance."""
    obvious = create_async_engine(url)
    if not driver_begins:

        @event.listens_for(obvious.sync_engine, "connect")
        def autocommit(connection: object, _entry: object) -> None:
            connection.isolation_level = None  # type: ignore[attr-defined]

    ours = open_engines(url)
    engines = dataclasses.replace(ours, writer=obvious)
    words, outcomes = await fence_during_a_batch(engines, url)
    assert words == ["opened 1"], "the second process did not wait"
    assert all(isinstance(it, Appended) for it in outcomes), "the old owner committed after the fence"
    await ours.writer.dispose()
    await engines.close()


async def test_every_writing_transaction_begins_with_the_lock(url: str) -> None:
    engines = open_engines(url)
    begun: list[str] = []

    @event.listens_for(engines.writer.sync_engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        begun.append(statement.split(" ")[0] + " " + statement.split(" ")[1])

    async with SqlStore(engines) as store:
        await open_room(store)
        assert begun[0] == "BEGIN IMMEDIATE"
        begun.clear()
        await append(store, said("a"))
        assert begun[0] == "BEGIN IMMEDIATE"
        begun.clear()
        await append(store, said("b", "\ud800"))
        assert begun.count("BEGIN IMMEDIATE") == 2
        begun.clear()
        await all_entries(store)
        await store.row_states([ROOM])
        assert begun == [], "a reader used the writer's connection"
