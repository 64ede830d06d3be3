"""A primary with a synchronous standby, and a node whose URL names both: what was acknowledged outlives the primary."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from time import monotonic

import asyncpg
import pytest

from director.contract.ids import RoomId
from director.own_postgres import NoPostgresBinaries
from persistence import migrate
from persistence.contract.store import Opened, StoreUnavailable
from persistence.engines import postgres_dsn_of
from persistence.postgres_hosts import connect_to_one, dsns_of
from persistence.store_sql import SqlStore, open_sql_store
from tests.support.postgres_pair import PostgresPair, running_pair
from tests.support.stores import open_room
from tests.support.talkers import talking

SECOND = RoomId("physics-7")


@pytest.fixture
def pair() -> Iterator[PostgresPair]:
    try:
        with running_pair() as pair:
            yield pair
    except NoPostgresBinaries as error:
        pytest.skip(f"no PostgreSQL: {error}")


@pytest.fixture
async def store(pair: PostgresPair) -> AsyncIterator[SqlStore]:
    await migrate.upgrade(pair.url)
    await pair.join()
    async with open_sql_store(pair.url) as store:
        yield store


async def test_a_primary_that_dies_takes_nothing_with_it_that_was_acknowledged(
    pair: PostgresPair, store: SqlStore
) -> None:
    async with talking(store) as talkers:
        await talkers.until_acked(50)
        pair.primary.kill()
        await talkers.until_told(3)
        with pytest.raises(StoreUnavailable):
            await open_room(store, SECOND)
        await pair.promote()
        await talkers.until_acked(50)
        assert talkers.most_waiting <= 2 * 9
        assert any("target_session_attrs" in why or "match the target" in why for why in talkers.told)
    assert isinstance(await open_room(store, SECOND), Opened)


async def test_a_primary_whose_machine_is_gone_without_a_word_is_left_for_the_standby(
    pair: PostgresPair, store: SqlStore
) -> None:
    """The silent host once used up the time for all hosts, and the standby was never asked; then each connection to the
    silent host had to be given up by itself, 3 s for each."""
    async with talking(store) as talkers:
        await asyncio.gather(*(open_room(store, RoomId(f"more-{i}")) for i in range(8)))
        await talkers.until_acked(50)
        pair.primary.pause()
        try:
            await talkers.until_told(3)
            await pair.promote()
            began_at = monotonic()
            await talkers.until_acked(20)
            assert monotonic() - began_at < 10
            assert isinstance(await open_room(store, SECOND), Opened)
            assert (await store.row_states([SECOND]))[SECOND].last_seq == 0
            talkers.fall_silent()
            await talkers.writer.close(within=30)
        finally:
            # it may not come back as a second primary
            pair.primary.kill()


async def test_while_the_standby_is_silent_nothing_is_acknowledged_and_then_all_of_it_once(
    pair: PostgresPair, store: SqlStore
) -> None:
    async with talking(store) as talkers:
        await talkers.until_acked(20)
        pair.standby.pause()
        try:
            await talkers.until_told(3)
            acked = {room: dict(those) for room, those in talkers.acked.items()}
            await talkers.until_told(9)
            assert talkers.acked == acked, "it might have been lost with the primary"
        finally:
            pair.standby.resume()
        await talkers.until_acked(20)


class TestHosts:
    def test_each_host_of_a_url_has_one_of_its_own(self) -> None:
        assert dsns_of("postgresql://ann:p%40ss@a:1,[::1]:2,c/chat?x=1") == [
            "postgresql://ann:p%40ss@a:1/chat?x=1",
            "postgresql://ann:p%40ss@[::1]:2/chat?x=1",
            "postgresql://ann:p%40ss@c/chat?x=1",
        ]
        assert dsns_of("postgresql:///chat?host=/run") == ["postgresql:///chat?host=/run"]

    async def test_what_says_most_is_told_where_none_will_do(self) -> None:
        async def connect(dsn: str) -> asyncpg.Connection:
            if "a" in dsn.rpartition("@")[2]:
                raise asyncpg.ReadOnlySQLTransactionError("a standby")
            raise asyncpg.ConnectionFailureError("nobody there")

        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connect_to_one("postgresql://u@a,c/x", connect)
        with pytest.raises(asyncpg.ConnectionFailureError):
            await connect_to_one("postgresql://u@b,c/x", connect)

    async def test_of_two_that_answer_one_is_kept_and_the_other_one_closed(self, pair: PostgresPair) -> None:
        made: list[asyncpg.Connection] = []
        both = asyncio.Barrier(2)

        async def connect(dsn: str) -> asyncpg.Connection:
            connection = await asyncpg.connect(dsn)
            made.append(connection)
            await both.wait()
            return connection

        kept = await connect_to_one(postgres_dsn_of(pair.url) or "", connect)
        assert [it.is_closed() for it in made if it is not kept] == [True]
        assert await kept.fetchval("SELECT 1") == 1
        await kept.close()
