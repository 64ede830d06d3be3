"""PostgreSQL out of order in every way while people talk: what was acknowledged is there once, who was not heard is
told so and his retry succeeds, and all goes on by itself."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import asyncpg
import pytest

from director.contract.ids import RoomId
from loadtest.fault_proxy import FaultProxy
from persistence import migrate, postgres_engine
from persistence.contract.store import Duplicate, Opened, OutcomeUnknown, StoreUnavailable
from persistence.engines import Engines, open_engines, postgres_dsn_of
from persistence.postgres_transact import PostgresTransact, cut
from persistence.store_sql import SqlStore, open_sql_store
from tests.support.postgres_server import PostgresForTests, with_setting
from tests.support.store_faults import STRICKEN, Moment, hooked, running
from tests.support.stores import ROOM, all_entries, append, batch_of, numbers, open_room, said
from tests.support.talkers import talking

SECOND = RoomId("physics-7")
QUICK = 0.3


@pytest.fixture
async def url(postgres: PostgresForTests) -> AsyncIterator[str]:
    async with postgres.schema() as url:
        await migrate.upgrade(url)
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    async with open_sql_store(url) as store:
        yield store


@asynccontextmanager
async def server_of(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Another session, which nothing of ours limits."""
    connection = await asyncpg.connect(postgres_dsn_of(url))
    try:
        yield connection
    finally:
        await connection.close()


