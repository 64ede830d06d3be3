"""Rooms that move from node to node in a real fleet, with members that talk all the time."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from director.contract.ids import NodeName, RoomId
from director.contract.ownership import Asked
from director.leases_redis import RedisNodeLeases
from director.ownership_redis import RedisRoomOwners
from director.redis_client import HallRedis
from tests.support.assembly import assembly
from tests.support.fleet import Fleet, running_fleet

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240)]

MEMBERS = 300
PATIENCE = 60.0
LONGEST_PAUSE = 5.0
"""Generous: what is measured on a quiet machine stands in BENCHMARKS.md."""


@asynccontextmanager
async def redis_of(fleet: Fleet) -> AsyncIterator[HallRedis]:
    redis = HallRedis(fleet.redis_url, random_bytes=os.urandom, silence=2.0)
    try:
        yield redis
    finally:
        await redis.close()


async def ask_move(redis: HallRedis, room: str, to: str) -> None:
    """What a director does to have a room moved."""
    owners = RedisRoomOwners(redis)
    record = await owners.room_record(RoomId(room))
    assert record is not None
    live = await RedisNodeLeases(redis).live_nodes()
    incarnation = next(it.lease.incarnation for it in live.nodes if it.lease.node == to)
    answer = await owners.ask_move(record, to=NodeName(to), incarnation=incarnation, why="test")
    assert isinstance(answer, Asked), answer


async def owner_of(redis: HallRedis, room: str) -> str:
    record = await RedisRoomOwners(redis).room_record(RoomId(room))
    assert record is not None
    return str(record.owner)


async def test_a_room_moves_with_hundreds_of_members_who_talk(tmp_path: Path) -> None:
    with running_fleet(nodes=2, data=tmp_path) as fleet:
        async with redis_of(fleet) as redis, assembly(fleet, ["moving"], listeners=MEMBERS) as them:
            source = await owner_of(redis, "moving")
            target = "node-2" if source == "node-1" else "node-1"
            await them.said(20)
            asked_at = asyncio.get_running_loop().time()
            await ask_move(redis, "moving", target)
            await them.all_at({target})
            ways = {event.why for event in them.parted}
            assert ways == {"moved"}, "nobody was sent to the director"
            assert all(member.times_resumed == 1 for member in them.members)
            await them.said(20)
            pauses = sorted(speaker.longest_pause for speaker in them.speakers)
            back = sorted(event.heard_at - asked_at for event in them.admitted if event.node == target)
            print(f"pauses {pauses}; live after {back[len(back) // 2]:.3f} s, the last after {back[-1]:.3f} s")
            assert pauses[-1] < LONGEST_PAUSE
            await ask_move(redis, "moving", source)
            await them.all_at({source})


async def test_nodes_that_are_told_to_end_give_their_rooms_away_first(tmp_path: Path) -> None:
    rooms = [f"course-{number}" for number in range(9)]
    with running_fleet(nodes=3, data=tmp_path) as fleet:
        async with redis_of(fleet) as redis, assembly(fleet, rooms, listeners=5) as them:
            owners = {room: await owner_of(redis, room) for room in rooms}
            victim = owners[rooms[0]]
            assert len(set(owners.values())) > 1
            former = fleet.kill(victim, signal.SIGTERM)
            await asyncio.to_thread(fleet.wait_until_restarted, victim, former=former, within=PATIENCE)
            others = {"node-1", "node-2", "node-3"} - {victim}
            await them.all_at(others)
            assert {event.why for event in them.parted} == {"moved"}, fleet.output()
            for node in sorted(others):  # and so with all others, one after the other
                await them.said(5)
                former = fleet.kill(node, signal.SIGTERM)
                await asyncio.to_thread(fleet.wait_until_restarted, node, former=former, within=PATIENCE)
            await them.said(10)
            assert {event.why for event in them.parted} == {"moved"}, fleet.output()
            assert max(speaker.longest_pause for speaker in them.speakers) < LONGEST_PAUSE
