"""director/redis_client: one try, an early end, and no outage taken for an answer."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.exceptions import ResponseError

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import Incarnation, NodeName
from director.contract.ownership import Interrupted
from director.leases_redis import RedisNodeLeases
from director.ownership_redis import RedisRoomOwners
from director.redis_client import HallRedis, heeding_cancellation
from tests.support.halls import MATHS, lease_of
from tests.support.valkey_server import ValkeyServer, valkey


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey() as server:
        yield server


@asynccontextmanager
async def client_of(url: str, silence: float = 0.5) -> AsyncIterator[HallRedis]:
    hall = HallRedis(url, random_bytes=os.urandom, silence=silence)
    try:
        yield hall
    finally:
        await hall.close()


async def test_a_call_that_fails_is_tried_once() -> None:
    """redis-py's ten retries by default would renew a lease long after it lapsed."""
    tries = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await reader.read(1)
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, client_of(f"redis://127.0.0.1:{port}/0") as hall:
        with pytest.raises(ControlPathUnavailable):
            await RedisNodeLeases(hall).live_nodes()
        assert tries == 1
        with pytest.raises(ControlPathUnavailable):
            await RedisNodeLeases(hall).acquire(lease_of("node-1"), expire=6)
        assert tries == 2


async def test_a_frozen_server_is_given_up_in_time(server: ValkeyServer) -> None:
    async with client_of(server.url) as hall:
        leases = RedisNodeLeases(hall)
        await leases.acquire(lease_of("node-1"), expire=60)
        server.pause()
        try:
            for _ in range(2):  # with the connection that is open, and with a new one
                began = time.monotonic()
                with pytest.raises(ControlPathUnavailable):
                    await leases.renew(lease_of("node-1"), expire=60, members={})
                assert time.monotonic() - began < 1.5
        finally:
            server.resume()
        live = await leases.live_nodes()
        assert [node.lease.node for node in live.nodes] == ["node-1"]


async def test_a_crowd_of_calls_is_answered_over_few_connections(server: ValkeyServer) -> None:
    async with client_of(server.url, silence=5.0) as hall:
        owners = RedisRoomOwners(hall)
        assert await asyncio.gather(*(owners.room_record(MATHS) for _ in range(300))) == [None] * 300
        async with hall.asked() as redis:
            clients = (await redis.info("clients"))["connected_clients"]
        assert clients <= 40


async def test_nobody_at_the_address_is_an_outage() -> None:
    async with client_of("redis://127.0.0.1:1/0") as hall:
        with pytest.raises(ControlPathUnavailable):
            await RedisRoomOwners(hall).snapshot()


async def test_a_server_out_of_service_is_an_outage_and_a_wrong_question_is_a_fault(server: ValkeyServer) -> None:
    async with client_of(server.url) as hall:
        owners, leases = RedisRoomOwners(hall), RedisNodeLeases(hall)
        async with hall.asked() as redis:
            await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(ControlPathUnavailable):
                await leases.acquire(lease_of("node-1"), expire=6)
        finally:
            async with hall.asked() as redis:
                await redis.execute_command("REPLICAOF", "NO", "ONE")
        async with hall.asked() as redis:
            await redis.set("{hall}:room:math-101", "a string where a hash should be")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await owners.claim(
                MATHS, node=NodeName("node-1"), incarnation=Incarnation("i1"), replacing=None, why="ring"
            )
        server.wipe()


async def test_a_listener_finds_out_that_its_server_is_frozen(
    server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen server or a cut cable closes nothing: only a ping that stays unanswered tells."""
    monkeypatch.setattr("director.ownership_redis._PING_AFTER", 0.1)
    async with client_of(server.url) as hall:
        notices = RedisRoomOwners(hall).notices()
        async with asyncio.timeout(10):
            assert await anext(notices) == Interrupted()
            server.pause()
            again = asyncio.ensure_future(anext(notices))
            done, _ = await asyncio.wait([again], timeout=1.0)
            assert not done
            server.resume()
            assert await again == Interrupted()
        await notices.aclose()  # type: ignore[attr-defined]


async def test_a_quiet_connection_is_kept(server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("director.ownership_redis._PING_AFTER", 0.05)
    async with client_of(server.url) as hall:
        notices = RedisRoomOwners(hall).notices()
        assert await anext(notices) == Interrupted()
        following = asyncio.ensure_future(anext(notices))
        done, _ = await asyncio.wait([following], timeout=0.5)
        assert not done, "pings that are answered interrupt nothing"
        await RedisNodeLeases(hall).acquire(lease_of("node-1"), expire=6)
        async with asyncio.timeout(10):
            assert (await following).lease == lease_of("node-1")  # type: ignore[union-attr]
        await notices.aclose()  # type: ignore[attr-defined]


async def test_a_cancellation_that_a_library_loses_is_heeded_nevertheless() -> None:
    """A director's loop went on for ever after its end: Python 3.11's wait_for had taken an answer for the cancellation
    that came with it."""
    began = asyncio.Event()

    async def lose_cancellation() -> None:
        with heeding_cancellation():
            began.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        raise AssertionError("it went on")

    task = asyncio.create_task(lose_cancellation())
    await began.wait()
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()
