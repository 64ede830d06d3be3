"""A fleet whose Redis is paused, killed, emptied or failed over: live rooms do not notice, and who drops comes back."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from loadtest.client import HallClient
from tests.support.fleet import Fleet, running_fleet
from tests.support.lecture import SETTLED_WITHIN, all_live, lecture, owners
from tests.support.newcomer import new_rooms_open, refusal_of
from tests.support.sentinel_set import HAS_SENTINEL, sentinel_set
from tests.support.valkey_server import ValkeyServer, valkey

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(180)]


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer]:
    if request.param == "redis" and not shutil.which("redis-server"):
        pytest.skip("no redis-server")
    with valkey("redis-server" if request.param == "redis" else None) as server:
        yield server


@pytest.fixture(scope="module")
def fleet(server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(nodes=2, data=tmp_path_factory.mktemp("fleet"), env={"HALL_REDIS_URL": server.url}) as fleet:
        yield fleet


async def test_half_a_minute_without_an_answer_from_redis_costs_nobody_a_connection(
    fleet: Fleet, server: ValkeyServer
) -> None:
    """Its leases have all lapsed then, and nobody was dead."""
    async with lecture(fleet, "paused") as at:
        before = [await at.about(room) for room in at.rooms]
        server.pause()
        try:
            paused_at = asyncio.get_running_loop().time()
            await at.said(6 * 40)
            await at.drop_and_come_back()
            assert await refusal_of(fleet.director_url, "paused-new") == "OWNER_UNCONFIRMED"
            while asyncio.get_running_loop().time() < paused_at + 30:
                await at.said(6)
        finally:
            server.resume()
        await at.drop_and_come_back()
        await at.until(all_live, "the nodes are back")
        await at.said(60)
        await at.until(lambda told: owners(told) == owners(before), "the owners are the same")
        async with HallClient(fleet.director_url, "a-new-room", user="late") as late:
            await late.live(SETTLED_WITHIN)


async def test_a_redis_that_is_emptied_while_it_runs_is_told_who_owns_what(fleet: Fleet, server: ValkeyServer) -> None:
    async with lecture(fleet, "wiped") as at:
        before = [await at.about(room) for room in at.rooms]
        server.wipe()
        await at.drop_and_come_back()
        await at.said(30)
        await at.until(lambda told: owners(told) == owners(before), "the nodes have told")
        await at.until(all_live, "the nodes live")
        await new_rooms_open(fleet.director_url, "wiped")


async def test_a_redis_that_comes_back_empty_is_told_who_owns_what(fleet: Fleet, server: ValkeyServer) -> None:
    async with lecture(fleet, "emptied") as at:
        before = [await at.about(room) for room in at.rooms]
        server.kill()
        await at.said(30)
        await at.drop_and_come_back()
        assert await refusal_of(fleet.director_url, "born-before") == "OWNER_UNCONFIRMED"
        server.start()
        await at.drop_and_come_back()
        await at.until(lambda told: owners(told) == owners(before), "the nodes have told")
        await at.until(all_live, "the nodes live")
        async with HallClient(fleet.director_url, "born-after", user="late") as late:
            await late.live(SETTLED_WITHIN)
        born = await at.about("born-after")
        assert born["epoch"] > max(room["epoch"] for room in before), "epochs never go back"


async def test_a_redis_that_is_killed_and_comes_back_with_its_data_is_as_if_it_had_never_gone(tmp_path: Path) -> None:
    with running_fleet(nodes=2, data=tmp_path) as fleet:
        async with lecture(fleet, "killed") as at:
            before = [await at.about(room) for room in at.rooms]
            for _ in range(2):
                former = fleet.kill("redis")
                await at.drop_and_come_back()
                await asyncio.to_thread(fleet.wait_until_restarted, "redis", former=former)
            await at.said(60)
            await at.until(lambda told: owners(told) == owners(before), "the owners are the same")
            await at.until(all_live, "the nodes live")


@pytest.mark.skipif(not HAS_SENTINEL, reason="redis-sentinel is not installed")
async def test_a_failover_by_sentinel_that_lost_writes_is_made_good_by_the_nodes(tmp_path: Path) -> None:
    async with sentinel_set(tmp_path) as servers, fleet_over(servers.url, tmp_path / "fleet") as fleet:  # noqa: SIM117 - the second lecture begins after writes are lost
        async with lecture(fleet, "known") as known:
            before = [await known.about(room) for room in known.rooms]
            servers.lose_writes()
            async with lecture(fleet, "forgotten") as forgotten:
                unsaved = [await forgotten.about(room) for room in forgotten.rooms]
                async with Redis(port=servers.replica.port) as replica:
                    assert await replica.exists(*("{hall}:room:" + room for room in known.rooms)) == len(known.rooms)
                    assert await replica.exists(*("{hall}:room:" + room for room in forgotten.rooms)) == 0
                servers.master.kill()
                for at in (known, forgotten):
                    await at.drop_and_come_back()
                await known.until(lambda told: owners(told) == owners(before), "the owners are the same")
                await forgotten.until(lambda told: owners(told) == owners(unsaved), "the nodes have told")
                async with HallClient(fleet.director_url, "born-after", user="late") as late:
                    await late.live(SETTLED_WITHIN)
                born = await known.about("born-after")
                assert born["epoch"] > max(room["epoch"] for room in unsaved), "epochs never go back"


@asynccontextmanager
async def fleet_over(redis_url: str, data: Path) -> AsyncIterator[Fleet]:
    """A fleet on somebody else's Redis, without holding up the loop."""
    context = running_fleet(nodes=2, data=data, env={"HALL_REDIS_URL": redis_url})
    fleet = await asyncio.to_thread(context.__enter__)
    try:
        yield fleet
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
