"""What all tests share."""

from collections.abc import Iterator

import pytest

from tests.support.fleet import Fleet, running_fleet
from tests.support.postgres_server import PostgresForTests, postgres_for_tests


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of two nodes that a whole session of tests shares; a test that kills starts its own."""
    with running_fleet(nodes=2, data=tmp_path_factory.mktemp("hall") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresForTests]:
    """A PostgreSQL server that a whole session of tests shares; a test that breaks it mends it."""
    with postgres_for_tests() as server:
        yield server
