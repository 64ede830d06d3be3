"""The store is a server, and stands still, is killed, or is cut off from one node alone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from director.contract.ids import NodeName
from loadtest.core.fault_plan import FaultKind
from tests.support.breakable_fleet import breakable_fleet
from tests.support.lecture import lecture, nothing_is_said, owners
from tests.support.newcomer import IN_WITHIN, new_rooms_open
from tests.support.postgres_server import PostgresForTests

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240)]


@pytest.fixture
async def store_url(postgres: PostgresForTests) -> AsyncIterator[str]:
    async with postgres.schema() as url:
        yield url


async def test_a_node_that_is_cut_off_from_its_store_says_nothing_and_loses_nothing(
    tmp_path: Path, store_url: str
) -> None:
    """Nobody is sent away: the store may be back in a moment, and a room is not taken from a node that lives."""
    async with (
        breakable_fleet(tmp_path, kinds={FaultKind.CUT_STORE}, store_url=store_url) as fleet,
        lecture(fleet, "cut-store") as at,
    ):
        before = {room: await at.about(room) for room in at.rooms}
        node = NodeName(before[at.rooms[0]]["owner"])
        stricken = {room for room in at.rooms if before[room]["owner"] == node}
        assert stricken < set(at.rooms), "there must be rooms elsewhere that are not to notice"
        at.excuse(stricken)
        joins = {member: (member.times_started, member.times_resumed) for member in at.speakers}
        way = fleet.ground.to_store(node)
        way.swallow()
        try:
            await at.drop_and_come_back()
            await at.said(30)
            stay = next(speaker for speaker in at.speakers if speaker.room in stricken)._stay
            assert stay is not None
            answer = await stay.call("send", {"cid": "one-more", "text": "does anybody hear me?"})
            assert answer["error"]["code"] == "STORE_UNAVAILABLE"
            await new_rooms_open(fleet.director_url, "cut-store")
            assert node not in {(await at.about(f"cut-store-new-{number}"))["owner"] for number in range(6)}
        finally:
            way.restore()
        await asyncio.gather(*(member.live(IN_WITHIN) for member in at.members_in(stricken)))
        await at.said(30)
        assert owners([await at.about(room) for room in at.rooms]) == owners(list(before.values()))
        assert {member: (member.times_started, member.times_resumed) for member in at.speakers} == joins


@pytest.mark.parametrize("fault", ["stands-still", "killed"])
async def test_while_the_store_s_server_is_away_nothing_is_said_and_nothing_is_lost(
    tmp_path: Path, store_url: str, postgres: PostgresForTests, fault: str
) -> None:
    server = postgres.breakable
    async with breakable_fleet(tmp_path, kinds=(), store_url=store_url) as fleet, lecture(fleet, fault) as at:
        joins = {member: (member.times_started, member.times_resumed) for member in at.speakers}
        at.excuse(set(at.rooms))
        if fault == "killed":
            server.kill()
        else:
            server.pause()
        try:
            await nothing_is_said(at, fault)
        finally:
            if fault == "killed":
                server.start()  # by the main thread: it dies with whoever started it
            else:
                server.resume()
        await at.said(30)
        assert {member: (member.times_started, member.times_resumed) for member in at.speakers} == joins
        await new_rooms_open(fleet.director_url, fault)
