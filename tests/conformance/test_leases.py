"""What NodeLeases promises, over memory, Valkey and Redis 7.0 alike."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import Incarnation, NodeName
from director.contract.lease import Forgotten, Lost, NodeState, Renewed
from director.contract.ownership import NodeChanged, NodeGone
from tests.support.halls import KINDS, MATHS, Hall, hall_on, lease_of, server_of
from tests.support.valkey_server import ValkeyServer

N1, N2 = NodeName("node-1"), NodeName("node-2")
I1, I2 = Incarnation("i1"), Incarnation("i2")
LONG = 60.0


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer | None]:
    with server_of(request.param) as server:
        yield server


@pytest.fixture
async def hall(server: ValkeyServer | None) -> AsyncIterator[Hall]:
    async with hall_on(server) as hall:
        yield hall


async def lapsed(hall: Hall) -> None:
    """Returns when no lease stands any more: the server's own clock decides, so ask it until it says so."""
    async with asyncio.timeout(10):
        while (await hall.leases.live_nodes()).nodes:
            pass


async def test_a_lease_that_was_taken_stands_with_what_is_left_of_it(hall: Hall) -> None:
    lease = lease_of("node-1", members=12)
    before = time.time()

    taken = await hall.leases.acquire(lease, expire=LONG)

    live = await hall.leases.live_nodes()
    assert live.generation == taken.generation
    assert live.number == 1
    assert [node.lease for node in live.nodes] == [lease]
    assert 50 < live.nodes[0].remaining <= LONG
    assert abs(taken.server_at_ms / 1000 - before) < 10
    assert live.server_at_ms >= taken.server_at_ms


async def test_renewing_extends_the_lease_and_replaces_what_it_says(hall: Hall) -> None:
    taken = await hall.leases.acquire(lease_of("node-1"), expire=5)
    assert isinstance(taken, Renewed)
    draining = lease_of("node-1", state=NodeState.DRAINING, members=3)

    answer = await hall.leases.renew(draining, expire=LONG, members={})

    assert isinstance(answer, Renewed)
    assert answer.generation == taken.generation
    assert answer.server_at_ms >= taken.server_at_ms
    (node,) = (await hall.leases.live_nodes()).nodes
    assert node.lease == draining
    assert node.remaining > 50


async def test_a_lease_that_lapsed_is_not_lost_and_its_holder_takes_it_again(hall: Hall) -> None:
    """It used to be: a Redis that was paused for a minute then cost every member of the fleet its connection."""
    lease = lease_of("node-1")
    taken = await hall.leases.acquire(lease, expire=0.05)
    assert isinstance(taken, Renewed)
    await lapsed(hall)

    assert await hall.leases.renew(lease, expire=LONG, members={}) == Forgotten(taken.generation)
    read = await hall.leases.live_nodes()
    assert (list(read.nodes), list(read.lapsed)) == ([], [lease])
    assert isinstance(await hall.leases.acquire(lease, expire=LONG), Renewed)
    read = await hall.leases.live_nodes()
    assert ([node.lease for node in read.nodes], list(read.lapsed)) == ([lease], [])


async def test_a_lapsed_name_that_another_takes_is_lost(hall: Hall) -> None:
    former, newer = lease_of("node-1", "i1"), lease_of("node-1", "i2")
    await hall.leases.acquire(former, expire=0.05)
    await lapsed(hall)
    async with hall.listening() as heard:
        await hall.leases.acquire(newer, expire=0.05)
        gone, come = await heard.next(), await heard.next()
    assert isinstance(gone, NodeGone)
    assert isinstance(come, NodeChanged)
    assert (gone.incarnation, come.lease.incarnation) == (I1, I2)
    await lapsed(hall)

    assert await hall.leases.renew(former, expire=LONG, members={}) == Lost()
    assert await hall.leases.acquire(former, expire=LONG) == Lost()
    assert list((await hall.leases.live_nodes()).lapsed) == [newer]


async def test_a_new_incarnation_takes_the_name_and_the_former_has_lost_it(hall: Hall) -> None:
    former, newer = lease_of("node-1", "i1"), lease_of("node-1", "i2")
    await hall.leases.acquire(former, expire=LONG)
    await hall.leases.acquire(newer, expire=LONG)

    assert await hall.leases.renew(former, expire=LONG, members={}) == Lost()
    assert await hall.leases.acquire(former, expire=LONG) == Lost()
    assert not await hall.leases.release(N1, I1)
    assert not await hall.leases.declare_dead(N1, I1, why="refused")
    assert [node.lease for node in (await hall.leases.live_nodes()).nodes] == [newer]