class TestOut:
    """The server is not there for everybody."""

    async def test_a_server_that_stands_still_is_given_up_and_found_again(
        self, store: SqlStore, postgres: PostgresForTests
    ) -> None:
        own = postgres.breakable
        async with talking(store) as talkers:
            await talkers.until_acked(10)
            own.pause()
            try:
                await talkers.until_told(9)
                began_at = monotonic()
                with pytest.raises(StoreUnavailable):
                    await store.row_states([ROOM])
                with pytest.raises(StoreUnavailable):
                    await open_room(store, SECOND)
                assert monotonic() - began_at < 15
            finally:
                own.resume()
            await talkers.until_acked(20)
            assert max(talkers.told_after) < 15
            assert talkers.most_waiting <= 2 * 9, "nobody waits in a queue who was told to come again"
        assert isinstance(await open_room(store, SECOND), Opened)

    async def test_a_server_that_is_killed_and_started_again_loses_nothing(
        self, store: SqlStore, postgres: PostgresForTests
    ) -> None:
        own = postgres.breakable
        async with talking(store) as talkers:
            await talkers.until_acked(10)
            own.kill()
            try:
                await talkers.until_told(3)
            finally:
                own.start()
            await talkers.until_acked(20)

    async def test_after_a_restart_reads_and_openings_need_no_second_call(
        self, store: SqlStore, postgres: PostgresForTests
    ) -> None:
        own = postgres.breakable
        async with talking(store) as talkers:
            await talkers.until_acked(10)
            assert await store.row_states(talkers.rooms), "readers are connected"
            own.stop()
            own.start()
            assert await store.row_states(talkers.rooms), "a read whose connection has died is tried once more"
            assert isinstance(await open_room(store, SECOND), Opened)
            await talkers.until_acked(20)

    async def test_a_server_that_takes_no_writes_for_a_while_is_asked_again(
        self, store: SqlStore, postgres: PostgresForTests
    ) -> None:
        """So it looks from a node while a standby becomes the primary, and on some a disk that is nearly full."""
        assert postgres.breakable
        async with talking(store) as talkers:
            await talkers.until_acked(10)
            await postgres.run("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
            try:
                await talkers.until_told(3)
                assert await all_entries(store, talkers.rooms[0]), "reading goes on"
            finally:
                await postgres.run("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
            await talkers.until_acked(20)
            assert any("read-only" in why for why in talkers.told)

    async def test_all_sessions_ended_by_an_operator_are_no_more_than_a_hiccup(
        self, store: SqlStore, url: str, postgres: PostgresForTests
    ) -> None:
        assert postgres.breakable
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lecturehall'"
        async with server_of(url) as server, talking(store) as talkers:
            for _ in range(5):
                await talkers.until_acked(10)
                assert await server.fetch(ended)
            await talkers.until_acked(20)


class TestRefused:
    """The server refuses what it was asked, for a while."""

    @pytest.mark.parametrize(
        ("code", "what"),
        [
            ("53100", "the disk is full"),
            ("40001", "transactions cannot be put in order"),
            ("40P01", "transactions wait for each other"),
            ("57014", "a statement took too long"),
            ("53200", "memory is short"),
            ("XX000", "something that nobody has foreseen"),
        ],
    )
    async def test_what_was_refused_is_written_when_it_can_be(
        self, store: SqlStore, url: str, code: str, what: str
    ) -> None:
        async with server_of(url) as server, talking(store) as talkers:
            await talkers.until_acked(10)
            await server.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '{what}' USING ERRCODE = '{code}'; END $$;"
                "CREATE TRIGGER refuse BEFORE INSERT ON entries FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
            )
            await talkers.until_told(3)
            assert all(what in why for why in talkers.told)
            await server.execute("DROP TRIGGER refuse ON entries")
            await talkers.until_acked(20)

    async def test_a_ring_of_waiting_transactions_is_broken_and_the_batch_repeated(self, url: str) -> None:
        soon = with_setting(url, "deadlock_timeout", "50ms")
        async with server_of(url) as other, open_sql_store(soon, lock_timeout=5) as store:
            for room in (ROOM, SECOND):
                await open_room(store, room)
            await other.execute("SET deadlock_timeout = '1min'; BEGIN")
            await other.execute(f"SELECT FROM rooms WHERE room = '{SECOND}' FOR UPDATE")
            batch = asyncio.create_task(store.append_batch([batch_of(said("a"), room=it) for it in (ROOM, SECOND)]))
            # until the batch has the first room and waits for the second one
            async with server_of(url) as third:
                while not await third.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    assert not batch.done()
            ring = asyncio.create_task(other.execute(f"SELECT FROM rooms WHERE room = '{ROOM}' FOR UPDATE"))
            with pytest.raises(StoreUnavailable, match="deadlock"):
                await batch
            await ring
            await other.execute("ROLLBACK")
            for room in (ROOM, SECOND):
                assert numbers(await append(store, said("a"), room=room)) == [1]


class TestUnclear:
    """COMMIT was sent, and nothing came back."""

    @pytest.fixture
    async def proxy(self, postgres: PostgresForTests) -> AsyncIterator[FaultProxy]:
        async with FaultProxy(("127.0.0.1", postgres.breakable.port)) as proxy:
            yield proxy

    def through(self, proxy: FaultProxy, url: str, postgres: PostgresForTests) -> Engines:
        """Engines whose writer, which has little patience, goes through the proxy."""
        port = f":{postgres.breakable.port}/"
        dsn = postgres_dsn_of(url.replace(port, f":{proxy.port}/"))
        assert dsn is not None
        timeouts = postgres_engine.Timeouts(lock=0.5)
        writer = postgres_engine.open_writer(dsn, timeouts)
        reader = postgres_engine.open_reader(dsn, timeouts)
        return Engines(writer, reader, PostgresTransact(writer, timeout=QUICK), cut, 5)

    @pytest.mark.parametrize("fault", ["the answer is lost", "the commit is lost", "the connection is reset"])
    async def test_an_unclear_commit_is_settled_and_told_as_if_nothing_had_been(
        self, fault: str, url: str, proxy: FaultProxy, postgres: PostgresForTests
    ) -> None:
        strikes: list[Moment] = []

        def strike(moment: Moment) -> None:
            # the first commits are those of the rooms' openings
            if moment == "COMMIT":
                strikes.append(moment)
                if len(strikes) in (5, 8, 11):
                    match fault:
                        case "the answer is lost":
                            proxy.swallow(toward=False)
                        case "the commit is lost":
                            proxy.swallow()
                        case _:
                            asyncio.get_running_loop().call_soon(proxy.reset)
            elif moment == "BEGIN":
                proxy.restore()

        unclear: list[OutcomeUnknown] = []

        class Noting(SqlStore):
            async def append_batch(self, batches):  # type: ignore[no-untyped-def]
                try:
                    return await super().append_batch(batches)
                except OutcomeUnknown as error:
                    unclear.append(error)
                    raise

        async with Noting(hooked(self.through(proxy, url, postgres), strike)) as store, talking(store) as talkers:
            while len(unclear) < 3:
                await talkers.until_acked(5)
            await talkers.until_acked(20)
            assert talkers.told == []

    async def test_absent_is_not_final_before_the_row_s_lock_is_had(self, url: str, store: SqlStore) -> None:
        """A COMMIT is on its way, its sender has given up, and who looks without a lock sees nothing."""
        reached, over = threading.Event(), threading.Event()

        def stop(moment: Moment) -> None:
            if moment == "COMMIT":
                reached.set()
                assert over.wait(60)

        async def commit_late() -> None:
            async with SqlStore(hooked(open_engines(url), stop)) as late:
                assert numbers(await append(late, said("a"))) == [1]

        await open_room(store)
        on_its_way = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(commit_late())))
        assert await asyncio.to_thread(reached.wait, 60)
        assert await store.find(ROOM, author=said("a").by.id, cid="a") is None
        with pytest.raises(StoreUnavailable) as locked:
            await append(store, said("a"))
        assert not isinstance(locked.value, OutcomeUnknown)
        over.set()
        async with open_sql_store(url, lock_timeout=60) as patient:
            assert isinstance((await append(patient, said("a")))[0], Duplicate)
        await on_its_way


