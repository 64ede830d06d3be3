"""`hall up` over PostgreSQL: the schema is an operator's, and then all is as over a file."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from director.contract.ids import RoomId
from persistence import migrate
from persistence.store_sql import open_sql_store
from tests.support.fleet import running_fleet
from tests.support.postgres_server import PostgresForTests
from tests.support.stores import all_entries

pytestmark = pytest.mark.fleet

HALL = (sys.executable, "-m", "director.cli.main")


@pytest.fixture
async def url(postgres: PostgresForTests) -> AsyncIterator[str]:
    async with postgres.schema() as url:
        yield url


def hall(*arguments: str, url: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HALL_STORE_URL": url}
    return subprocess.run(
        [*HALL, *arguments], input=typed, capture_output=True, text=True, timeout=90, check=False, env=environment
    )


def test_a_server_without_our_tables_is_left_alone_and_the_command_is_named(tmp_path: Path, url: str) -> None:
    ended = hall("up", "--data", str(tmp_path / "data"), url=url)
    assert ended.returncode == 1
    assert "hall store upgrade" in ended.stderr
    assert "no tables" in ended.stderr


async def test_what_is_said_is_in_the_server(tmp_path: Path, url: str) -> None:
    await migrate.upgrade(url)
    with running_fleet(nodes=2, data=tmp_path / "data", env={"HALL_STORE_URL": url}) as fleet:
        said = hall("send", "math", "hello PostgreSQL", "--director", fleet.director_url, url=url)
        assert said.returncode == 0, said.stderr
    async with open_sql_store(url) as store:
        assert [entry.text for entry in await all_entries(store, RoomId("math"))] == ["hello PostgreSQL"]


async def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    ended = hall("up", "--data", str(tmp_path / "data"), url="postgresql://hall:secret@127.0.0.1:1/hall")
    assert ended.returncode == 1
    assert "HALL_STORE_URL" in ended.stderr
    assert "secret" not in ended.stderr
