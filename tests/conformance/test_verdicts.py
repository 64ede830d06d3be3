"""What Verdicts promises, and what the settle time holds up, over memory, Valkey and Redis 7.0 alike."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from director.contract.failover import Departed, HeldBack, Standing
from director.contract.ids import Incarnation, NodeName
from director.contract.lease import Lost, Renewed
from director.contract.ownership import Claimed, NodeGone, Outrun, RoomRecord, Settling
from tests.support.halls import ART, KINDS, MATHS, Hall, hall_on, lease_of, server_of
from tests.support.valkey_server import ValkeyServer

N1, N2, N3 = NodeName("node-1"), NodeName("node-2"), NodeName("node-3")
I1, I2 = Incarnation("i1"), Incarnation("i2")
LONG = 60.0
SETTLE = 20.0
SOON = 0.05


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer | None]:
    with server_of(request.param) as server:
        yield server


@pytest.fixture
async def hall(server: ValkeyServer | None) -> AsyncIterator[Hall]:
    async with hall_on(server) as hall:
        yield hall


@pytest.fixture
async def settling(server: ValkeyServer | None) -> AsyncIterator[Hall]:
    """A hall that has just begun, and takes its time."""
    async with hall_on(server, settle=SETTLE) as hall:
        yield hall


async def with_nodes(hall: Hall, *, lapsed: int, standing: int = 0) -> list[NodeName]:
    """The names of nodes whose lease has lapsed; others stand."""
    names = [NodeName(f"lapsed-{i}") for i in range(lapsed)]
    for name in names:
        await hall.leases.acquire(lease_of(name), expire=SOON)
    for i in range(standing):
        await hall.leases.acquire(lease_of(f"standing-{i}"), expire=LONG)
    async with asyncio.timeout(10):
        while len((await hall.leases.live_nodes()).lapsed) < lapsed:
            pass
    return names


async def claimed(hall: Hall, node: NodeName, replacing: RoomRecord | None = None) -> RoomRecord:
    answer = await hall.owners.claim(MATHS, node=node, incarnation=I1, replacing=replacing, why="ring")
    assert isinstance(answer, Claimed), answer
    return answer.record


async def test_a_lease_that_lapsed_gives_nobody_its_rooms_before_a_verdict(hall: Hall) -> None:
    await hall.leases.acquire(lease_of(N2), expire=LONG)
    await hall.leases.acquire(lease_of(N1), expire=SOON)
    record = await claimed(hall, N1)
    async with asyncio.timeout(10):
        while not (await hall.leases.live_nodes()).lapsed:
            pass

    assert await hall.owners.claim(MATHS, node=N2, incarnation=I1, replacing=record, why="ring") == Outrun(record)
    async with hall.listening() as heard:
        assert await hall.verdicts.judge(N1, I1) == Departed()
        gone = await heard.next()
    assert isinstance(gone, NodeGone)
    assert (gone.node, gone.incarnation, gone.why) == (N1, I1, "lapsed")
    assert (await claimed(hall, N2, record)).epoch > record.epoch
    assert await hall.leases.renew(lease_of(N1), expire=LONG, members={}) == Lost()


async def test_a_verdict_is_told_once_and_stays(hall: Hall) -> None:
    (name,) = await with_nodes(hall, lapsed=1)
    number = (await hall.leases.live_nodes()).number
    for _ in range(3):
        assert await hall.verdicts.judge(name, I1) == Departed()
    assert (await hall.leases.live_nodes()).number == number + 1


async def test_a_lease_that_stands_is_not_judged(hall: Hall) -> None:
    lease = lease_of(N1)
    await hall.leases.acquire(lease, expire=LONG)
    assert await hall.verdicts.judge(N1, I1) == Standing()
    assert isinstance(await hall.leases.renew(lease, expire=LONG, members={}), Renewed)


async def test_whoever_lost_its_name_is_dead_and_does_not_count(hall: Hall) -> None:
    lapsed = await with_nodes(hall, lapsed=1)
    await hall.leases.acquire(lease_of(N1, "i2"), expire=LONG)
    for i in range(5):
        assert await hall.verdicts.judge(N1, Incarnation(f"older-{i}")) == Departed()
    assert await hall.verdicts.judge(lapsed[0], I1) == Departed()


@pytest.mark.parametrize(("lapsed", "standing", "allowed"), [(2, 0, 1), (3, 3, 1), (4, 3, 2), (10, 0, 3), (4, 9, 3)])
async def test_at_most_three_of_ten_nodes_are_declared_dead_in_a_minute_and_one_at_least(
    hall: Hall, lapsed: int, standing: int, allowed: int
) -> None:
    names = await with_nodes(hall, lapsed=lapsed, standing=standing)

    findings = [await hall.verdicts.judge(name, I1) for name in names]

    assert findings[:allowed] == [Departed()] * allowed
    for held_back in findings[allowed:]:
        assert isinstance(held_back, HeldBack)
        assert 50 < held_back.remaining <= 60
    assert len((await hall.leases.live_nodes()).lapsed) == lapsed - allowed
    assert await hall.verdicts.judge(names[0], I1) == Departed(), "what was said stays said"


async def test_an_operator_lifts_the_limit_for_all_who_wait(hall: Hall) -> None:
    names = await with_nodes(hall, lapsed=5, standing=1)
    assert await hall.verdicts.judge(names[0], I1) == Departed()
    assert isinstance(await hall.verdicts.judge(names[2], I1), HeldBack)

    assert await hall.verdicts.resume() == 4
    assert [await hall.verdicts.judge(name, I1) for name in names] == [Departed()] * 5
    assert list((await hall.leases.live_nodes()).lapsed) == []


async def test_deaths_that_were_proven_and_releases_do_not_count(hall: Hall) -> None:
    names = await with_nodes(hall, lapsed=3)
    await hall.leases.declare_dead(names[0], I1, why="refused")
    await hall.leases.release(names[1], I1)
    assert await hall.verdicts.judge(names[2], I1) == Departed()


async def test_in_the_settle_time_nobody_is_judged_and_nothing_is_claimed(settling: Hall) -> None:
    hall = settling
    taken = await hall.leases.acquire(lease_of(N2), expire=LONG)
    assert isinstance(taken, Renewed), "nodes come back meanwhile"
    (lapsed,) = await with_nodes(hall, lapsed=1)
    ours = RoomRecord(ART, N2, I1, 7, "ring", 1)  # type: ignore[arg-type]
    (asserted,) = await hall.owners.assert_owned([ours])
    assert isinstance(asserted, Claimed), "and tell what they own"

    judged = await hall.verdicts.judge(lapsed, I1)
    answer = await hall.owners.claim(MATHS, node=N2, incarnation=I1, replacing=None, why="ring")

    for wait in (judged, answer):
        assert isinstance(wait, Settling)
        assert SETTLE - 15 < wait.remaining <= SETTLE
    assert SETTLE - 15 < (await hall.leases.live_nodes()).settles_in <= SETTLE
    assert await hall.owners.room_record(MATHS) is None
    await hall.leases.declare_dead(N2, I1, why="refused")
    assert await hall.verdicts.judge(N2, I1) == Departed(), "a death that is known is one"
    await hall.leases.acquire(lease_of(N3), expire=LONG)
    replacing = await hall.owners.claim(ART, node=N3, incarnation=I1, replacing=asserted.record, why="ring")
    assert isinstance(replacing, Settling)


async def test_a_silence_of_everybody_is_one_of_redis_and_must_settle(server: ValkeyServer | None) -> None:
    """After a pause all leases have lapsed at once: nobody is judged before the nodes could come back."""
    async with hall_on(server, settle=0.2) as hall:
        await hall.leases.acquire(lease_of(N1), expire=SOON)
        async with asyncio.timeout(10):
            while (await hall.leases.live_nodes()).settles_in:
                pass
        await hall.have_been_silent()

        assert isinstance(await hall.verdicts.judge(N1, I1), Settling)
        async with asyncio.timeout(10):
            while isinstance(judged := await hall.verdicts.judge(N1, I1), Settling):
                pass
        assert judged == Departed()


async def test_one_is_steward_until_it_resigns_or_is_silent(hall: Hall) -> None:
    verdicts = hall.verdicts
    assert await verdicts.stand("one", ttl=LONG)
    assert not await verdicts.stand("two", ttl=LONG)
    await verdicts.resign("two")
    assert await verdicts.stand("one", ttl=SOON)
    async with asyncio.timeout(10):
        while not await verdicts.stand("two", ttl=LONG):
            pass
    assert not await verdicts.stand("one", ttl=LONG)
    await verdicts.resign("two")
    assert await verdicts.stand("one", ttl=LONG)


async def test_another_run_of_the_server_is_another_generation_with_a_settle_time(server: ValkeyServer | None) -> None:
    """It may be a replica that was promoted, and lost what was written last."""
    async with hall_on(server, settle=0.2) as hall:
        lease = lease_of(N1)
        taken = await hall.leases.acquire(lease, expire=LONG)
        assert isinstance(taken, Renewed)
        async with asyncio.timeout(10):
            while (await hall.leases.live_nodes()).settles_in:
                pass
        record = await claimed(hall, N1)
        await hall.restart()

        renewed = await hall.leases.renew(lease, expire=LONG, members={})
        assert isinstance(renewed, Renewed)
        assert renewed.generation != taken.generation
        read = await hall.leases.live_nodes()
        assert (read.generation, read.number) == (renewed.generation, record.version)
        assert read.settles_in > 0
        assert await hall.owners.room_record(MATHS) == record
        answer = await hall.owners.claim(ART, node=N1, incarnation=I1, replacing=None, why="ring")
        assert isinstance(answer, Settling)
