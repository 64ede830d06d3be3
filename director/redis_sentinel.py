"""A Redis behind Sentinel: which of its servers is master is asked anew with each connection.

    redis+sentinel://[user:password@]HOST:PORT[,HOST:PORT...]/MASTER[/DB]

User and password are those of the data's servers; the sentinels are asked without. Their port is 26379 by default.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

SCHEME = "redis+sentinel"
_PORT = 26379
_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:(?P<port>\d+))?\Z")


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """What a `redis+sentinel` URL says."""

    sentinels: Sequence[tuple[str, int]]
    master: str
    db: int = 0
    username: str | None = None
    password: str | None = None


def sentinel_address_of(url: str) -> SentinelAddress:
    """The address in `url`. Raises ValueError, without the password in it."""
    parts = urlsplit(url)
    login, _, places = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    master, _, db = parts.path.strip("/").partition("/")
    found = [_PLACE.match(place) for place in places.split(",")]
    if parts.scheme != SCHEME or not master or (db and not db.isdecimal()) or not all(found):
        raise ValueError(f"a Sentinel URL is {SCHEME}://HOST:PORT,HOST:PORT/MASTER, with /DB if that is not 0")
    return SentinelAddress(
        [(place["host"].strip("[]"), int(place["port"] or _PORT)) for place in found if place is not None],
        unquote(master),
        int(db or 0),
        unquote(username) or None,
        unquote(password) or None,
    )


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Both: the master as the sentinels say, and a crowd of callers that waits for few connections."""


def sentinel_pool(url: str, *, socket_options: dict[str, Any], pool_options: dict[str, Any]) -> BlockingConnectionPool:
    """A pool of connections to the master. `socket_options` are for the sentinels' connections, too."""
    address = sentinel_address_of(url)
    sentinel = Sentinel(address.sentinels, sentinel_kwargs=socket_options)  # type: ignore[no-untyped-call]
    login = {"username": address.username, "password": address.password, "db": address.db}
    options = {**login, **socket_options, **pool_options}
    return _SentinelPool(address.master, sentinel, **options)  # type: ignore[no-untyped-call]
