"""One part of a running fleet stops: what goes on, what waits, and what people are told meanwhile.

DESIGN.md's table names these tests; each stands for one row of it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from director.contract.ids import NodeName
from loadtest.client import HallClient
from tests.support.breakable_fleet import BreakableFleet, hosted
from tests.support.lecture import Lecture, all_live, lecture, nothing_is_said, owners
from tests.support.newcomer import IN_WITHIN, new_rooms_open, refusal_of

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

HOUR_MS = 3_600_000


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BreakableFleet]:
    async with hosted(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(shared_fleet: BreakableFleet) -> BreakableFleet:
    """The fleet without rooms, and ready to fail over."""
    await shared_fleet.until_empty()
    await shared_fleet.let_fail_over()
    return shared_fleet


async def busiest_node(at: Lecture) -> tuple[NodeName, set[str]]:
    """The node with the most of the lecture's rooms, and these rooms."""
    at_nodes: dict[str, set[str]] = {}
    for room in at.rooms:
        at_nodes.setdefault((await at.about(room))["owner"], set()).add(room)
    node = max(at_nodes, key=lambda name: (len(at_nodes[name]), name))
    assert len(at_nodes) > 1, "there must be rooms elsewhere that are not to notice"
    return NodeName(node), at_nodes[node]


async def are_back(at: Lecture, rooms: set[str]) -> None:
    """The members of these rooms are live, and what is said reaches them."""
    members = at.members_in(rooms)
    await asyncio.gather(*(member.live(IN_WITHIN) for member in members))
    heads = {member.room: member.position for member in at.speakers}
    for member in members:
        head = heads[member.room]
        assert head is not None
        assert await member.reached(head.seq, IN_WITHIN)


async def have_parted(at: Lecture, rooms: set[str]) -> None:
    """Somebody of each of these rooms has lost its connection."""
    async with asyncio.timeout(IN_WITHIN):
        while not rooms <= {parting.room for parting in at.partings}:
            await at.said(1)


async def test_a_node_that_is_killed_costs_its_own_rooms_a_moment(fleet: BreakableFleet) -> None:
    async with lecture(fleet, "killed") as at:
        node, stricken = await busiest_node(at)
        at.excuse(stricken)
        before = {room: await at.about(room) for room in stricken}
        fleet.kill(node)
        await at.said(30)
        await new_rooms_open(fleet.director_url, "killed")
        await are_back(at, stricken)
        for room in stricken:
            assert (await at.about(room))["epoch"] > before[room]["epoch"]
        await at.drop_and_come_back()


async def test_a_node_that_is_frozen_keeps_its_rooms_until_its_lease_has_lapsed(fleet: BreakableFleet) -> None:
    """Its port accepts and says nothing: that proves no death. Whoever asks is told to ask again."""
    async with lecture(fleet, "frozen") as at:
        node, stricken = await busiest_node(at)
        at.excuse(stricken)
        before = {room: await at.about(room) for room in stricken}
        with fleet.frozen(node):
            one = min(stricken)
            told = (await at.http.get("/route", params={"room": one, "user": "u", "failed": node})).json()
            assert told["ok"] or told["error"]["code"] == "OWNER_UNCONFIRMED"
            assert not told["ok"] or told["epoch"] > before[one]["epoch"]
            await asyncio.gather(*(member.drop() for member in at.members_in(stricken)))
            await at.said(30)
            await new_rooms_open(fleet.director_url, "frozen")
            await are_back(at, stricken)
            for room in stricken:
                about = await at.about(room)
                assert about["owner"] != node
                assert about["epoch"] > before[room]["epoch"]
        await at.until(all_live, "the node is back as another, and nobody followed it")
        await at.drop_and_come_back()


async def test_a_node_that_vanishes_without_a_word_is_replaced_when_its_lease_has_lapsed(
    fleet: BreakableFleet,
) -> None:
    """As a machine that lost its network: nobody is refused, nobody is answered, and the node itself lives on."""
    async with lecture(fleet, "vanished") as at:
        node, stricken = await busiest_node(at)
        at.excuse(stricken)
        ground = fleet.ground
        ways = [ground.to_node(node), ground.to_probe(node), *ground.ways_to_redis(node)]
        for way in ways:
            way.swallow()
        try:
            one = min(stricken)
            told = (await at.http.get("/route", params={"room": one, "user": "u", "failed": node})).json()
            assert told["error"]["code"] == "OWNER_UNCONFIRMED"
            await asyncio.gather(*(member.drop() for member in at.members_in(stricken)))
            await at.said(30)
            await are_back(at, stricken)
            await new_rooms_open(fleet.director_url, "vanished")
            for room in stricken:
                assert (await at.about(room))["owner"] != node
        finally:
            for way in ways:
                way.restore()
        await at.until(all_live, "all owners live")
        await at.drop_and_come_back()


