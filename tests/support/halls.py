"""The hall's ports over memory, Valkey and Redis, for suites that must hold on all of them."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import pytest

from director.contract.failover import Verdicts
from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.lease import LeaseTimings, NodeLease, NodeLeases, NodeState
from director.contract.operations import Operations
from director.contract.orders import Orders
from director.contract.ownership import Interrupted, MembersCounted, Notice, RoomOwners
from director.failover_memory import MemoryVerdicts
from director.failover_redis import RedisVerdicts
from director.leases_memory import MemoryNodeLeases
from director.leases_redis import RedisNodeLeases
from director.memory_hall import MemoryHall
from director.operations_memory import MemoryOperations
from director.operations_redis import RedisOperations
from director.orders_memory import MemoryOrders
from director.orders_redis import RedisOrders
from director.ownership_memory import MemoryRoomOwners
from director.ownership_redis import RedisRoomOwners
from director.redis_client import META, HallRedis, node_key, operation_key
from tests.support.valkey_server import ValkeyServer, valkey

MATHS = RoomId("math-101")
ART = RoomId("art~2")

KINDS = [
    "memory",
    "valkey",
    pytest.param("redis", marks=pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server")),
]


def lease_of(
    node: str, incarnation: str = "i1", *, port: int = 1, state: NodeState = NodeState.SERVING, members: int = 0
) -> NodeLease:
    """A lease for tests; `port` is that of the address for probes."""
    url = f"http://127.0.0.1:{port}"
    name = NodeName(node)
    fingerprint = LeaseTimings().fingerprint
    return NodeLease(name, Incarnation(incarnation), url, "/socket.io/", url, fingerprint, state, members)


@dataclass(slots=True)
class Hall:
    """All ports over one hall, and the server if there is a real one."""

    owners: RoomOwners
    leases: NodeLeases
    verdicts: Verdicts
    orders: Orders
    operations: Operations
    server: ValkeyServer | None = None
    memory: MemoryHall | None = None

    def wipe(self) -> None:
        """Lose all data, as a server that was started anew."""
        if self.memory is not None:
            self.memory.wipe()
        if self.server is not None:
            self.server.wipe()

    async def restart(self) -> None:
        """Let the data be those of another run of the server, as after a restart from its file or a failover."""
        if self.memory is not None:
            self.memory.fail_over(self.memory.save())
        if isinstance(self.owners, RedisRoomOwners):
            async with self.owners._hall.asked() as redis:
                await redis.hset(META, "server", "another")

    async def lapse(self, node: NodeName) -> None:
        """Let a lease have lapsed."""
        if self.memory is not None:
            self.memory._leases.pop(node, None)
        if isinstance(self.owners, RedisRoomOwners):
            async with self.owners._hall.asked() as redis:
                await redis.delete(node_key(node))

    async def have_been_silent(self) -> None:
        """Let nobody have been heard for an hour, as after a pause of the server."""
        if self.memory is not None:
            self.memory._heard_at = self.memory.now - 3_600
        if isinstance(self.owners, RedisRoomOwners):
            async with self.owners._hall.asked() as redis:
                heard_at = int(await redis.hget(META, "heard") or 0)
                await redis.hset(META, "heard", heard_at - 3_600_000)

    async def leave_unheard(self, operation: str, seconds: float) -> None:
        """Let an operation have been told of that long ago."""
        if self.memory is not None:
            told = self.memory.operations[operation]
            self.memory.operations[operation] = replace(told, heard_at_ms=told.heard_at_ms - round(seconds * 1000))
        if isinstance(self.owners, RedisRoomOwners):
            async with self.owners._hall.asked() as redis:
                heard_at_ms = int(await redis.hget(operation_key(operation), "heard") or 0)
                await redis.hset(operation_key(operation), "heard", heard_at_ms - round(seconds * 1000))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Listening"]:
        """What is published from here on; it listens already when the block begins."""
        notices = self.owners.notices()
        try:
            first = await anext(notices)
            assert first == Interrupted()
            yield Listening(notices)
        finally:
            await notices.aclose()  # type: ignore[attr-defined]


@dataclass(slots=True)
class Listening:
    notices: AsyncIterator[Notice | Interrupted]

    async def next(self) -> Notice | Interrupted:
        async with asyncio.timeout(10):
            return await anext(self.notices)

    async def next_numbered(self) -> Notice | Interrupted:
        """The next one that is not a count of members."""
        while isinstance(notice := await self.next(), MembersCounted):
            pass
        return notice


@contextmanager
def server_of(kind: str) -> Iterator[ValkeyServer | None]:
    """The server that a kind of hall needs: Valkey, Debian's Redis, or none."""
    match kind:
        case "valkey":
            with valkey() as server:
                yield server
        case "redis":
            with valkey("redis-server") as server:
                yield server
        case _:
            with nullcontext():
                yield None


@asynccontextmanager
async def hall_on(server: ValkeyServer | None, *, settle: float = 0.0) -> AsyncIterator[Hall]:
    """An empty hall: on that server, or in memory. Without a settle time nothing waits."""
    if server is None:
        memory = MemoryHall(clock=time.monotonic, server_clock=time.time, settle=settle)
        yield Hall(
            MemoryRoomOwners(memory),
            MemoryNodeLeases(memory),
            MemoryVerdicts(memory),
            MemoryOrders(memory),
            MemoryOperations(memory),
            memory=memory,
        )
        return
    server.wipe()
    redis = HallRedis(server.url, random_bytes=os.urandom, silence=2.0, settle=settle)
    try:
        yield Hall(
            RedisRoomOwners(redis),
            RedisNodeLeases(redis),
            RedisVerdicts(redis),
            RedisOrders(redis),
            RedisOperations(redis),
            server,
        )
    finally:
        await redis.close()
