"""TortureRedis: the Redis of a fleet under torture, whose every way from a node can be broken: one server, or a set.

A set is a master, a replica and a sentinel, real ones. The sentinel's word reaches a node by a proxy that puts the
node's own proxies in place of the servers' ports, so that a set can be cut off from one node, too.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from director.contract.ids import NodeName
from director.embedded_redis import EmbeddedRedis, server_binary
from director.held_port import HOST, HeldPort
from director.redis_sentinel import SCHEME
from director.supervisor import Child
from loadtest.core.fault_plan import REDIS
from loadtest.fault_proxy import FaultProxy
from loadtest.torture_ground import NotToday

SENTINEL = "sentinel"
_SERVERS = ("redis-1", "redis-2")
_MASTER = "hall"
_DOWN_AFTER_MS = 2_000
_FAILOVER_TIMEOUT_MS = 5_000
_ASK_WITHIN = 3.0
_PROMOTED_WITHIN = 20.0
_UNREPLICATED = 1.5
_LOOK_EVERY = 0.1


class TortureRedis(Protocol):
    """What a fleet needs of its Redis. Open it before anything else."""

    names: Sequence[str]
    processes: Sequence[str]
    url: str

    async def open(self, stack: AsyncExitStack, folder: Path, nodes: Sequence[NodeName]) -> None:
        """Hold the ports, make the folders and the proxies; they end with `stack`."""
        ...

    def children(self) -> Sequence[Child]:
        """The processes to start: those of `names`."""
        ...

    async def settled(self) -> None:
        """Wait until all that was started is in order."""
        ...

    def url_of(self, node: NodeName) -> str:
        """Redis as the node reaches it."""
        ...

    def ways_of(self, node: NodeName) -> Sequence[FaultProxy]:
        """All ways from the node to Redis."""
        ...

    async def flush(self) -> None:
        """Empty it while it runs."""
        ...

    def forget(self) -> None:
        """Take its files away, so that it starts empty."""
        ...

    async def fail_over(self, freeze: Callable[[str], None]) -> None:
        """Lose the newest writes, freeze the master and wait until another is master. Raises NotToday."""
        ...

    async def end_failover(self, thaw: Callable[[str], None]) -> None:
        """Let the former master wake; it becomes the replica."""
        ...


class LoneRedis:
    """One server, as `hall up` has it."""

    names: Sequence[str] = (REDIS,)
    processes: Sequence[str] = (REDIS,)

    async def open(self, stack: AsyncExitStack, folder: Path, nodes: Sequence[NodeName]) -> None:
        self._server = EmbeddedRedis(server_binary(), stack.enter_context(HeldPort()).port, folder / REDIS)
        self._server.prepare()
        self.url = self._server.url
        self._ways = {node: await stack.enter_async_context(FaultProxy((HOST, self._server.port))) for node in nodes}

    def children(self) -> Sequence[Child]:
        return [Child(REDIS, self._server.command, self._server.answers_as, tier=0)]

    async def settled(self) -> None:
        return None

    def url_of(self, node: NodeName) -> str:
        return f"redis://{HOST}:{self._ways[node].port}/0"

    def ways_of(self, node: NodeName) -> Sequence[FaultProxy]:
        return [self._ways[node]]

    async def flush(self) -> None:
        await _flush(self._server.port)

    def forget(self) -> None:
        _forget(self._server)

    async def fail_over(self, freeze: Callable[[str], None]) -> None:
        raise NotToday("there is no second Redis to fail over to")

    async def end_failover(self, thaw: Callable[[str], None]) -> None:
        return None


class RedisSet:
    """A master and a replica with a sentinel that fails over after two seconds of silence."""

    names: Sequence[str] = (*_SERVERS, SENTINEL)
    processes: Sequence[str] = _SERVERS

    async def open(self, stack: AsyncExitStack, folder: Path, nodes: Sequence[NodeName]) -> None:
        binary = server_binary()
        self._servers = {
            name: EmbeddedRedis(binary, stack.enter_context(HeldPort()).port, folder / name) for name in self.names
        }
        first = self._servers[_SERVERS[0]].port
        for name, server in self._servers.items():
            server.prepare()
            lines = [f"bind {HOST}", f"port {server.port}", f"dir {server.folder}"]
            if name == SENTINEL:
                lines += [
                    f"sentinel monitor {_MASTER} {HOST} {first} 1",
                    f"sentinel down-after-milliseconds {_MASTER} {_DOWN_AFTER_MS}",
                    f"sentinel failover-timeout {_MASTER} {_FAILOVER_TIMEOUT_MS}",
                ]
            else:
                lines += ['save ""', "appendonly yes", "loglevel warning", "repl-diskless-sync-delay 0"]
                lines += [] if server.port == first else [f"replicaof {HOST} {first}"]
            # a file, for what the sentinel decides is written into it and outlives a restart
            server.folder.with_suffix(".conf").write_text("\n".join([*lines, ""]))
        self.url = f"{SCHEME}://{HOST}:{self._servers[SENTINEL].port}/{_MASTER}"
        self._ways: dict[NodeName, Sequence[FaultProxy]] = {}
        self._former = ""
        for node in nodes:
            ways = {name: await _proxy_of(stack, self._servers[name].port) for name in _SERVERS}
            names = {self._servers[name].port: way.port for name, way in ways.items()}
            asking = await _proxy_of(stack, self._servers[SENTINEL].port, partial(_renamed, names))
            self._ways[node] = [asking, *ways.values()]

    def children(self) -> Sequence[Child]:
        return [
            Child(
                name,
                (str(server.binary), str(server.folder.with_suffix(".conf")), *(["--sentinel"] * (name == SENTINEL))),
                server.answers_as,
                tier=0,
            )
            for name, server in self._servers.items()
        ]

    async def settled(self) -> None:
        async with Redis(port=self._servers[SENTINEL].port, socket_timeout=_ASK_WITHIN) as sentinel:
            while not await _knows_replica(sentinel):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(_LOOK_EVERY)

    def url_of(self, node: NodeName) -> str:
        return f"{SCHEME}://{HOST}:{self._ways[node][0].port}/{_MASTER}"

    def ways_of(self, node: NodeName) -> Sequence[FaultProxy]:
        return self._ways[node]

    async def flush(self) -> None:
        await _flush(self._servers[await self._master()].port)

    def forget(self) -> None:
        for name in _SERVERS:
            _forget(self._servers[name])

    async def fail_over(self, freeze: Callable[[str], None]) -> None:
        master = await self._master()
        (replica,) = set(_SERVERS) - {master}
        # from here on the replica cannot come back to its master: it has a password that nobody asked for
        await self._tell(replica, "CONFIG", "SET", "masterauth", "nobody")
        await self._tell(master, "CLIENT", "KILL", "TYPE", "replica")
        await asyncio.sleep(_UNREPLICATED)
        self._former = master
        freeze(master)
        try:
            async with asyncio.timeout(_PROMOTED_WITHIN):
                while await self._master() == master:  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(_LOOK_EVERY)
        except TimeoutError:
            raise NotToday("the sentinel has made nobody else master in time") from None

    async def end_failover(self, thaw: Callable[[str], None]) -> None:
        if self._former:
            thaw(self._former)
            self._former = ""
        for name in _SERVERS:
            await self._tell(name, "CONFIG", "SET", "masterauth", "")

    async def _master(self) -> str:
        """The master by the sentinel's word. Raises NotToday if it gives none."""
        try:
            async with Redis(port=self._servers[SENTINEL].port, socket_timeout=_ASK_WITHIN) as sentinel:
                said = await _ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", _MASTER)
            return next(name for name in _SERVERS if self._servers[name].port == int(said[1]))
        except (RedisError, OSError, TypeError) as error:
            raise NotToday(f"the sentinel names no master: {error!r}") from None

    async def _tell(self, name: str, *words: str) -> None:
        try:
            async with Redis(port=self._servers[name].port, socket_timeout=_ASK_WITHIN) as redis:
                await _ask(redis, *words)
        except (RedisError, OSError) as error:
            raise NotToday(f"{name} does not obey: {error!r}") from None


