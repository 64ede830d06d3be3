"""A fleet whose Redis is paused, killed, emptied or failed over: live rooms do not notice, and who drops comes back."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from loadtest.client import HallClient
from tests.support.fleet import Fleet, running_fleet
from tests.support.sentinel_set import HAS_SENTINEL, sentinel_set
from tests.support.valkey_server import ValkeyServer, valkey

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(180)]

BACK_WITHIN = 12.0
SETTLED_WITHIN = 20.0
BETWEEN_MESSAGES = 0.2


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


@pytest.fixture(scope="module")
def fleet(server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(nodes=2, data=tmp_path_factory.mktemp("fleet"), env={"HALL_REDIS_URL": server.url}) as fleet:
        yield fleet


@dataclass(slots=True)
class Lecture:
    """Members of a few rooms; one in each speaks all the time, and one may drop out."""

    fleet: Fleet
    http: httpx.AsyncClient
    rooms: list[str]
    speakers: list[HallClient]
    listeners: list[HallClient]
    sent: int = 0
    spoken: asyncio.Event = field(default_factory=asyncio.Event)

    async def speak(self) -> None:
        """Send in all rooms until cancelled; a send that fails or hangs fails the test."""

        async def one(speaker: HallClient) -> None:
            while True:
                await speaker.send(f"{speaker.room} {self.sent}", timeout=8.0)
                self.sent += 1
                self.spoken.set()
                await asyncio.sleep(BETWEEN_MESSAGES)  # the pace of people

        async with asyncio.TaskGroup() as tasks:
            for speaker in self.speakers:
                tasks.create_task(one(speaker))

    async def said(self, more: int) -> None:
        """Wait until so many more messages have been acknowledged, at the pace of people."""
        target = self.sent + more
        async with asyncio.timeout(60):
            while self.sent < target:
                self.spoken.clear()
                await self.spoken.wait()

    async def drop_and_come_back(self) -> None:
        """A listener of each room loses its connection, and is back in time with all that was said."""
        await asyncio.gather(*(listener.drop() for listener in self.listeners))
        await asyncio.gather(*(listener.live(BACK_WITHIN) for listener in self.listeners))

    async def about(self, room: str) -> Any:
        answer = await self.http.get(f"/rooms/{room}", params={"user": "staff", "role": "lecturer"})
        return answer.json()

    async def until(self, holds: Callable[[list[Any]], bool], what: str) -> None:
        """Wait until something holds of what the director says of the rooms."""
        try:
            async with asyncio.timeout(SETTLED_WITHIN):
                while not holds(told := [await self.about(room) for room in self.rooms]):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)  # nobody tells when a director has learned something
        except TimeoutError:
            raise AssertionError(f"{what}: {told}\n{self.fleet.output()}") from None

    def nobody_noticed(self) -> None:
        """Every speaker has been on its first connection all the time."""
        joins = {speaker.room: (speaker.times_started, speaker.times_resumed) for speaker in self.speakers}
        assert set(joins.values()) == {(1, 0)}, f"{joins}\n{self.fleet.output()}"


@asynccontextmanager
async def lecture(fleet: Fleet, name: str) -> AsyncIterator[Lecture]:
    """A lecture in six rooms on all nodes, under way."""
    rooms = [f"{name}-{number}" for number in range(6)]
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=fleet.director_url, trust_env=False, timeout=10)
        )

        async def members(user: str) -> list[HallClient]:
            clients = [HallClient(fleet.director_url, room, user=user, rng=random.Random(room)) for room in rooms]
            for client in clients:
                await stack.enter_async_context(client)
            await asyncio.gather(*(client.live(30.0) for client in clients))
            return clients

        at = Lecture(fleet, http, rooms, await members("speaker"), await members("listener"))
        speaking = asyncio.create_task(at.speak())
        try:
            await at.said(12)
            yield at
            await at.said(12)
            at.nobody_noticed()
            heads = {speaker.room: speaker.position for speaker in at.speakers}
            for listener in at.listeners:
                head = heads[listener.room]
                assert head is not None
                assert await listener.reached(head.seq, 10.0)
        finally:
            speaking.cancel()
            outcome = (await asyncio.gather(speaking, return_exceptions=True))[0]
            assert isinstance(outcome, asyncio.CancelledError), outcome


def owners(told: list[Any]) -> list[tuple[Any, ...]]:
    return [(room["owner"], room["incarnation"], room["epoch"]) for room in told]


async def test_fifteen_seconds_without_an_answer_from_redis_cost_nobody_a_connection(
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
            while asyncio.get_running_loop().time() < paused_at + 15:
                await at.said(6)
        finally:
            server.resume()
        await at.drop_and_come_back()
        await at.until(lambda told: all(room["owner_lives"] for room in told), "the nodes are back")
        await at.said(60)
        assert owners([await at.about(room) for room in at.rooms]) == owners(before)
        await at.until(lambda told: owners(told) == owners(before), "the owners are the same")
        async with HallClient(fleet.director_url, "a-new-room", user="late") as late:
            await late.live(SETTLED_WITHIN)


async def test_a_redis_that_comes_back_empty_is_told_who_owns_what(fleet: Fleet, server: ValkeyServer) -> None:
    async with lecture(fleet, "emptied") as at:
        before = [await at.about(room) for room in at.rooms]
        server.kill()
        await at.said(30)
        await at.drop_and_come_back()
        server.start()
        await at.drop_and_come_back()
        await at.until(lambda told: owners(told) == owners(before), "the nodes have told")
        assert all(room["owner_lives"] for room in [await at.about(room) for room in at.rooms])
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
            assert all(room["owner_lives"] for room in [await at.about(room) for room in at.rooms])


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
