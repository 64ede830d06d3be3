"""The fence against time: a batch is stopped between the check of its owner and its insert, while a second process
fences the room (design, section 3). Each trap that was met is shown beside what keeps us out of it.

SQLite: left to themselves, SQLAlchemy and aiosqlite send no BEGIN before the first SELECT, and the old owner's entries
are committed after the fence. PostgreSQL: without the row's lock the same; and what is read in one statement with the
fence, or in a transaction of a higher level, is the last number of before.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from director.contract.ids import Epoch
from persistence import migrate, postgres_engine, postgres_statements, sqlite_transact
from persistence.asks import AddEntries
from persistence.contract.store import Fenced, Outcome, StoreUnavailable
from persistence.engines import Engines, open_engines, postgres_dsn_of
from persistence.postgres_transact import PostgresTransact, cut
from persistence.store_sql import SqlStore, open_sql_store
from tests.support.postgres_server import PostgresForTests, with_setting
from tests.support.store_faults import Moment, hooked
from tests.support.stores import ROOM, all_entries, append, numbers, open_room, said, store_url

PATIENCE = 30.0

FENCER = """
import asyncio, sys
from persistence.contract.store import StoreUnavailable
from persistence.engines import open_engines
from persistence.store_sql import SqlStore
from tests.support.stores import open_room

async def fence() -> None:
    async with SqlStore(open_engines(sys.argv[1], lock_timeout=0.1), open_within=0.2) as store:
        print("ready", flush=True)
        sys.stdin.readline()
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
    """Stops a batch before its entries are added, that is after it has checked their owner."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.over = threading.Event()

    def __call__(self, moment: Moment) -> None:
        if isinstance(moment, AddEntries):
            self.reached.set()
            assert self.over.wait(PATIENCE)


@asynccontextmanager
async def fencer(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A second process that opens the room with the next epoch when it is told to, trying again while it is locked."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FENCER, url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def word(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().strip()


def patient_engines(url: str) -> Engines:
    """As a node's, but a server lets a transaction stand still for as long as this test needs."""
    dsn = postgres_dsn_of(url)
    if dsn is None:
        return open_engines(url)
    timeouts = postgres_engine.Timeouts(lock=0.5, idle=PATIENCE)
    writer = postgres_engine.open_writer(dsn, timeouts)
    return Engines(writer, postgres_engine.open_reader(dsn, timeouts), PostgresTransact(writer, timeout=PATIENCE), cut)


async def fence_during_a_batch(
    url: str, *, plant: Callable[[], None] = lambda: None
) -> tuple[list[str], list[Outcome] | StoreUnavailable]:
    """What the second process said, first while the batch stood still and then after it, and the batch's outcomes.
    `plant` may spoil the batch."""
    pause = Pause()

    async def write() -> list[Outcome] | StoreUnavailable:
        async with SqlStore(hooked(patient_engines(url), pause)) as store:
            try:
                return await append(store, said("a"), said("b"))
            except StoreUnavailable as error:
                return error

    async with open_sql_store(url) as store:
        await open_room(store)
        await append(store, said("before"))
    async with fencer(url) as second:
        assert await word(second) == "ready"
        plant()
        # PostgreSQL's transactions are the event loop's own, which stands still with them
        batch = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(write())))
        assert await asyncio.to_thread(pause.reached.wait, PATIENCE)
        assert second.stdin is not None
        second.stdin.write(b"go\n")
        words = [await word(second)]
        pause.over.set()
        outcomes = await batch
        while not words[-1].startswith("opened"):
            words.append(await word(second))
    return words, outcomes


@pytest.fixture
async def sqlite_url(tmp_path: Path) -> str:
    url = store_url(tmp_path)
    await migrate.upgrade(url)
    return url


@pytest.fixture
async def postgres_url(postgres: PostgresForTests) -> AsyncIterator[str]:
    async with postgres.schema() as url:
        await migrate.upgrade(url)
        yield url


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


async def test_a_fence_waits_for_the_batch_before_it_and_nothing_is_committed_after_it(url: str) -> None:
    words, outcomes = await fence_during_a_batch(url)
    async with open_sql_store(url) as store:
        assert words[0] == "waits", "the second process fenced the room between the check and the insert"
        assert words[-1] == "opened 3", "the new owner has not seen all that the old one had committed"
        assert isinstance(outcomes, list)
        assert numbers(outcomes) == [2, 3]
        assert await append(store, said("c")) == [Fenced(Epoch(2))]
        assert [entry.cid for entry in await all_entries(store)] == ["before", "a", "b"]
        assert [it.first_seq for it in await store.read_owners(ROOM)] == [1, 4]