async def _proxy_of(stack: AsyncExitStack, port: int, translate: Callable[[bytes], bytes] | None = None) -> FaultProxy:
    return await stack.enter_async_context(FaultProxy((HOST, port), translate=translate))


def _renamed(ports: dict[int, int], said: bytes) -> bytes:
    """A sentinel's word with other ports in it; all have five digits, so that every length stands."""
    for old, new in ports.items():
        said = said.replace(b"$5\r\n%d\r\n" % old, b"$5\r\n%d\r\n" % new)
    return said


async def _knows_replica(sentinel: Redis) -> bool:
    with suppress(RedisError, OSError):
        replicas = await _ask(sentinel, "SENTINEL", "REPLICAS", _MASTER)
        return any(_fact(replica, b"master-link-status") == b"ok" for replica in replicas)
    return False


async def _ask(redis: Redis, *words: str) -> Any:
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]


def _fact(facts: object, name: bytes) -> object:
    if isinstance(facts, dict):
        return next((value for key, value in facts.items() if key in (name, name.decode())), None)
    return dict(zip(facts[::2], facts[1::2], strict=True)).get(name) if isinstance(facts, list) else None


async def _flush(port: int) -> None:
    async with Redis(port=port, socket_timeout=_ASK_WITHIN) as redis:
        await redis.flushall()


def _forget(server: EmbeddedRedis) -> None:
    # a running server goes on with the files that it has open
    rmtree(server.folder, ignore_errors=True)
    server.prepare()
