"""PostgresHosts: of the servers that a URL names, one that may be connected to, also while others are silent.

The driver allows one span for all hosts together, so one whose machine is gone without a word would use it up, and the
standby that has taken its place would never be asked.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import asyncpg

NEXT_AFTER = 0.3
"""Seconds after which a host that has not answered yet gets company by the next one."""


def dsns_of(dsn: str) -> list[str]:
    """The URL with each of its hosts alone, in their order."""
    parts = urlsplit(dsn)
    login, at, places = parts.netloc.rpartition("@")
    if "," not in places:
        return [dsn]
    return [parts._replace(netloc=login + at + place).geturl() for place in places.split(",")]


async def connect_to_one(dsn: str, connect: Callable[[str], Awaitable[asyncpg.Connection]]) -> asyncpg.Connection:
    """The first connection that `connect` makes to a host of `dsn`, by their order unless one is slow.

    If none can be made it raises what says most: that a host is there but takes no writes, else the last host's error.
    """
    left = deque(dsns_of(dsn))
    tries: set[asyncio.Task[asyncpg.Connection]] = set()
    errors: list[BaseException] = []
    try:
        while left or tries:
            if left:
                tries.add(asyncio.ensure_future(connect(left.popleft())))
            done, _ = await asyncio.wait(
                tries, timeout=NEXT_AFTER if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for it in done:
                error = it.exception()
                if error is None:
                    tries.discard(it)
                    return it.result()
                tries.discard(it)
                errors.append(error)
    finally:
        await _give_up(tries)
    raise next((it for it in errors if isinstance(it, asyncpg.ReadOnlySQLTransactionError)), errors[-1])


async def _give_up(tries: set["asyncio.Task[asyncpg.Connection]"]) -> None:
    for it in tries:
        it.cancel()
    for made in await asyncio.gather(*tries, return_exceptions=True):
        if isinstance(made, asyncpg.Connection):
            made.terminate()