class TestOthers:
    """Other sessions, and other work of our own."""

    async def test_the_rooms_of_a_process_frozen_in_a_transaction_are_free_within_seconds(
        self, url: str, store: SqlStore
    ) -> None:
        async with running(STRICKEN, url, "MoveRooms", "SIGSTOP") as frozen:
            assert await frozen.word() == "at MoveRooms"
            await frozen.until_stopped()
            opened = await open_room(store, epoch=2, incarnation="inc-2")
            assert isinstance(opened, Opened)
            assert opened.state.last_seq == 0
            frozen.signal(signal.SIGCONT)
            assert await frozen.end() == 1, "it was told that nothing was committed"
            assert await all_entries(store) == []

    async def test_a_room_that_somebody_holds_delays_no_other_room(self, url: str, store: SqlStore) -> None:
        for room in (ROOM, SECOND):
            await open_room(store, room)
        async with server_of(url) as holder:
            await holder.execute(f"BEGIN; UPDATE rooms SET epoch = 5 WHERE room = '{ROOM}'")
            opening = asyncio.create_task(open_room(store, epoch=6))
            for i in range(5):
                assert numbers(await append(store, said(f"c{i}"), room=SECOND)) == [i + 1]
            assert not opening.done()
            with pytest.raises(StoreUnavailable) as refused:
                await append(store, said("a"))
            assert not isinstance(refused.value, OutcomeUnknown)
            await holder.execute("COMMIT")
            assert isinstance(await opening, Opened)

    async def test_readers_that_take_all_their_connections_delay_no_commit(self, url: str) -> None:
        engines = open_engines(url)
        async with SqlStore(engines) as store:
            await open_room(store)
            async with asyncio.TaskGroup() as tasks:
                busy = [
                    tasks.create_task(engines.reader.connect().__aenter__()) for _ in range(postgres_engine.MAX_READERS)
                ]
                connections = [await it for it in busy]
                assert numbers(await append(store, said("a"))) == [1]
                with pytest.raises(StoreUnavailable):
                    await store.row_states([ROOM])
                for connection in connections:
                    await connection.close()
            assert (await store.row_states([ROOM]))[ROOM].last_seq == 1
