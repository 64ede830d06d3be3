"""A process that is frozen inside a transaction holds nobody up for long: real processes over a real SQLite file."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from director.lock_watch import ForeignHolder, KilledHolder, LockWatch
from director.supervisor import Child, Died
from persistence import migrate
from persistence.store_sql import open_sql_store
from tests.fleet.test_supervisor import Watched, supervising
from tests.support.fleet import running_fleet
from tests.support.store_faults import STRICKEN, lock_held, running
from tests.support.stores import all_entries, store_url

pytestmark = pytest.mark.fleet

# Its first life freezes itself inside a transaction; the next ones only say that they are here.
FREEZING = f"""
import os, signal, sys
from pathlib import Path
mark = Path(sys.argv[1].removeprefix("sqlite+aiosqlite:///") + ".frozen-once")
print("here", os.getpid(), flush=True)
if mark.exists():
    signal.pause()
mark.touch()
sys.argv[2:] = ["AddEntries", "SIGSTOP"]
exec({STRICKEN!r})
"""

# Commits one message after the other into a room of its own, and says how long the longest commit has taken.
COMMITTING = """
import asyncio, os, sys, time
from director.contract.ids import RoomId
from persistence.contract.store import StoreUnavailable
from persistence.store_sql import open_sql_store
from tests.support.stores import append, open_room, said

async def main() -> None:
    room, number, longest = RoomId("physics-7"), 0, 0.0
    async with open_sql_store(sys.argv[1]) as store:
        while True:
            try:
                await open_room(store, room)
                break
            except StoreUnavailable:
                pass
        print("here", os.getpid(), flush=True)
        while True:
            began_at = time.monotonic()
            while True:
                try:
                    await append(store, said(f"c{number}"), room=room)
                    break
                except StoreUnavailable:
                    pass
            longest = max(longest, time.monotonic() - began_at)
            number += 1
            print("committed", number, longest, flush=True)
            await asyncio.sleep(0.01)

asyncio.run(main())
"""


class Watching:
    """What a lock watch has told."""

    def __init__(self) -> None:
        self.told: list[KilledHolder | ForeignHolder] = []
        self.news = asyncio.Event()

    def __call__(self, overdue: KilledHolder | ForeignHolder) -> None:
        self.told.append(overdue)
        self.news.set()


@asynccontextmanager
async def watching(watch: LockWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def child_of(seen: Watched, name: str, code: str, url: str) -> Child:
    async def ready(pid: int) -> bool:
        return seen.has_said(name, f"here {pid}")

    return Child(name, (sys.executable, "-c", code, url), ready)


def commits_of(seen: Watched, name: str) -> list[tuple[int, float]]:
    words = [line.split() for of, line in seen.lines if of == name and line.startswith("committed")]
    return [(int(number), float(longest)) for _, number, longest in words]


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    url = store_url(tmp_path)
    await migrate.upgrade(url)
    return url


async def test_a_child_frozen_inside_a_transaction_is_killed_and_the_others_go_on(tmp_path: Path, url: str) -> None:
    told = Watching()
    async with supervising(tmp_path) as (supervisor, seen):
        watch = LockWatch(tmp_path / "store.sqlite3", kill=supervisor.kill, on_overdue=told)
        async with watching(watch):
            supervisor.start(child_of(seen, "other", COMMITTING, url))
            await seen.until(lambda: len(commits_of(seen, "other")) > 10)
            supervisor.start(child_of(seen, "frozen", FREEZING, url))
            await seen.until(lambda: seen.has_said("frozen", "at AddEntries"))
            frozen = seen.pid_of("frozen")
            before = len(commits_of(seen, "other"))
            await seen.until(lambda: len(commits_of(seen, "other")) > before + 10)
            await seen.until_ready("frozen", times=2)
            (death,) = seen.of(Died, "frozen")
            assert (death.pid, death.status) == (frozen, -signal.SIGKILL)
            assert told.told == [KilledHolder("frozen", frozen)]
            assert not seen.of(Died, "other")
        await supervisor.stop()
        longest = commits_of(seen, "other")[-1][1]
        assert 1.0 < longest < 4.0, "nobody was held up, or for too long"
    async with open_sql_store(url) as store:
        assert await all_entries(store) == [], "the frozen one has committed"


async def test_a_child_that_writes_all_the_time_is_left_alone(tmp_path: Path, url: str) -> None:
    """It has the lock at nearly every look, each time by another transaction."""
    told = Watching()
    async with supervising(tmp_path) as (supervisor, seen):
        watch = LockWatch(tmp_path / "store.sqlite3", kill=supervisor.kill, on_overdue=told)
        supervisor.start(child_of(seen, "busy", COMMITTING.replace("sleep(0.01)", "sleep(0)"), url))
        await seen.until(lambda: len(commits_of(seen, "busy")) > 10)
        looks = 0
        while looks < 400:
            before = len(commits_of(seen, "busy"))
            watch.look(elapsed=0.25)
            looks += 1
            await seen.until(lambda before=before: len(commits_of(seen, "busy")) > before)  # type: ignore[misc]
        assert told.told == []
        assert not seen.of(Died, "busy")


async def test_a_stranger_that_holds_the_lock_is_named_once_and_never_killed(tmp_path: Path, url: str) -> None:
    told = Watching()
    async with supervising(tmp_path) as (supervisor, seen):
        watch = LockWatch(tmp_path / "store.sqlite3", kill=supervisor.kill, on_overdue=told)
        supervisor.start(child_of(seen, "other", COMMITTING, url))
        await seen.until_ready("other")
        async with running(STRICKEN, url, "AddEntries", "SIGSTOP") as stranger:
            assert await stranger.word() == "at AddEntries"
            for _ in range(40):
                watch.look(elapsed=0.25)
            assert told.told == [ForeignHolder(stranger.pid)]
            assert f"kill -9 {stranger.pid}" in ForeignHolder(stranger.pid).words
            await stranger.until_stopped()
            stranger.signal(signal.SIGCONT)
            assert await stranger.word() == "Appended"
            assert await stranger.end() == 0
        assert not seen.of(Died, "other")


def test_a_holder_that_cannot_be_seen_from_here_is_not_called_by_a_number() -> None:
    assert "container" in ForeignHolder(0).words
    assert " 0" not in ForeignHolder(0).words


def test_hall_up_watches_the_lock_of_its_store(tmp_path: Path) -> None:
    with running_fleet(nodes=1, data=tmp_path / "data") as fleet, lock_held(tmp_path / "data" / "store.sqlite3"):
        fleet.wait_until(lambda: f"kill -9 {os.getpid()}" in fleet.output(), "the stranger is named", within=20)
        assert fleet.facts()["node-1"]["starts"] == 1
