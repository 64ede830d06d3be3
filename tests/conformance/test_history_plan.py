"""What the store really sends for a page of history, and how the database answers it: by its index, from where the page
begins, so that the length of a room does not matter."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from director.contract.ids import RoomId, Seq
from persistence import migrate, schema
from persistence.engines import open_engines
from persistence.store_sql import SqlStore
from tests.support.postgres_server import PostgresForTests
from tests.support.stores import ROOM, STUDENT, open_room, said, store_url

LENGTH = 3_000


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    """A store with some long rooms."""
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            url = store_url(tmp_path)
        else:
            server: PostgresForTests = request.getfixturevalue("postgres")
            url = await stack.enter_async_context(server.schema())
        await migrate.upgrade(url)
        engines = open_engines(url)
        opened = await stack.enter_async_context(SqlStore(engines))
        for room in (RoomId("a"), ROOM, RoomId("z")):
            await open_room(opened, room)
            entry = said("c")
            rows = [
                {
                    "room": room,
                    "seq": seq,
                    "epoch": 1,
                    "at": seq,
                    "kind": entry.kind.value,
                    "cid": f"c{seq}",
                    "author": STUDENT.id,
                    "author_name": STUDENT.name,
                    "author_role": STUDENT.role.value,
                    "text": "words",
                    "deleted": False,
                    "digest": entry.digest,
                }
                for seq in range(1, LENGTH + 1)
            ]
            async with engines.writer.begin() as connection:
                await connection.execute(insert(schema.entries), rows)
                await connection.execute(schema.rooms.update().values(last_seq=LENGTH))
        async with engines.writer.begin() as connection:
            await connection.exec_driver_sql("ANALYZE")
        yield opened


@contextmanager
def overheard(engine: AsyncEngine) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that goes to the database, with its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        sent.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def plan_of(engine: AsyncEngine, statement: str, parameters: Any) -> str:
    """How the database would go about it."""
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    async with engine.connect() as connection:
        rows = (await connection.exec_driver_sql(explain + statement, parameters)).all()
    return "\n".join(str(row[-1]) for row in rows)


def goes_by_its_index_alone(plan: str) -> bool:
    """Sought in an index, nothing scanned, nothing sorted."""
    wrong = ("SCAN", "TEMP B-TREE", "Seq Scan", "Sort", "Bitmap")
    right = ("USING PRIMARY KEY (room=? AND seq", "Index Scan using pk_entries", "Index Scan Backward using pk_entries")
    return any(it in plan for it in right) and not any(it in plan for it in wrong)


@pytest.mark.parametrize("before", [None, 2, 1_500, LENGTH])
async def test_a_page_before_a_number_is_sought_by_its_key(store: SqlStore, before: int | None) -> None:
    engine = store._engines.reader
    with overheard(engine) as sent:
        page = await store.read_before(
            ROOM, before=None if before is None else Seq(before), limit=50, max_bytes=1 << 18
        )
    first = (before or LENGTH + 1) - 1
    assert [it.seq for it in page.entries] == list(range(max(1, first - 49), first + 1))
    ((statement, parameters),) = sent
    plan = await plan_of(engine, statement, parameters)
    assert goes_by_its_index_alone(plan) or (before is None and "PRIMARY KEY (room=?)" in plan), plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("after", [0, 1_500, LENGTH - 1])
async def test_a_page_after_a_number_is_sought_by_its_key(store: SqlStore, after: int) -> None:
    engine = store._engines.reader
    with overheard(engine) as sent:
        page = await store.read_after(ROOM, after=Seq(after), limit=50, max_bytes=1 << 18)
    assert [it.seq for it in page.entries] == list(range(after + 1, min(after + 50, LENGTH) + 1))
    ((statement, parameters),) = sent
    plan = await plan_of(engine, statement, parameters)
    assert goes_by_its_index_alone(plan), plan


async def test_a_scan_would_be_noticed(store: SqlStore) -> None:
    engine = store._engines.reader
    scan = "SELECT seq FROM entries WHERE text = 'words' ORDER BY at LIMIT 50"
    assert not goes_by_its_index_alone(await plan_of(engine, scan, ()))
