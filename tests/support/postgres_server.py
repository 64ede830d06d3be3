"""A real PostgreSQL server for tests: the one of HALL_TEST_POSTGRES_URL, else one of our own; skipped where neither is.

Each test has a schema of its own in it.
"""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from director.own_postgres import NoPostgresBinaries, OwnPostgres, PostgresFailed, running_postgres
from persistence.engines import postgres_dsn_of

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class PostgresForTests:
    """A server that answers at `url`. `own` is there if it is ours, and may then be stopped, frozen and killed."""

    url: str
    own: OwnPostgres | None

    @property
    def breakable(self) -> OwnPostgres:
        """The server, for tests that break it; they are skipped where it is somebody else's."""
        if self.own is None:
            pytest.skip("the server of HALL_TEST_POSTGRES_URL is not ours to break")
        return self.own

    async def run(self, *statements: str, url: str | None = None) -> str:
        """Run statements on a connection of its own; the answer to the last one."""
        connection = await asyncpg.connect(postgres_dsn_of(url or self.url))
        try:
            answer = ""
            for statement in statements:
                answer = await connection.execute(statement)
            return answer
        finally:
            await connection.close()

    @asynccontextmanager
    async def schema(self) -> AsyncIterator[str]:
        """The URL of an empty schema, which is dropped after the block."""
        name = f"hall_test_{os.getpid()}_{next(_numbers)}"
        await self.run(f"CREATE SCHEMA {name}")
        try:
            yield with_setting(self.url, "search_path", name)
        finally:
            await self.run(f"SET client_min_messages = warning; DROP SCHEMA {name} CASCADE")


def with_setting(url: str, name: str, value: str) -> str:
    """The URL of a store whose connections have one more setting."""
    return f"{url}{'&' if '?' in url else '?'}{name}={value}"


@contextmanager
def postgres_for_tests() -> Iterator[PostgresForTests]:
    """The server of a whole session of tests; skips where there is none."""
    given = os.environ.get("HALL_TEST_POSTGRES_URL")
    with ExitStack() as stack:
        if given:
            yield PostgresForTests(given, None)
            return
        try:
            own = stack.enter_context(running_postgres())
        except (NoPostgresBinaries, PostgresFailed) as error:
            pytest.skip(f"no PostgreSQL: {error}")
        yield PostgresForTests(own.url, own)
