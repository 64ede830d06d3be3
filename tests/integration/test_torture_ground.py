"""The ground of `hall torture`: doors that are open while a node listens, and a Redis set that fails over."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from director.cli.torture_doors import NodeDoors
from director.cli.torture_redis import LoneRedis, RedisSet, TortureRedis
from director.contract.ids import NodeName
from director.held_port import HeldPort
from director.redis_client import HallRedis
from director.supervisor import Event, Ready, Started, Supervisor
from loadtest.torture_ground import NotToday

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(120)]

NODE = NodeName("node-1")
LISTENER = """
import socket, sys
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    door.accept()[0].sendall(b"here")
"""


async def said_at(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.readexactly(4)
    finally:
        writer.close()


async def test_a_door_is_open_while_its_node_listens_and_refuses_from_the_moment_that_it_is_dead() -> None:
    """A proxy that accepted for a dead node would keep the directors from ever seeing that its port refuses."""
    with HeldPort() as held:
        async with NodeDoors(("127.0.0.1", held.port)) as doors:
            for _ in range(2):
                with pytest.raises(ConnectionRefusedError):
                    await said_at(doors.for_probes.port)
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", LISTENER, str(held.port))
                try:
                    minding = asyncio.create_task(doors.mind(process.pid))
                    async with asyncio.timeout(30):
                        while not doors.for_clients.is_open:  # noqa: ASYNC110 (the listener tells nobody)
                            await asyncio.sleep(0.01)
                    assert await said_at(doors.for_probes.port) == b"here"
                    assert await said_at(doors.for_clients.port) == b"here"
                finally:
                    process.kill()
                async with asyncio.timeout(30):
                    await minding
                    await process.wait()


async def test_a_process_that_never_listens_is_not_waited_for() -> None:
    with HeldPort() as held:
        async with NodeDoors(("127.0.0.1", held.port)) as doors:
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
            async with asyncio.timeout(30):
                await doors.mind(process.pid)
                await process.wait()
                await doors.mind(process.pid)  # it has gone already
            assert not doors.for_clients.is_open


class Ground:
    """A Redis under torture that runs."""

    def __init__(self, redis: TortureRedis) -> None:
        self.redis = redis
        self.pids: dict[str, int] = {}
        self.ready: set[str] = set()

    def take(self, event: Event) -> None:
        match event:
            case Started(child, pid):
                self.pids[child.name] = pid
            case Ready(child):
                self.ready.add(child.name)
            case _:
                pass

    def signal(self, name: str, word: str) -> None:
        os.kill(self.pids[name], signal.SIGSTOP if word == "freeze" else signal.SIGCONT)


@asynccontextmanager
async def running(redis: TortureRedis, folder: Path) -> AsyncIterator[Ground]:
    ground = Ground(redis)
    async with asyncio.timeout(90), AsyncExitStack() as stack:
        await redis.open(stack, folder, [NODE])
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        supervisor = Supervisor(folder / "logs", tasks=tasks, on_event=ground.take, on_line=lambda child, line: None)
        try:
            for child in redis.children():
                supervisor.start(child)
            while ground.ready < set(redis.names):  # noqa: ASYNC110 (a callback tells)
                await asyncio.sleep(0.02)
            await redis.settled()
            yield ground
        finally:
            await supervisor.stop()


@asynccontextmanager
async def client(url: str) -> AsyncIterator[HallRedis]:
    hall = HallRedis(url, random_bytes=lambda count: bytes(count), silence=1.0)
    try:
        yield hall
    finally:
        await hall.close()


async def read(redis: Redis, key: str) -> object:
    """Its value, as soon as whoever is master answers."""
    while True:
        try:
            return await redis.get(key)
        except (RedisError, OSError):
            await asyncio.sleep(0.05)  # a failover takes its time


async def test_a_failover_loses_the_newest_writes_and_the_former_master_becomes_the_replica(tmp_path: Path) -> None:
    async with running(RedisSet(), tmp_path) as ground, client(ground.redis.url_of(NODE)) as hall:
        for word in ("one", "two"):  # and back again
            await hall.redis.set("kept", word)
            assert await hall.redis.execute_command("WAIT", "1", "10000") == 1
            failing = asyncio.create_task(ground.redis.fail_over(lambda name: ground.signal(name, "freeze")))
            # the replica is cut off within moments; what is written from then on is not known to it
            written: list[str] = []
            while not failing.done():
                try:
                    await hall.redis.rpush(f"lost-{word}", len(written))
                    written.append(str(len(written)))
                except (RedisError, OSError):
                    pass
                await asyncio.sleep(0.05)
            await failing
            assert await read(hall.redis, "kept") == word
            # the last ones may have reached the new master already
            assert set(written) - set(await hall.redis.lrange(f"lost-{word}", 0, -1)), "no write was lost"
            await ground.redis.end_failover(lambda name: ground.signal(name, "thaw"))
            await ground.redis.settled()


async def test_a_node_that_is_cut_off_from_a_set_reaches_no_server_of_it(tmp_path: Path) -> None:
    async with (
        running(RedisSet(), tmp_path) as ground,
        client(ground.redis.url_of(NODE)) as cut,
        client(ground.redis.url) as others,
    ):
        await cut.redis.set("key", "value")
        ways = ground.redis.ways_of(NODE)
        assert sum(way.connections for way in ways) >= 2, "sentinel and master are reached by proxies"
        for way in ways:
            way.swallow()
        with pytest.raises((RedisError, OSError)):
            await cut.redis.get("key")
        assert await read(others.redis, "key") == "value"
        for way in ways:
            way.restore()
        assert await read(cut.redis, "key") == "value"


@pytest.mark.parametrize("kind", [LoneRedis, RedisSet])
async def test_it_can_be_emptied_while_it_runs(tmp_path: Path, kind: type[TortureRedis]) -> None:
    async with running(kind(), tmp_path) as ground, client(ground.redis.url_of(NODE)) as hall:
        await hall.redis.set("key", "value")
        await ground.redis.flush()
        assert await read(hall.redis, "key") is None


async def test_one_server_alone_does_not_fail_over(tmp_path: Path) -> None:
    async with running(LoneRedis(), tmp_path) as ground:
        with pytest.raises(NotToday, match="no second Redis"):
            await ground.redis.fail_over(lambda name: None)