async def test_a_node_that_is_cut_off_from_redis_serves_until_its_rooms_are_given_to_others(
    fleet: BreakableFleet,
) -> None:
    """It goes on by the store's word; the store's row tells it that it was replaced, and it sends its members there."""
    async with lecture(fleet, "cut-off") as at:
        node, stricken = await busiest_node(at)
        at.excuse(stricken)
        ways = fleet.ground.ways_to_redis(node)
        for way in ways:
            way.swallow()
        try:
            await at.said(30)
            await at.until(lambda all_told: all(about["owner"] != node for about in all_told), "others have its rooms")
            await have_parted(at, stricken)
            await are_back(at, stricken)
            told = {parting.why for parting in at.partings if parting.room in stricken}
            assert told == {"NOT_OWNER"}, told
            await new_rooms_open(fleet.director_url, "cut-off")
        finally:
            for way in ways:
                way.restore()
        await at.until(all_live, "all owners live")
        await at.drop_and_come_back()


async def test_a_node_that_is_cut_off_from_its_clients_keeps_its_rooms_and_they_come_back_afterwards(
    fleet: BreakableFleet,
) -> None:
    """It lives, and the directors see that: rooms are not taken from a node because of somebody's network."""
    async with lecture(fleet, "unreached") as at:
        node, stricken = await busiest_node(at)
        at.excuse(stricken)
        before = {room: await at.about(room) for room in at.rooms}
        way = fleet.ground.to_node(node)
        way.swallow()
        try:
            await at.said(30)
            members = at.members_in(stricken)
            await asyncio.gather(*(member.drop() for member in members))
            one = min(stricken)
            answer = (await at.http.get("/route", params={"room": one, "user": "u", "failed": node})).json()
            assert (answer["node"], answer["epoch"]) == (node, before[one]["epoch"]), "it lives"
            assert not any(member.is_live for member in members), "nobody of them is back"
            async with HallClient(fleet.director_url, "unreached-elsewhere", user="new") as new:
                if (await at.about("unreached-elsewhere"))["owner"] != node:
                    await new.live(IN_WITHIN)
            await at.said(30)
        finally:
            way.restore()
        await are_back(at, stricken)
        assert owners([await at.about(room) for room in at.rooms]) == owners(list(before.values()))
        await new_rooms_open(fleet.director_url, "unreached")


async def test_one_director_of_two_is_not_missed(fleet: BreakableFleet) -> None:
    async with lecture(fleet, "one-director") as at:
        with fleet.frozen("director-1"):
            await at.said(30)
        fleet.kill("director-1")
        await at.drop_and_come_back()
        await new_rooms_open(fleet.director_url, "one-director")
        await at.said(30)


async def test_without_any_director_live_rooms_go_on_and_nobody_comes_in(fleet: BreakableFleet) -> None:
    async with lecture(fleet, "no-director") as at:
        for director in fleet.ground.directors:
            fleet.kill(director)
        assert await refusal_of(fleet.director_url, "no-director-new") == "no director answers"
        await at.said(30)
        await at.drop_and_come_back()
        await new_rooms_open(fleet.director_url, "no-director")


async def test_while_the_store_is_locked_nothing_is_said_and_nothing_is_lost(fleet: BreakableFleet) -> None:
    async with lecture(fleet, "locked") as at:
        joins = {member: (member.times_started, member.times_resumed) for member in at.speakers}
        holder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtest.sqlite_grip", "hold", str(fleet.store), "60"),
            stdout=asyncio.subprocess.PIPE,
        )
        at.excuse(set(at.rooms))
        try:
            assert holder.stdout is not None
            assert await holder.stdout.readline() == b"held\n"
            await nothing_is_said(at, "locked")
        finally:
            holder.kill()
            await holder.wait()
        await at.said(30)
        assert {member: (member.times_started, member.times_resumed) for member in at.speakers} == joins
        await new_rooms_open(fleet.director_url, "locked")


async def test_a_wall_clock_an_hour_off_is_noticed_by_nobody(fleet: BreakableFleet) -> None:
    async with lecture(fleet, "clock") as at:
        for offset_ms in (HOUR_MS, -HOUR_MS):
            for node in fleet.ground.nodes:
                fleet.ground.step_clock(node, offset_ms)
            await at.said(30)
            await at.drop_and_come_back()
            await new_rooms_open(fleet.director_url, f"clock{offset_ms}")
        for node in fleet.ground.nodes:
            fleet.ground.step_clock(node, 0)
        await at.said(12)
        page = await at.listeners[0].history(limit=200)
        times = [entry.at for entry in page.entries]
        assert times == sorted(times), "the time of entries never falls"
