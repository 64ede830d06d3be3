"""director/redis_sentinel: addresses, and a real failover that loses writes."""

import asyncio
import os
from pathlib import Path

import pytest

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import Renewed
from director.contract.ownership import Claimed, Interrupted, RoomChanged, RoomRecord, Settling
from director.leases_redis import RedisNodeLeases
from director.ownership_redis import RedisRoomOwners
from director.redis_client import HallRedis
from director.redis_sentinel import SentinelAddress, sentinel_address_of
from tests.support.halls import ART, MATHS, lease_of
from tests.support.sentinel_set import HAS_SENTINEL, sentinel_set

N1, I1 = NodeName("node-1"), Incarnation("i1")


def test_an_address_names_the_sentinels_and_the_master() -> None:
    assert sentinel_address_of("redis+sentinel://10.0.0.1:5000,db-2,[::1]:7/hall") == SentinelAddress(
        [("10.0.0.1", 5000), ("db-2", 26379), ("::1", 7)], "hall"
    )
    assert sentinel_address_of("redis+sentinel://hall:p%40ss:word@a/main/3") == SentinelAddress(
        [("a", 26379)], "main", 3, "hall", "p@ss:word"
    )
    assert sentinel_address_of("redis+sentinel://:secret@a/main").username is None


@pytest.mark.parametrize("rest", ["", "a", "a/", "/hall", "a:x/hall", "a,,b/hall", "a/hall/x", "a:1:2/hall"])
def test_an_address_that_names_neither_is_refused_without_its_password(rest: str) -> None:
    with pytest.raises(ValueError, match="a Sentinel URL is") as refused:
        sentinel_address_of(f"redis+sentinel://:secret@{rest}")
    assert "secret" not in str(refused.value)


async def test_sentinels_that_do_not_answer_are_an_outage() -> None:
    hall = HallRedis("redis+sentinel://127.0.0.1:1,127.0.0.1:2/hall", random_bytes=os.urandom)
    with pytest.raises(ControlPathUnavailable):
        await RedisRoomOwners(hall).snapshot()
    await hall.close()


@pytest.mark.fleet
@pytest.mark.skipif(not HAS_SENTINEL, reason="redis-sentinel is not installed")
async def test_a_failover_that_loses_writes_is_another_generation_and_records_are_told_again(tmp_path: Path) -> None:
    async with asyncio.timeout(60), sentinel_set(tmp_path) as servers:
        hall = HallRedis(servers.url, random_bytes=os.urandom, settle=1.0)
        owners, leases = RedisRoomOwners(hall), RedisNodeLeases(hall)
        notices = owners.notices()
        assert await anext(notices) == Interrupted()
        lease = lease_of(N1)
        taken = await leases.acquire(lease, expire=60)
        assert isinstance(taken, Renewed)
        kept = await _claimed(owners, MATHS)
        async with hall.asked() as redis:
            assert await redis.execute_command("WAIT", "1", "5000") == 1
        servers.lose_writes()
        lost = await _claimed(owners, ART)
        servers.master.kill()
        while not isinstance(await anext(notices), Interrupted):
            pass
        while True:
            try:
                renewed = await leases.renew(lease, expire=60, members={})
            except ControlPathUnavailable:
                continue
            break

        assert isinstance(renewed, Renewed), "the lease itself was replicated"
        assert renewed.generation != taken.generation
        assert await owners.room_record(MATHS) == kept
        assert await owners.room_record(ART) is None
        assert isinstance(await owners.claim(ART, node=N1, incarnation=I1, replacing=None, why="ring"), Settling), (
            "its owner must tell first"
        )
        (told,) = await owners.assert_owned([lost])
        assert isinstance(told, Claimed)
        assert told.record.epoch == lost.epoch
        notice = await anext(notices)
        assert isinstance(notice, RoomChanged)
        assert (notice.record, notice.generation) == (told.record, renewed.generation)
        raised = await owners.renew_claim(MATHS, node=N1, incarnation=I1, epoch=kept.epoch, floor=Epoch(0))
        assert isinstance(raised, Claimed)
        assert raised.record.epoch > lost.epoch, "the counter went on from what the owner told"
        await notices.aclose()  # type: ignore[attr-defined]
        await hall.close()


async def _claimed(owners: RedisRoomOwners, room: RoomId) -> RoomRecord:
    while True:
        answer = await owners.claim(room, node=N1, incarnation=I1, replacing=None, why="ring")
        if isinstance(answer, Claimed):
            return answer.record
        assert isinstance(answer, Settling)
