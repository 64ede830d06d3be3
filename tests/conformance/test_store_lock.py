"""The write lock of a SQLite file among processes: who holds it, who waits and for how long, who dies with it."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest

from director.contract.ids import RoomId, Seq
from director.lock_watch import holder_of
from persistence import migrate
from persistence.contract.store import Duplicate, Opened, OutcomeUnknown, StoreUnavailable, Unsettled
from persistence.engines import open_engines, sqlite_file_of
from persistence.sqlite_lock import BEGIN, WriterConnection
from persistence.store_sql import SqlStore, open_sql_store
from persistence.writer import BatchWriter, WriterLimits
from tests.support.store_faults import SHORT_OF_DISK, STRICKEN, hooked, lock_held, running
from tests.support.stores import (
    NODE,
    ONE,
    ROOM,
    FailingLog,
    Settlements,
    all_entries,
    append,
    numbers,
    open_room,
    said,
    store_url,
)


@pytest.fixture
async def url(tmp_path: Path) -> str:
    url = store_url(tmp_path)
    await migrate.upgrade(url)
    return url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite3"


HOLDING = """
import asyncio, sys
from persistence.engines import open_engines

async def main():
    engines = open_engines(sys.argv[1])
    for _ in range(2):
        async with engines.writer.begin():
            print("holds", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        print("let go", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


class TestHolder:
    """What somebody who looks from another process can tell of the holder."""

    async def test_the_holder_is_known_by_its_process_and_each_transaction_by_its_note(
        self, url: str, path: Path
    ) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HOLDING, url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdin is not None
        assert process.stdout is not None
        seen = []
        for word in (b"holds", b"let go", b"holds", b"let go"):
            assert (await process.stdout.readline()).strip() == word
            seen.append(holder_of(path))
            process.stdin.write(b"\n")
        await process.wait()
        first, after_first, second, after_second = seen
        assert after_first is None
        assert after_second is None
        assert first is not None
        assert second is not None
        assert first.pid == second.pid == process.pid
        assert str(process.pid).encode() in first.note.split()
        assert first.note != second.note

    def test_a_file_that_nobody_has_open_has_no_holder(self, tmp_path: Path) -> None:
        assert holder_of(tmp_path / "no such file") is None

    async def test_a_holder_that_was_killed_is_none_any_more(self, url: str, path: Path) -> None:
        async with running(STRICKEN, url, "AddEntries", "SIGSTOP") as stopped:
            assert await stopped.word() == "at AddEntries"
            before = holder_of(path)
            assert before is not None
            assert before.pid == stopped.pid
            stopped.signal(signal.SIGKILL)
            assert await stopped.end() == -signal.SIGKILL
            assert holder_of(path) is None

    async def test_where_the_note_cannot_be_written_the_store_is_unavailable(self, url: str, path: Path) -> None:
        path.with_name(path.name + ".holder").unlink()
        path.with_name(path.name + ".holder").mkdir()
        async with open_sql_store(url) as store:
            with pytest.raises(StoreUnavailable, match="holder"):
                await open_room(store)

    async def test_a_note_that_fails_in_a_transaction_leaves_the_lock_free(
        self, url: str, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with open_sql_store(url) as store, open_sql_store(url) as other:
            await open_room(store)
            with monkeypatch.context() as full:

                def fail(*_: object) -> int:
                    raise OSError(28, "No space left on device")

                full.setattr(os, "pwrite", fail)
                with pytest.raises(StoreUnavailable, match="No space"):
                    await append(store, said("a"))
            assert numbers(await append(other, said("b"))) == [1]
            assert numbers(await append(store, said("a"))) == [2]

    @pytest.mark.parametrize(
        ("url", "file"),
        [
            ("sqlite+aiosqlite:////data/store.sqlite3", Path("/data/store.sqlite3")),
            ("sqlite+aiosqlite:///:memory:", None),
            ("postgresql+asyncpg://h/d", None),
        ],
    )
    def test_only_a_store_that_is_a_file_has_one(self, url: str, file: Path | None) -> None:
        assert sqlite_file_of(url) == file


class TestWaiting:
    """While another process has the lock."""

    async def test_appending_gives_up_soon_opening_later_and_reading_goes_on(self, url: str, path: Path) -> None:
        engines = open_engines(url, lock_timeout=0.2)
        async with SqlStore(engines, open_within=0.7) as store:
            await open_room(store)
            await append(store, said("a"))
            with lock_held(path):
                began_at = monotonic()
                with pytest.raises(StoreUnavailable) as refused:
                    await append(store, said("b"))
                assert not isinstance(refused.value, OutcomeUnknown)
                assert monotonic() - began_at < 0.2 + 0.5
                began_at = monotonic()
                with pytest.raises(StoreUnavailable):
                    await open_room(store, epoch=2)
                assert 0.7 <= monotonic() - began_at < 0.7 + 0.2 + 0.5
                assert (await store.row_states([ROOM]))[ROOM].last_seq == 1
                assert [it.cid for it in await all_entries(store)] == ["a"]

    async def test_a_batch_is_appended_when_the_lock_is_let_go_while_it_waits(self, url: str, path: Path) -> None:
        begins = asyncio.Event()
        engines = hooked(open_engines(url, lock_timeout=30), lambda moment: begins.set() if moment == "BEGIN" else None)
        async with SqlStore(engines) as store:
            await open_room(store)
            begins.clear()

            with lock_held(path) as other:
                waiting = asyncio.create_task(append(store, said("a")))
                await begins.wait()
                other.execute("ROLLBACK")
                assert numbers(await waiting) == [1]

    def test_a_begin_that_no_waiting_can_help_fails_at_once(self, path: Path) -> None:
        connection = sqlite3.connect(str(path), factory=WriterConnection, timeout=100.0, isolation_level=None)
        connection.cursor().execute(BEGIN)
        began_at = monotonic()
        with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
            connection.cursor().execute(BEGIN)
        assert monotonic() - began_at < 50
        connection.close()

    async def test_openings_that_queue_up_wait_no_longer_than_one_alone(self, url: str, path: Path) -> None:
        engines = open_engines(url, lock_timeout=0.2)
        async with SqlStore(engines, open_within=0.6) as store:
            with lock_held(path):
                began_at = monotonic()
                openings = [open_room(store, RoomId(f"r{i}")) for i in range(20)]
                outcomes = await asyncio.gather(*openings, return_exceptions=True)
                assert all(isinstance(it, StoreUnavailable) for it in outcomes)
                assert monotonic() - began_at < 0.6 + 0.2 + 0.7

    async def test_a_batch_does_not_wait_for_all_openings_that_came_before_it(self, url: str) -> None:
        """All rooms of a dead node are opened at once, in a transaction each."""
        async with open_sql_store(url) as store:
            await open_room(store)
            settled: list[str] = []

            async def opening(number: int) -> None:
                await open_room(store, RoomId(f"r{number}"))
                settled.append("room")

            openings = [asyncio.create_task(opening(i)) for i in range(20)]
            while not settled:
                await asyncio.wait(openings, return_when=asyncio.FIRST_COMPLETED)
            opened_before = len(settled)
            await append(store, said("a"))
            assert len(settled) <= opened_before + 2
            await asyncio.gather(*openings)

    async def test_an_opening_goes_on_when_the_lock_is_let_go(self, url: str, path: Path) -> None:
        engines = open_engines(url, lock_timeout=0.05)
        async with SqlStore(engines, open_within=30) as store:
            with lock_held(path) as other:
                opening = asyncio.create_task(open_room(store))
                # an append that fails proves that the opening's own turn has failed before it
                with pytest.raises(StoreUnavailable):
                    await append(store, said("a"))
                assert not opening.done()
                other.execute("ROLLBACK")
                assert isinstance(await opening, Opened)

    async def test_a_file_locked_as_a_whole_is_unavailable_to_readers_too_within_seconds(
        self, url: str, path: Path
    ) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        engines = open_engines(url, lock_timeout=0.1)
        async with SqlStore(engines, open_within=0.3) as store:
            for call in (store.row_states([ROOM]), open_room(store), append(store, said("a"))):
                began_at = monotonic()
                with pytest.raises(StoreUnavailable):
                    await call
                assert monotonic() - began_at < 3
            other.close()
            assert isinstance(await open_room(store), Opened)

    async def test_a_wait_that_is_cancelled_takes_no_lock_afterwards(self, url: str, path: Path) -> None:
        begins = asyncio.Event()
        engines = hooked(open_engines(url, lock_timeout=30), lambda moment: begins.set() if moment == "BEGIN" else None)
        async with SqlStore(engines) as store, open_sql_store(url) as third:
            await open_room(store)
            with lock_held(path) as other:
                begins.clear()
                waiting = asyncio.create_task(append(store, said("a")))
                await begins.wait()
                waiting.cancel()
                other.execute("ROLLBACK")
                await asyncio.gather(waiting, return_exceptions=True)
            assert numbers(await append(third, said("b"))) == [1]
            assert numbers(await append(store, said("a"))) == [2]


class TestStricken:
    """A process that stops or dies in the middle of a batch."""

    @pytest.mark.parametrize("moment", ["AddEntries", "MoveRooms"])
    async def test_of_a_process_killed_inside_a_transaction_nothing_is_seen(
        self, url: str, path: Path, moment: str
    ) -> None:
        async with running(STRICKEN, url, moment, "SIGKILL") as killed:
            assert (await killed.word()).startswith(f"at {moment}")
            assert await killed.end() == -signal.SIGKILL
        async with open_sql_store(url) as store:
            assert await all_entries(store) == []
            assert (await store.row_states([ROOM]))[ROOM].last_seq == 0
            assert numbers(await append(store, said("ours"))) == [1]
        with sqlite3.connect(path) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
        raw.close()

    async def test_a_batch_frozen_before_its_begin_commits_nothing_when_it_wakes_after_the_fence(
        self, url: str
    ) -> None:
        async with running(STRICKEN, url, "BEGIN", "SIGSTOP") as zombie, open_sql_store(url) as store:
            assert await zombie.word() == "at BEGIN"
            opened = await open_room(store, epoch=2, incarnation="inc-2")
            assert isinstance(opened, Opened)
            await zombie.until_stopped()
            zombie.signal(signal.SIGCONT)
            assert await zombie.word() == "Fenced"
            assert await zombie.end() == 0
            assert await all_entries(store) == []
            assert [it.first_seq for it in await store.read_owners(ROOM)] == [1, 1]

    async def test_a_batch_frozen_inside_its_transaction_is_before_the_fence_as_a_whole(self, url: str) -> None:
        """The fence waits for it; when it wakes, the new owner has read what it committed."""
        engines = open_engines(url)
        async with (
            running(STRICKEN, url, "AddEntries", "SIGSTOP") as frozen,
            SqlStore(engines, open_within=0.2) as hasty,
            open_sql_store(url) as store,
        ):
            assert await frozen.word() == "at AddEntries"
            with pytest.raises(StoreUnavailable):
                await open_room(hasty, epoch=2)
            await frozen.until_stopped()
            frozen.signal(signal.SIGCONT)
            assert await frozen.word() == "Appended"
            opened = await open_room(store, epoch=2)
            assert isinstance(opened, Opened)
            assert opened.state.last_seq == 1
            again = (await append(store, said("theirs", "x" * 9000), epoch=2))[0]
            assert isinstance(again, Duplicate)
            assert again.epoch == ONE


class TestWriter:
    """The batch writer over a file that another process locks for seconds."""

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[SqlStore]:
        async with open_sql_store(url) as store:
            await open_room(store)
            yield store

    async def test_senders_are_told_within_seconds_and_the_writer_recovers_by_itself(
        self, store: SqlStore, path: Path
    ) -> None:
        limits = WriterLimits(max_waiting=40)
        told_after: list[float] = []
        told = asyncio.Event()
        settled = Settlements()

        def note(it: object) -> None:
            told_after.append(monotonic() - put_at)
            told.set()

        settled.listener = note
        writer = BatchWriter(store, settled, wall_ms=lambda: 1_000, now=monotonic, limits=limits)

        def put(cid: str) -> bool:
            return writer.put(ROOM, said(cid), epoch=ONE, incarnation=NODE, head=settled_head(settled))

        run = asyncio.create_task(writer.run())
        with lock_held(path) as other:
            put_at = monotonic()
            taken = [put(f"c{i}") for i in range(50)]
            assert taken == [True] * 40 + [False] * 10, "memory is bounded"
            await asyncio.wait_for(told.wait(), 10)
            assert 3.0 <= told_after[0] <= 3.0 + 2 * 0.5 + 1.0
            assert {type(it) for _, it in settled.of()} == {Unsettled}
            assert len(settled.of()) == 40
            for i in range(20):
                assert put(f"d{i}")
            other.execute("ROLLBACK")
        await writer.close(within=10)
        await run
        assert [cid for cid, _ in settled.of()[40:]] == [f"d{i}" for i in range(20)]
        assert [it.cid for it in await all_entries(store)] == [f"d{i}" for i in range(20)], "order is kept"
        assert numbers([it for _, it in settled.of()]) == list(range(1, 21))

    async def test_a_lock_held_for_a_second_is_not_noticed_by_senders(self, store: SqlStore, path: Path) -> None:
        settled = Settlements()
        log = FailingLog(store)
        writer = BatchWriter(log, settled, wall_ms=lambda: 1_000, now=monotonic)
        run = asyncio.create_task(writer.run())
        with lock_held(path) as other:
            for i in range(100):
                writer.put(ROOM, said(f"c{i}"), epoch=ONE, incarnation=NODE, head=settled_head(settled))
            while len(log.appends) < 3:  # each of which has waited for half a second before the next
                log.started.clear()
                await log.started.wait()
            assert settled.of() == []
            other.execute("ROLLBACK")
        await writer.close(within=10)
        await run
        assert [cid for cid, _ in settled.of()] == [f"c{i}" for i in range(100)]
        assert numbers([it for _, it in settled.of()]) == list(range(1, 101))

    async def test_a_disk_that_is_full_in_the_middle_of_a_batch_costs_nothing_but_time(
        self, store: SqlStore, url: str, path: Path
    ) -> None:
        """The write that fails is the commit's own, so it is unclear what became of it, and three times in a row."""
        room_left = path.with_name(path.name + "-wal").stat().st_size + 16 * 1024
        async with running(SHORT_OF_DISK, url, str(room_left)) as other:
            words = [await other.word() for _ in range(3 + 30)]
            assert await other.end() == 0
        assert words[:3] == ["failed OutcomeUnknown"] * 3
        told = [word.split() for word in words[3:]]
        for i, room in enumerate((ROOM, RoomId("physics-7"))):
            expected = [(f"c{2 * k + i}", k + 1) for k in range(15)]
            assert [(cid, int(seq)) for of, cid, kind, seq in told if (of, kind) == (room, "Appended")] == expected
            assert [(it.cid, it.seq) for it in await all_entries(store, room)] == expected


def settled_head(settled: Settlements) -> Seq:
    return Seq(max(numbers([it for _, it in settled.of()]), default=0))
