"""The roles of deploy/postgresql.md: a node can do its work, and no more."""

import re
from pathlib import Path

import asyncpg
import pytest

from director.contract.ids import RoomId
from persistence import migrate
from persistence.contract.store import Opened
from persistence.store_sql import open_sql_store
from tests.support.postgres_server import PostgresForTests
from tests.support.stores import open_room
from tests.support.talkers import talking

GUIDE = Path(__file__).parents[2] / "deploy" / "postgresql.md"
ROLES = re.compile(r"## Roles\n\n```sql\n(.*?)```", re.DOTALL)


async def test_the_rights_that_the_guide_gives_are_all_that_a_node_needs(postgres: PostgresForTests) -> None:
    """Its statements, run as they stand."""
    assert postgres.breakable
    found = ROLES.search(GUIDE.read_text())
    assert found is not None
    as_superuser, as_owner = found[1].split("\\c hall hall_owner\n")
    url = postgres.url.rpartition("/")[0] + "/hall"
    owner, node = (url.replace("//postgres@", f"//{role}@") for role in ("hall_owner", "hall"))
    try:
        await postgres.run(*re.split(r"^(?=[A-Z])", as_superuser, flags=re.MULTILINE)[1:])
        await postgres.run(as_owner, url=owner)
        await migrate.upgrade(owner)
        assert await migrate.schema_problem(node) is None
        async with open_sql_store(node) as store, talking(store) as talkers:
            await talkers.until_acked(20)
            assert isinstance(await open_room(store, RoomId("another")), Opened)
        for forbidden in ("DELETE FROM entries", "DROP TABLE owners", "CREATE TABLE hall.mine ()"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await postgres.run(forbidden, url=node)
    finally:
        await postgres.run("DROP DATABASE IF EXISTS hall WITH (FORCE)")
        await postgres.run("DROP ROLE IF EXISTS hall", "DROP ROLE IF EXISTS hall_owner")