async def entries_after_the_fence(url: str) -> list[str]:
    """The cids of entries that the first owner committed above the number at which the second one begins."""
    async with open_sql_store(url) as store:
        begins_at = (await store.read_owners(ROOM))[-1].first_seq
        return [entry.cid for entry in await all_entries(store) if entry.seq >= begins_at]


async def test_without_our_begin_the_fence_is_void(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above proves is not proved by chance."""

    def plant() -> None:
        monkeypatch.setattr(sqlite_transact, "BEGIN", "SELECT 'no BEGIN at all'")

    words, _ = await fence_during_a_batch(sqlite_url, plant=plant)
    monkeypatch.undo()
    assert words == ["opened 1"], "the second process did not wait"
    assert await entries_after_the_fence(sqlite_url) == ["a", "b"]


async def test_without_the_row_s_lock_the_fence_is_void(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unlocked = postgres_statements._LOCK_ROOMS.removesuffix(" FOR NO KEY UPDATE")
    monkeypatch.setattr(postgres_statements, "_LOCK_ROOMS", unlocked)
    words, outcomes = await fence_during_a_batch(postgres_url)
    assert words == ["opened 1"], "the second process did not wait"
    assert isinstance(outcomes, list)
    assert numbers(outcomes) == [2, 3], "the old owner committed after the fence"
    assert await entries_after_the_fence(postgres_url) == ["a", "b"]


class TestLevels:
    """PostgreSQL: what a statement sees that has waited for a row."""

    async def last_number_seen(self, url: str, level: str, fence: str) -> int | None:
        """What a fencing statement gives that waits for a batch which moves the last number from 0 to 5."""
        dsn = postgres_dsn_of(url)
        first, second, third = [await asyncpg.connect(dsn) for _ in range(3)]
        try:
            async with open_sql_store(url) as store:
                await open_room(store)
            await first.execute("BEGIN; UPDATE rooms SET last_seq = 5")
            await second.execute(f"BEGIN ISOLATION LEVEL {level}")
            waiting = asyncio.create_task(second.fetchval(fence))
            while not await third.fetchval("SELECT 1 FROM pg_locks WHERE NOT granted"):
                assert not waiting.done()
            await first.execute("COMMIT")
            seen: int | None = await waiting
            return seen
        finally:
            for connection in (first, second, third):
                await connection.close()

    async def test_a_row_that_was_waited_for_is_seen_as_it_was_left(self, postgres_url: str) -> None:
        fence = postgres_statements._LOCK_ROOMS.replace("SELECT room, log", "SELECT last_seq, room, log")
        fence = fence.replace("$1::text[]", f"ARRAY['{ROOM}']")
        assert await self.last_number_seen(postgres_url, "READ COMMITTED", fence) == 5

    async def test_one_statement_that_reads_and_fences_sees_the_number_of_before(self, postgres_url: str) -> None:
        fence = (
            "WITH former AS (SELECT last_seq FROM rooms) "
            "UPDATE rooms SET epoch = 2 RETURNING (SELECT last_seq FROM former)"
        )
        assert await self.last_number_seen(postgres_url, "READ COMMITTED", fence) == 0

    async def test_a_higher_level_sees_nothing_that_came_after_its_beginning(self, postgres_url: str) -> None:
        fence = postgres_statements._LOCK_ROOMS.replace("$1::text[]", f"ARRAY['{ROOM}']")
        with pytest.raises(asyncpg.SerializationError):
            await self.last_number_seen(postgres_url, "REPEATABLE READ", fence)

    async def test_our_level_holds_whatever_the_server_s_default_is(self, postgres_url: str) -> None:
        strict = with_setting(postgres_url, "default_transaction_isolation", "serializable")
        engines = open_engines(strict)
        try:
            for engine in (engines.writer, engines.reader):
                async with engine.connect() as connection:
                    assert await connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        finally:
            await engines.close()
        words, _ = await fence_during_a_batch(strict)
        assert words[-1] == "opened 3"


async def test_every_writing_transaction_begins_with_the_lock(sqlite_url: str) -> None:
    engines = open_engines(sqlite_url)
    begun: list[str] = []
    async with engines.writer.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.set_trace_callback(lambda statement: begun.append(" ".join(statement.split(" ")[:2])))
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
