"""The hall in Redis: its keys, its scripts and a client that gives up early.

A call is tried once. redis-py would retry ten times, which outlives every lease; here whoever calls decides.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import NodeName, RoomId
from director.contract.lease import LeaseTimings
from director.redis_sentinel import SCHEME, sentinel_pool

META = "{hall}:meta"
ROOMS = "{hall}:rooms"
VERDICTS = "{hall}:verdicts"
STEWARD = "{hall}:steward"
ORDERS = "{hall}:orders"
OPERATIONS = "{hall}:operations"
CHANNEL = "{hall}:notices"

_LUA = Path(__file__).with_name("lua")
_MAX_CONNECTIONS = 8
_OUT_OF_SERVICE = frozenset({"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN"})


def room_key(room: RoomId) -> str:
    return "{hall}:room:" + room


def past_key(room: RoomId) -> str:
    return "{hall}:past:" + room


def operation_key(name: str) -> str:
    return "{hall}:operation:" + name


def node_key(node: NodeName) -> str:
    return "{hall}:node:" + node


@cache
def _script_text(name: str) -> str:
    return (_LUA / "prelude.lua").read_text() + "\n" + (_LUA / f"{name}.lua").read_text()


class HallRedis:
    """A client for one purpose, with its own connections. Connects when first used.

    `url` is that of a server (redis, rediss, unix) or of a Sentinel set (redis_sentinel). A socket that is silent for
    `silence` seconds is given up, and so is a whole call after twice that. `random_bytes` names a generation that
    begins with a call, and `settle` is the settle time after that. Raises ValueError for a URL of another kind.
    """

    def __init__(
        self,
        url: str,
        *,
        random_bytes: Callable[[int], bytes],
        silence: float = 0.5,
        settle: float = LeaseTimings().settle,
    ) -> None:
        self._random_bytes = random_bytes
        self._silence = silence
        self._settle_ms = round(settle * 1000)
        sockets = {
            "socket_timeout": silence,
            "socket_connect_timeout": silence,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": [],
            "decode_responses": True,
            "protocol": 2,
            "driver_info": None,
        }
        crowd = {"max_connections": _MAX_CONNECTIONS, "timeout": silence}
        if url.startswith(SCHEME + ":"):
            self._pool = sentinel_pool(url, socket_options=sockets, pool_options=crowd)
        else:
            self._pool = BlockingConnectionPool.from_url(url, **crowd, **sockets)
        self.redis: Redis = Redis(connection_pool=self._pool)
        self._scripts: dict[str, Callable[..., Any]] = {}

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[Redis]:
        """The client, for one question: raises ControlPathUnavailable when it is not answered in time."""
        try:
            with heeding_cancellation():
                async with asyncio.timeout(2 * self._silence):
                    yield self.redis
        except (TimeoutError, OSError, exceptions.RedisError) as error:
            if not _is_outage(error):
                raise
            raise ControlPathUnavailable(f"Redis: {error or type(error).__name__}") from error

    async def run(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """What the script lua/NAME.lua answers. What prelude.lua needs is put before `keys` and `args`.

        Raises ControlPathUnavailable; the script may have run nevertheless.
        """
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.redis.register_script(_script_text(name))
        async with self.asked():
            new_life = f"{self._random_bytes(8).hex()} {self._settle_ms}"
            return await script(keys=[META, *keys], args=[new_life, *args])

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[PubSub]:
        """A connection of its own that listens to the hall's notices; raises ControlPathUnavailable, also inside."""
        pubsub = self.redis.pubsub()
        try:
            async with self.asked():
                await pubsub.subscribe(CHANNEL)
                # redis-py sends and does not wait: without the answer nobody listens yet.
                if await pubsub.get_message(timeout=self._silence) is None:
                    raise ControlPathUnavailable("Redis: no answer to SUBSCRIBE")
            yield pubsub
        except (TimeoutError, OSError, exceptions.RedisError) as error:
            if not _is_outage(error):
                raise
            raise ControlPathUnavailable(f"Redis: {error or type(error).__name__}") from error
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Close all connections; a call after this opens them again."""
        await self._pool.disconnect()
        if isinstance(self._pool, SentinelConnectionPool):
            await self._pool.sentinel_manager.aclose()


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Raises CancelledError at the end of the block if the task was cancelled in it and nobody has told.

    redis-py sends by asyncio.wait_for, and that of Python 3.11 loses a cancellation that comes with the outcome: a loop
    that is to end would go on for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


def _is_outage(error: Exception) -> bool:
    """Whether the server is away or out of service, rather than our question wrong."""
    match error:
        case exceptions.ReadOnlyError() | exceptions.OutOfMemoryError() | exceptions.ClusterError():
            return True
        case exceptions.ResponseError():
            return str(error).split(" ", 1)[0] in _OUT_OF_SERVICE
        case _:
            return isinstance(error, TimeoutError | OSError | exceptions.ConnectionError | exceptions.TimeoutError)
