"""A real Sentinel set for tests: a master, a replica that can be kept from it, and one sentinel."""

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.support.valkey_server import ValkeyServer, free_port, valkey

HAS_SENTINEL = bool(shutil.which("redis-server") and shutil.which("redis-sentinel"))
MASTER = "hall"
_BINARY = "redis-server"


@dataclass(slots=True)
class SentinelSet:
    """What is running. `master` is the first one; after its `kill` the sentinel promotes `replica`."""

    master: ValkeyServer
    replica: ValkeyServer
    sentinel_port: int

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel_port}/{MASTER}"

    def lose_writes(self) -> None:
        """From here on the replica gets nothing of what is written: it comes with a password that nobody asked for. (A
        proxy between the two would not do: the sentinel sends the replica past it within seconds.)"""
        with SyncRedis(port=self.replica.port) as replica, SyncRedis(port=self.master.port) as master:
            replica.config_set("masterauth", "nobody")
            master.execute_command("CLIENT", "KILL", "TYPE", "replica")
            while master.info("replication")["connected_slaves"]:
                pass


@asynccontextmanager
async def sentinel_set(folder: Path) -> AsyncIterator[SentinelSet]:
    """A set that is in order: the sentinel knows the master and its replica. Use it in the main thread."""
    with valkey(_BINARY) as master, valkey(_BINARY) as replica:
        async with Redis(port=replica.port) as redis:
            await redis.execute_command("CONFIG", "SET", "replica-announce-ip", "127.0.0.1")
            await redis.execute_command("REPLICAOF", "127.0.0.1", str(master.port))
            while b"up" not in _line_of(await redis.execute_command("INFO", "replication"), "master_link_status"):
                pass
        port = free_port()
        with _sentinel(folder / "sentinel.conf", port, master.port) as process:
            async with Redis(port=port) as sentinel:
                while not await _knows_replica(sentinel):
                    assert process.poll() is None, "redis-sentinel ended"
            yield SentinelSet(master, replica, port)


def _line_of(info: object, name: str) -> bytes:
    if isinstance(info, dict):
        return str(info.get(name, "")).encode()
    lines = bytes(info).split(b"\r\n") if isinstance(info, bytes) else []
    return next((line for line in lines if line.startswith(name.encode())), b"")


async def _knows_replica(sentinel: Redis) -> bool:
    with suppress(RedisError):
        return bool(await sentinel.execute_command("SENTINEL", "REPLICAS", MASTER))
    return False


class _sentinel:  # noqa: N801 (a context manager, used as a function)
    def __init__(self, conf: Path, port: int, master_port: int) -> None:
        conf.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {conf.parent}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {master_port} 1\n"
            f"sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n"
        )
        self._conf = conf

    def __enter__(self) -> "subprocess.Popen[bytes]":
        # tied to this process by a parent that ends with it: prctl as in valkey_server, in one line of Python
        tie = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
        self._process = subprocess.Popen(
            [sys.executable, "-c", tie, "redis-sentinel", str(self._conf)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