async def test_the_dead_take_no_lease_again(hall: Hall) -> None:
    """A node may ask for its lease again at the same moment in which a director declares it dead."""
    released, proven = lease_of("node-1", "i1"), lease_of("node-2", "i1")
    for lease in (released, proven):
        await hall.leases.acquire(lease, expire=LONG)
    await hall.leases.release(N1, I1)
    await hall.leases.declare_dead(N2, I1, why="refused")

    for lease in (released, proven):
        assert await hall.leases.renew(lease, expire=LONG, members={}) == Lost()
        assert await hall.leases.acquire(lease, expire=LONG) == Lost()
    read = await hall.leases.live_nodes()
    assert (list(read.nodes), list(read.lapsed)) == ([], [])


async def test_a_death_that_was_proven_while_the_lease_was_away_is_a_death(hall: Hall) -> None:
    lease = lease_of("node-1")
    await hall.leases.acquire(lease, expire=LONG)
    hall.wipe()

    assert not await hall.leases.declare_dead(N1, I1, why="refused")
    assert await hall.leases.renew(lease, expire=LONG, members={}) == Lost()


async def test_releasing_is_idempotent(hall: Hall) -> None:
    await hall.leases.acquire(lease_of("node-1"), expire=LONG)
    await hall.leases.acquire(lease_of("node-2"), expire=LONG)

    assert await hall.leases.release(N1, I1)
    assert not await hall.leases.release(N1, I1)
    assert [node.lease.node for node in (await hall.leases.live_nodes()).nodes] == [N2]


async def test_a_node_that_was_declared_dead_has_lost_its_lease(hall: Hall) -> None:
    lease = lease_of("node-1")
    await hall.leases.acquire(lease, expire=LONG)

    assert not await hall.leases.declare_dead(N1, I2, why="refused")
    assert await hall.leases.declare_dead(N1, I1, why="refused")
    assert not await hall.leases.declare_dead(N1, I1, why="refused")
    assert await hall.leases.renew(lease, expire=LONG, members={}) == Lost()


async def test_a_hall_that_forgot_everything_is_told_from_a_loss(hall: Hall) -> None:
    lease = lease_of("node-1")
    taken = await hall.leases.acquire(lease, expire=LONG)
    hall.wipe()

    answer = await hall.leases.renew(lease, expire=LONG, members={MATHS: 1})

    assert isinstance(answer, Forgotten)
    assert answer.generation != taken.generation
    again = await hall.leases.acquire(lease, expire=LONG)
    assert again.generation == answer.generation


async def test_only_a_change_of_state_is_told_by_a_renewal(hall: Hall) -> None:
    serving = lease_of("node-1")
    taken = await hall.leases.acquire(serving, expire=LONG)
    busier = msgspec.structs.replace(serving, members=500, rooms=3)
    cordoned = msgspec.structs.replace(busier, state=NodeState.CORDONED)
    async with hall.listening() as heard:
        for lease in (serving, busier, cordoned, cordoned, serving):
            await hall.leases.renew(lease, expire=LONG, members={})

        assert await heard.next() == NodeChanged(taken.generation, 2, cordoned)
        assert await heard.next() == NodeChanged(taken.generation, 3, serving)
    assert (await hall.leases.live_nodes()).number == 3


async def test_a_silent_hall_is_unavailable_and_that_is_no_loss(hall: Hall) -> None:
    lease = lease_of("node-1")
    await hall.leases.acquire(lease, expire=LONG)
    if hall.memory is not None:
        hall.memory.is_silent = True
    if hall.server is not None:
        hall.server.kill()
    try:
        with pytest.raises(ControlPathUnavailable):
            await hall.leases.renew(lease, expire=LONG, members={})
        for ask in (
            hall.leases.acquire(lease, expire=LONG),
            hall.leases.release(N1, I1),
            hall.leases.declare_dead(N1, I1, why="refused"),
            hall.leases.live_nodes(),
            hall.verdicts.judge(N1, I1),
            hall.verdicts.resume(),
            hall.verdicts.stand("director-1", ttl=LONG),
            hall.verdicts.resign("director-1"),
            hall.owners.claim(MATHS, node=N1, incarnation=I1, replacing=None, why="ring"),
            hall.owners.room_record(MATHS),
            hall.owners.snapshot(),
        ):
            with pytest.raises(ControlPathUnavailable):
                await ask
    finally:
        if hall.server is not None:
            hall.server.start()
