"""What every store promises (persistence/contract/store.py), over memory, a SQLite file and a PostgreSQL server."""

import asyncio
import multiprocessing
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from director.contract.ids import Epoch, RoomId, Seq
from director.held_port import HeldPort
from persistence import migrate, schema, sqlite_lock
from persistence.asks import AddEntries
from persistence.contract.messages import Draft, Mode
from persistence.contract.store import (
    Appended,
    Behind,
    Duplicate,
    Fenced,
    Opened,
    OutcomeUnknown,
    OwnerRecord,
    Page,
    RoomState,
    StoreUnavailable,
    Unfounded,
    Unsettled,
)
from persistence.engines import open_engines, postgres_dsn_of, shown, sqlite_file_of
from persistence.store_memory import MemoryStore
from persistence.store_sql import SqlStore, open_sql_store
from tests.support.postgres_server import PostgresForTests, with_setting
from tests.support.store_faults import Moment, hooked
from tests.support.stores import (
    LECTURER,
    LOG,
    NODE,
    ONE,
    OTHER,
    ROOM,
    STUDENT,
    Store,
    all_entries,
    append,
    asked,
    batch_of,
    deleted,
    moded,
    noticed,
    numbers,
    open_room,
    said,
    store_url,
)

SECOND = RoomId("physics-7")
WIDE = 1 << 20


@pytest.fixture
async def url(tmp_path: Path) -> str:
    url = store_url(tmp_path)
    await migrate.upgrade(url)
    return url


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with store_of(request.param, tmp_path, request) as url, open_sql_store(url) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
async def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a store on a disk."""
    async with store_of(request.param, tmp_path, request) as url:
        yield url


@asynccontextmanager
async def store_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    if kind == "sqlite":
        await migrate.upgrade(store_url(folder))
        yield store_url(folder)
        return
    server: PostgresForTests = request.getfixturevalue("postgres")
    async with server.schema() as url:
        await migrate.upgrade(url)
        yield url


def seqs(page: Page) -> list[int]:
    return [entry.seq for entry in page.entries]


class TestOpening:
    """The fence, from the side of who opens."""

    async def test_a_new_room_is_empty_and_has_the_log_it_was_given(self, store: Store) -> None:
        opened = await open_room(store, epoch=3)
        assert opened == Opened(RoomState(LOG, Epoch(3), NODE, Seq(0), 0, Mode.OPEN, 0, None))

    async def test_a_higher_epoch_gets_the_room_as_it_stands(self, store: Store) -> None:
        await open_room(store)
        await append(store, said("a"), moded("b", Mode.STAFF, 500), noticed("c", "break"), at=2_000)
        opened = await open_room(store, epoch=5, incarnation="inc-2", log="another-log")
        assert opened == Opened(RoomState(LOG, Epoch(5), "inc-2", Seq(3), 2_000, Mode.STAFF, 500, "break"))  # type: ignore[arg-type]
        assert await store.row_states([ROOM]) == {ROOM: opened.state if isinstance(opened, Opened) else None}

    async def test_opening_again_is_harmless(self, store: Store) -> None:
        first = await open_room(store)
        assert await open_room(store, log="another-log") == first
        assert len(await store.read_owners(ROOM)) == 1

    async def test_who_comes_too_late_learns_the_epoch_to_beat(self, store: Store) -> None:
        await open_room(store, epoch=4)
        assert await open_room(store, epoch=3) == Behind(Epoch(4))
        assert await open_room(store, epoch=4, incarnation="inc-2") == Behind(Epoch(4))
        assert numbers(await append(store, said("a"), epoch=4)) == [1]

    async def test_of_many_that_open_one_epoch_at_once_one_wins(self, store: Store) -> None:
        opened = await asyncio.gather(*[open_room(store, epoch=7, incarnation=f"inc-{i}") for i in range(5)])
        assert sum(isinstance(it, Opened) for it in opened) == 1
        assert [it for it in opened if isinstance(it, Behind)] == [Behind(Epoch(7))] * 4

    async def test_owners_are_recorded_with_the_number_their_entries_begin_at(self, store: Store) -> None:
        await open_room(store, epoch=1)
        await append(store, said("a"), said("b"))
        await open_room(store, epoch=4, incarnation="inc-2")
        await open_room(store, epoch=3)
        await open_room(store, epoch=9)
        await append(store, said("c"), epoch=9)
        await open_room(store, SECOND, epoch=2)
        assert list(await store.read_owners(ROOM)) == [
            OwnerRecord(ROOM, ONE, NODE, Seq(1)),
            OwnerRecord(ROOM, Epoch(4), "inc-2", Seq(3)),  # type: ignore[arg-type]
            OwnerRecord(ROOM, Epoch(9), NODE, Seq(3)),
        ]
        assert list(await store.read_owners(RoomId("nowhere"))) == []


class TestAppending:
    """Batches of the owner, and of who takes himself for it."""

    async def test_entries_are_numbered_from_one_and_come_back_as_they_were_answered(self, store: Store) -> None:
        await open_room(store)
        drafts = [
            said("a", "hello 안녕 👋"),
            asked("b", by=OTHER),
            said("c", "yes", by=LECTURER, reply_to=2),
            noticed("d", "break"),
            noticed("e", None),
            moded("f", Mode.CLOSED, 1_500),
            deleted("g", 1),
        ]
        outcomes = await append(store, *drafts, at=1_234)
        assert numbers(outcomes) == [1, 2, 3, 4, 5, 6, 7]
        answered = [it.entry for it in outcomes if isinstance(it, Appended)]
        assert answered == await all_entries(store)
        assert answered[1:] == [draft.numbered(Seq(i + 2), 1_234) for i, draft in enumerate(drafts[1:])]

    async def test_numbers_go_on_without_a_hole_from_owner_to_owner(self, store: Store) -> None:
        for epoch in range(1, 5):
            await open_room(store, epoch=epoch, incarnation=NODE)
            outcomes = await append(store, said(f"a{epoch}"), deleted(f"b{epoch}", 99), said(f"c{epoch}"), epoch=epoch)
            assert {it.epoch for it in outcomes if isinstance(it, Appended)} == {epoch}
        assert [entry.seq for entry in await all_entries(store)] == list(range(1, 9))

    async def test_the_time_of_entries_never_falls(self, store: Store) -> None:
        await open_room(store)
        for i, at in enumerate([5_000, 4_000, 4_500, 6_000]):
            await append(store, said(f"c{i}"), at=at)
        assert [entry.at for entry in await all_entries(store)] == [5_000, 5_000, 5_000, 6_000]

    async def test_a_retry_gives_the_first_result_and_adds_nothing(self, store: Store) -> None:
        await open_room(store)
        await append(store, said("a", "first"), at=1_000)
        first = Duplicate(Seq(1), ONE, 1_000, said("a", "first").digest)
        assert await append(store, said("a", "first"), at=2_000) == [first]
        assert await append(store, said("a", "other words"), at=2_000) == [first]
        await open_room(store, epoch=2)
        assert await append(store, said("a"), said("a", by=OTHER), epoch=2) == [first, Appended(
            said("a", by=OTHER).numbered(Seq(2), 1_000), Epoch(2))]  # fmt: skip
        assert (await store.row_states([ROOM]))[ROOM].last_seq == 2

    async def test_a_whole_batch_appended_again_changes_nothing(self, store: Store) -> None:
        await open_room(store)
        batch = batch_of(said("a"), moded("b", Mode.STAFF), noticed("c", "x"), deleted("d", 1))
        await store.append_batch([batch])
        before = await all_entries(store), await store.row_states([ROOM])
        await append(store, moded("e", Mode.OPEN), noticed("f", None))
        moved = await store.row_states([ROOM])
        again = (await store.append_batch([batch]))[ROOM]
        assert [it.seq for it in again if isinstance(it, Duplicate)] == [1, 2, 3, 4]
        assert (await all_entries(store))[:4] == before[0]
        assert await store.row_states([ROOM]) == moved

    async def test_a_retry_in_flight_with_its_first_try_is_added_once(self, store: Store) -> None:
        await open_room(store)
        tries = await asyncio.gather(*[append(store, said(f"c{i % 3}"), said("same")) for i in range(9)])
        kinds = Counter(type(it) for outcomes in tries for it in outcomes)
        assert kinds == {Appended: 4, Duplicate: 14}
        assert sorted(entry.cid for entry in await all_entries(store)) == ["c0", "c1", "c2", "same"]

    async def test_another_owner_s_batch_is_fenced_whole(self, store: Store) -> None:
        await open_room(store)
        await append(store, said("a"))
        await open_room(store, epoch=3, incarnation="inc-2")
        stale = batch_of(said("a"), said("b"), moded("c", Mode.CLOSED), deleted("d", 1))
        assert (await store.append_batch([stale]))[ROOM] == (Fenced(Epoch(3)),) * 4
        usurper = batch_of(said("b"), epoch=3, incarnation="inc-3")
        assert (await store.append_batch([usurper]))[ROOM] == (Fenced(Epoch(3)),)
        early = batch_of(said("b"), epoch=4, incarnation="inc-2")
        assert (await store.append_batch([early]))[ROOM] == (Fenced(Epoch(3)),)
        assert [entry.text for entry in await all_entries(store)] == ["hello"]
        assert (await store.row_states([ROOM]))[ROOM].mode is Mode.OPEN

    async def test_a_room_never_opened_takes_nothing(self, store: Store) -> None:
        assert await append(store, said("a")) == [Fenced(Epoch(0))]
        assert await store.row_states([ROOM]) == {}
        assert await all_entries(store) == []

    async def test_a_fenced_room_does_not_keep_others_from_being_committed(self, store: Store) -> None:
        await open_room(store, RoomId("a"), epoch=2)
        await open_room(store, RoomId("b"), epoch=1)
        await open_room(store, RoomId("d"), epoch=1)
        batches = [batch_of(said("x"), said("y"), room=RoomId(room)) for room in "dcba"]
        outcomes = await store.append_batch(batches)
        assert {room: [type(it) for it in given] for room, given in outcomes.items()} == {
            "a": [Fenced] * 2,
            "b": [Appended] * 2,
            "c": [Fenced] * 2,
            "d": [Appended] * 2,
        }
        assert [entry.cid for entry in await all_entries(store, RoomId("b"))] == ["x", "y"]

    async def test_rooms_share_neither_numbers_nor_cids_nor_targets(self, store: Store) -> None:
        await open_room(store)
        await open_room(store, SECOND)
        await append(store, said("a"), said("b"))
        assert numbers(await append(store, said("a"), room=SECOND)) == [1]
        assert await append(store, said("c", reply_to=2), room=SECOND) == [Unfounded("no_target")]

    async def test_no_batch_is_no_work(self, store: Store) -> None:
        assert await store.append_batch([]) == {}
        await open_room(store)
        assert await append(store) == []

    async def test_a_large_batch_of_many_rooms_is_answered_in_order(self, store: Store) -> None:
        rooms = [RoomId(f"r{i}") for i in range(520)]
        for room in rooms[:20]:
            await open_room(store, room)
        drafts = [said(f"c{i}") for i in range(300)]
        outcomes = await store.append_batch([batch_of(*drafts, room=room) for room in rooms])
        assert all(numbers(outcomes[room]) == list(range(1, 301)) for room in rooms[:20])
        again = await store.append_batch([batch_of(*drafts, room=room) for room in rooms[:20]])
        assert all([it.seq for it in again[room] if isinstance(it, Duplicate)] == [*range(1, 301)] for room in again)
        assert len(await store.row_states(rooms)) == 20


class TestDeletingAndState:
    """`delete`, `mode` and `notice`."""

    async def test_a_deleted_entry_loses_its_text_and_nothing_else(self, store: Store) -> None:
        await open_room(store)
        await append(store, said("a"), said("b", "oops", reply_to=1), said("c"))
        await append(store, deleted("d", 2))
        entry = (await all_entries(store))[1]
        assert entry == said("b", reply_to=1).numbered(Seq(2), 1_000).without_text()
        assert entry.text is UNSET
        last = await store.read_before(ROOM, before=None, limit=3, max_bytes=WIDE)
        assert last.entries[0] == entry
        found = await store.find(ROOM, author=STUDENT.id, cid="b")
        assert found is not None
        assert found.digest == said("b", "oops", reply_to=1).digest

    async def test_what_was_deleted_in_its_own_batch_never_shows_its_text(self, store: Store) -> None:
        await open_room(store)
        outcomes = await append(store, said("a", "oops"), deleted("b", 1))
        assert isinstance(outcomes[0], Appended)
        assert outcomes[0].entry.text is UNSET
        assert outcomes[0].entry == (await all_entries(store))[0]

    async def test_who_may_delete_what(self, store: Store) -> None:
        await open_room(store)
        await append(store, said("a"), asked("b"), noticed("n", "x"), said("l", by=LECTURER))
        no_target, not_author = Unfounded("no_target"), Unfounded("not_author")
        assert await append(store, deleted("c", 1, by=OTHER), deleted("d", 4, by=OTHER)) == [not_author] * 2
        assert await append(store, deleted("e", 3, by=LECTURER), deleted("f", 9, by=LECTURER)) == [no_target] * 2
        assert numbers(await append(store, deleted("g", 1), deleted("h", 2, by=LECTURER), deleted("i", 4, by=LECTURER)))
        assert [entry.deleted for entry in await all_entries(store)][:4] == [True, True, UNSET, True]

    async def test_deleting_the_deleted_is_appended_and_harmless(self, store: Store) -> None:
        await open_room(store)
        await append(store, said("a"))
        assert numbers(await append(store, deleted("b", 1))) == [2]
        assert numbers(await append(store, deleted("c", 1, by=LECTURER), said("d", reply_to=1))) == [3, 4]

    async def test_mode_and_notice_stand_in_the_row(self, store: Store) -> None:
        await open_room(store)
        await append(store, moded("a", Mode.STAFF, 2_000), noticed("b", "exam on Friday"))
        state = (await store.row_states([ROOM]))[ROOM]
        assert (state.mode, state.slow_ms, state.notice, state.last_seq) == (Mode.STAFF, 2_000, "exam on Friday", 2)
        await append(store, noticed("c", None), moded("d", Mode.OPEN))
        state = (await store.row_states([ROOM]))[ROOM]
        assert (state.mode, state.slow_ms, state.notice, state.last_seq) == (Mode.OPEN, 0, None, 4)


class TestReading:
    """Pages of history, and what became of a cid."""

    @pytest.fixture
    async def filled(self, store: Store) -> Store:
        """Ten entries, with another room's beside them."""
        await open_room(store)
        await open_room(store, SECOND)
        await append(store, *[said(f"c{i}", "x" * 50) for i in range(1, 11)])
        await append(store, *[said(f"c{i}", "y" * 50) for i in range(1, 6)], room=SECOND)
        return store

    async def test_pages_backwards(self, filled: Store) -> None:
        async def before(seq: int | None, limit: int) -> tuple[list[int], bool]:
            wanted = None if seq is None else Seq(seq)
            page = await filled.read_before(ROOM, before=wanted, limit=limit, max_bytes=WIDE)
            return seqs(page), page.more

        assert await before(None, 3) == ([8, 9, 10], True)
        assert await before(8, 3) == ([5, 6, 7], True)
        assert await before(4, 3) == ([1, 2, 3], False)
        assert await before(99, 10) == (list(range(1, 11)), False)
        assert await before(1, 3) == ([], False)
        assert await before(-5, 3) == ([], False)

    async def test_pages_forwards(self, filled: Store) -> None:
        async def after(seq: int, limit: int) -> tuple[list[int], bool]:
            page = await filled.read_after(ROOM, after=Seq(seq), limit=limit, max_bytes=WIDE)
            return seqs(page), page.more

        assert await after(0, 3) == ([1, 2, 3], True)
        assert await after(7, 3) == ([8, 9, 10], False)
        assert await after(10, 3) == ([], False)
        assert await after(99, 3) == ([], False)
        assert await after(-5, 99) == (list(range(1, 11)), False)

    async def test_pages_keep_to_their_bytes_but_hold_one_entry_at_least(self, filled: Store) -> None:
        size = len(msgspec.json.encode((await all_entries(filled))[0]))
        fits = size * 3 + 2
        page = await filled.read_after(ROOM, after=Seq(0), limit=10, max_bytes=fits)
        assert (seqs(page), page.more) == ([1, 2, 3], True)
        page = await filled.read_before(ROOM, before=Seq(9), limit=10, max_bytes=fits)
        assert (seqs(page), page.more) == ([6, 7, 8], True)
        page = await filled.read_before(ROOM, before=None, limit=10, max_bytes=1)
        assert (seqs(page), page.more) == ([10], True)
        page = await filled.read_after(ROOM, after=Seq(9), limit=10, max_bytes=1)
        assert (seqs(page), page.more) == ([10], False)

    async def test_a_room_without_entries_has_an_empty_page(self, filled: Store) -> None:
        nowhere = RoomId("nowhere")
        assert await filled.read_before(nowhere, before=None, limit=3, max_bytes=WIDE) == Page((), False)
        assert await filled.read_after(nowhere, after=Seq(0), limit=3, max_bytes=WIDE) == Page((), False)
        assert await filled.row_states([nowhere]) == {}

    async def test_a_cid_is_found_by_its_author_in_its_room(self, filled: Store) -> None:
        found = await filled.find(ROOM, author=STUDENT.id, cid="c4")
        assert found == Duplicate(Seq(4), ONE, 1_000, said("c4", "x" * 50).digest)
        assert await filled.find(ROOM, author=OTHER.id, cid="c4") is None
        assert await filled.find(SECOND, author=STUDENT.id, cid="c9") is None
        assert await filled.find(RoomId("nowhere"), author=STUDENT.id, cid="c4") is None

    async def test_rows_are_those_committed_now(self, filled: Store) -> None:
        await append(filled, said("new"))
        states = await filled.row_states([ROOM, SECOND, ROOM])
        assert {room: state.last_seq for room, state in states.items()} == {ROOM: 11, SECOND: 5}


class TestDisk:
    """What only a store of several processes and a real disk can break."""

    @pytest.fixture
    async def url(self, any_url: str) -> str:
        return any_url

    async def test_what_is_committed_is_there_for_another_process_and_after_a_restart(self, url: str) -> None:
        async with open_sql_store(url) as first, open_sql_store(url) as second:
            await open_room(first)
            await append(first, said("a"))
            assert len(await all_entries(second)) == 1
        async with open_sql_store(url) as third:
            assert await append(third, said("a")) == [Duplicate(Seq(1), ONE, 1_000, said("a").digest)]

    async def test_a_retry_in_flight_at_two_writers_is_added_once(self, url: str) -> None:
        async with open_sql_store(url) as first, open_sql_store(url) as second:
            await open_room(first)
            tries = await asyncio.gather(*[append(it, said(f"c{i}")) for i in range(8) for it in (first, second)])
            assert Counter(type(it) for outcomes in tries for it in outcomes) == {Appended: 8, Duplicate: 8}
            assert len(await all_entries(first)) == 8

    async def test_of_many_nodes_that_open_a_new_room_at_once_one_wins(self, url: str) -> None:
        """On PostgreSQL there is no row yet that they could wait for."""
        async with AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(open_sql_store(url)) for _ in range(4)]
            for number in range(10):
                room = RoomId(f"r{number}")
                verdicts = await asyncio.gather(
                    *[open_room(store, room, epoch=1 + i % 2, incarnation=f"inc-{i}") for i, store in enumerate(stores)]
                )
                owners = await stores[0].read_owners(room)
                assert owners[-1].epoch == 2
                assert sum(isinstance(it, Opened) for it in verdicts) == len(owners)
                assert {it.state.log for it in verdicts if isinstance(it, Opened)} == {LOG}

    async def test_batches_over_the_same_rooms_never_wait_for_each_other_in_a_ring(self, url: str) -> None:
        rooms = [RoomId(f"{letter}{i}") for letter in "aBcD" for i in range(10)]
        async with open_sql_store(url, lock_timeout=20) as first, open_sql_store(url, lock_timeout=20) as second:
            for room in rooms:
                await open_room(first, room)

            async def write(store: SqlStore, some: Sequence[RoomId], tag: str) -> None:
                for i in range(10):
                    await store.append_batch([batch_of(said(f"{tag}{i}"), room=room) for room in some])

            await asyncio.gather(write(first, rooms, "a"), write(second, rooms[::-1], "b"))
            assert {state.last_seq for state in (await first.row_states(rooms)).values()} == {20}

    async def test_three_processes_on_one_store_lose_nothing_and_double_nothing(self, url: str) -> None:
        async with open_sql_store(url) as store:
            await open_room(store)
            context = multiprocessing.get_context("spawn")
            workers = [context.Process(target=append_from_a_process, args=(url, i)) for i in range(3)]
            for worker in workers:
                worker.start()
            await asyncio.to_thread(join_all, workers)
            assert [worker.exitcode for worker in workers] == [0, 0, 0]
            shared = await all_entries(store)
            assert [entry.seq for entry in shared] == list(range(1, len(shared) + 1))
            assert Counter(entry.cid for entry in shared) == {f"{i}-{k}": 1 for i in range(20) for k in range(5)}
            for i in range(3):
                assert len(await all_entries(store, RoomId(f"own-{i}"))) == 100

    async def test_a_deleted_text_is_gone_from_its_row(self, url: str) -> None:
        async with open_sql_store(url) as store:
            await open_room(store)
            await append(store, said("a", "a secret"))
            await append(store, deleted("b", 1), said("c", "another secret"), deleted("d", 3))
            assert await run(url, "SELECT count(*) FROM entries WHERE text IS NOT NULL") == 0

    async def test_text_that_cannot_be_stored_is_refused_for_its_room_alone(self, url: str) -> None:
        async with open_sql_store(url) as store:
            await open_room(store)
            await open_room(store, SECOND)
            batches = [batch_of(said("a"), said("b", "\ud800")), batch_of(said("c"), room=SECOND)]
            outcomes = await store.append_batch(batches)
            assert [type(it) for it in outcomes[ROOM]] == [Unsettled, Unsettled]
            assert numbers(outcomes[SECOND]) == [1]
            assert await all_entries(store) == []
            assert numbers(await append(store, said("a"))) == [1]

    async def test_a_room_whose_numbers_are_taken_does_not_fail_the_others(self, url: str) -> None:
        rooms = [RoomId("a"), RoomId("b"), RoomId("c")]
        async with open_sql_store(url) as store:
            for room in rooms:
                await open_room(store, room)
            await append(store, said("a"), room=RoomId("b"))
            await run(url, "UPDATE rooms SET last_seq = 0 WHERE room = 'b'")
            outcomes = await store.append_batch([batch_of(said("x"), said("y"), room=room) for room in rooms])
            assert [numbers(outcomes[room]) for room in rooms] == [[1, 2], [], [1, 2]]
            assert all(isinstance(it, Unsettled) for it in outcomes[RoomId("b")])

    async def test_a_cancelled_append_leaves_the_store_in_working_order(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()

        def note(moment: Moment) -> None:
            if isinstance(moment, AddEntries):
                loop.call_soon_threadsafe(reached.set)

        async with SqlStore(hooked(open_engines(url), note)) as store:
            await open_room(store)
            for i in range(3):
                task = asyncio.create_task(append(store, said(f"c{i}")))
                await reached.wait()
                reached.clear()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            outcomes = await append(store, *[said(f"c{i}") for i in range(3)])
            assert all(isinstance(it, Appended | Duplicate) for it in outcomes)
            assert sorted(entry.cid for entry in await all_entries(store)) == ["c0", "c1", "c2"]

    async def test_a_store_without_tables_is_unavailable(self, url: str) -> None:
        await run(url, "DROP TABLE owners", "DROP TABLE entries", "DROP TABLE rooms")
        async with open_sql_store(url) as store:
            with pytest.raises(StoreUnavailable):
                await open_room(store)
            with pytest.raises(StoreUnavailable):
                await append(store, said("a"))
            with pytest.raises(StoreUnavailable):
                await all_entries(store)

    async def test_a_reader_cannot_write(self, url: str) -> None:
        engines = open_engines(url)
        async with engines.reader.connect() as connection:
            with pytest.raises(DBAPIError, match=r"read-?only"):
                await connection.execute(schema.rooms.delete())
        await engines.close()


async def run(url: str, *statements: str) -> object:
    """Run statements past the store; the first value of the last one, if it gives any."""
    engines = open_engines(url)
    try:
        async with engines.writer.begin() as connection:
            for statement in statements:
                result = await connection.exec_driver_sql(statement)
            return result.scalar() if result.returns_rows else None
    finally:
        await engines.close()


async def use_every_statement(store: SqlStore) -> None:
    await open_room(store)
    await open_room(store, SECOND)
    for room in (ROOM, SECOND):
        await append(store, said("a"), said("b", reply_to=1), room=room)
    await store.append_batch([batch_of(deleted("c", 1), said("d"), room=room) for room in (ROOM, SECOND)])
    await open_room(store, epoch=2)
    await store.read_before(ROOM, before=Seq(2), limit=1, max_bytes=WIDE)
    await store.read_after(ROOM, after=Seq(0), limit=1, max_bytes=WIDE)
    await store.find(ROOM, author=STUDENT.id, cid="a")
    await store.read_owners(ROOM)
    await store.row_states([ROOM, SECOND])


class TestSqlite:
    """What is SQLite's own."""

    async def test_a_locked_file_is_unavailable_and_nothing_is_committed(self, url: str, tmp_path: Path) -> None:
        async with open_sql_store(url, lock_timeout=0.05) as store:
            await open_room(store)
            other = sqlite3.connect(tmp_path / "store.sqlite3", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable) as refused:
                await append(store, said("a"))
            assert not isinstance(refused.value, OutcomeUnknown)
            with pytest.raises(StoreUnavailable):
                await open_room(store, epoch=2)
            assert await all_entries(store) == [], "readers do not wait for a writer"
            other.execute("ROLLBACK")
            other.close()
            assert numbers(await append(store, said("a"))) == [1]

    async def test_a_full_disk_is_unavailable_and_the_store_recovers(self, url: str) -> None:
        engines = open_engines(url)
        async with SqlStore(engines) as store:
            await open_room(store)
            async with engines.writer.connect() as connection:
                pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
                await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            with pytest.raises(StoreUnavailable, match="full"):
                await append(store, *[said(f"c{i}", "x" * 2_000) for i in range(30)])
            assert await all_entries(store) == []
            async with engines.writer.connect() as connection:
                await connection.exec_driver_sql("PRAGMA max_page_count=1000000")
            assert len(numbers(await append(store, *[said(f"c{i}", "x" * 2_000) for i in range(30)]))) == 30

    @pytest.mark.parametrize(("code", "is_void"), [(sqlite3.SQLITE_IOERR_FSYNC, False), (sqlite3.SQLITE_BUSY, True)])
    async def test_an_error_of_the_commit_is_told_by_what_it_means(
        self, url: str, code: int, is_void: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        execute = sqlite_lock._WriterCursor.execute

        def fail(cursor: Any, sql: str, *args: Any) -> Any:
            if sql != "COMMIT":
                return execute(cursor, sql, *args)
            if not is_void:
                execute(cursor, sql)
            error = sqlite3.OperationalError("the test's commit failed")
            error.sqlite_errorcode = code
            raise error

        async with open_sql_store(url) as store:
            await open_room(store)
            with monkeypatch.context() as failing:
                failing.setattr(sqlite_lock._WriterCursor, "execute", fail)
                with pytest.raises(StoreUnavailable) as failed:
                    await append(store, said("a"))
            assert isinstance(failed.value, OutcomeUnknown) is not is_void
            outcome = (await append(store, said("a")))[0]
            assert isinstance(outcome, Appended if is_void else Duplicate)
            assert len(await all_entries(store)) == 1

    @pytest.mark.parametrize(
        "url", ["sqlite+aiosqlite:///:memory:", "sqlite+aiosqlite://", "sqlite:///x", "mysql://h/d", "nonsense"]
    )
    def test_only_a_file_and_a_server_of_postgresql_are_stores(self, url: str) -> None:
        with pytest.raises(ValueError, match="PATH"):
            open_sql_store(url)

    async def test_nothing_scans_a_table(self, url: str) -> None:
        """`(room, author, cid) IN (VALUES ...)` looked right and read the whole table for every batch."""
        engines = open_engines(url)
        statements: list[str] = []

        def note(connection: Any, _entry: object) -> None:
            connection.driver_connection._conn.set_trace_callback(statements.append)

        for engine in (engines.writer, engines.reader):
            event.listen(engine.sync_engine, "connect", note)
        async with SqlStore(engines) as store:
            await use_every_statement(store)
            looked_at = [it for it in statements if it.startswith(("SELECT", "WITH", "UPDATE"))]
            async with engines.reader.connect() as connection:
                for statement in looked_at:
                    plan = await connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement)
                    scans = [row.detail for row in plan if row.detail.startswith("SCAN")]
                    assert not [it for it in scans if it != "SCAN asked" and "CONSTANT" not in it], (statement, scans)
        assert len(looked_at) > 10


class TestPostgres:
    """What is PostgreSQL's own."""

    @pytest.fixture
    async def url(self, postgres: PostgresForTests) -> AsyncIterator[str]:
        async with postgres.schema() as url:
            await migrate.upgrade(url)
            yield url

    async def test_nothing_scans_a_table(self, url: str) -> None:
        """Plans are kept, and those made while a table was empty would read all of it when it is large."""
        async with open_sql_store(url) as store:
            for _ in range(8):
                await use_every_statement(store)
        ours = "schemaname = current_schema() AND relname IN ('rooms', 'entries', 'owners')"
        async with asyncio.timeout(30):
            # the server counts a session's scans when it ends
            while not await run(url, f"SELECT sum(idx_scan) > 150 FROM pg_stat_user_tables WHERE {ours}"):
                pass
        made_with_a_scan_each = f"SELECT count(*) FROM pg_stat_user_indexes WHERE {ours}"
        assert await run(url, f"SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE {ours}") == await run(
            url, made_with_a_scan_each
        )

    async def test_a_server_that_answers_commits_early_is_told_to_wait_for_the_disk(self, url: str) -> None:
        for early, ours in (("off", "on"), ("remote_apply", "remote_apply"), ("on", "on")):
            assert await run(with_setting(url, "synchronous_commit", early), "SHOW synchronous_commit") == ours

    def test_the_url_is_shown_without_its_password(self) -> None:
        for scheme in ("postgresql", "postgresql+asyncpg", "postgres"):
            url = f"{scheme}://hall:se%40cret@h1:5432,h2:5432/hall?sslmode=require"
            assert shown(url) == f"{scheme}://hall:***@h1:5432,h2:5432/hall?sslmode=require"
            assert postgres_dsn_of(url) == "postgresql://hall:se%40cret@h1:5432,h2:5432/hall?sslmode=require"
            assert sqlite_file_of(url) is None

    async def test_a_host_of_several_that_takes_writes_is_found(self, postgres: PostgresForTests, url: str) -> None:
        own = postgres.breakable
        with HeldPort() as nobody:
            host = f"127.0.0.1:{own.port}"
            several = url.replace(host, f"127.0.0.1:{nobody.port},{host}")
            async with open_sql_store(several) as store:
                assert isinstance(await open_room(store), Opened)


def join_all(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        worker.join(60)


def append_from_a_process(url: str, number: int) -> None:
    """Write a room of one's own and one shared with others that retry the same cids."""

    async def write() -> None:
        own = RoomId(f"own-{number}")
        async with open_sql_store(url) as store:
            await open_room(store, own)
            for i in range(20):
                drafts: list[Draft] = [said(f"{i}-{k}") for k in range(5)]
                outcomes = await store.append_batch([batch_of(*drafts), batch_of(*drafts, room=own)])
                assert all(isinstance(it, Appended | Duplicate) for given in outcomes.values() for it in given)

    asyncio.run(write())


class TestMigration:
    """Bringing a store to this release's schema."""

    async def test_the_versions_lead_to_the_very_tables_that_are_written_and_read(self, url: str) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        engines = open_engines(url)
        async with engines.writer.connect() as connection:
            found = await connection.run_sync(
                lambda it: compare_metadata(
                    MigrationContext.configure(it, opts={"compare_type": True, "compare_server_default": True}),
                    schema.metadata,
                )
            )
            assert found == []
            tables = "SELECT name, sql FROM sqlite_master WHERE name IN ('rooms', 'entries', 'owners')"
            migrated = {row.name: row.sql.split() for row in await connection.exec_driver_sql(tables)}
            await connection.run_sync(schema.metadata.drop_all)
            await connection.run_sync(schema.metadata.create_all)
            made = {row.name: row.sql.split() for row in await connection.exec_driver_sql(tables)}
            await connection.rollback()
        assert {name: sorted(sql) for name, sql in migrated.items()} == {name: sorted(it) for name, it in made.items()}
        await engines.close()

    def test_the_newest_version_is_the_one_this_release_knows(self) -> None:
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
        script = ScriptDirectory.from_config(config)
        assert [it.revision for it in script.walk_revisions()][::-1] == list(schema.REVISIONS)

    async def test_any_number_may_upgrade_at_once_and_again(self, tmp_path: Path) -> None:
        url = store_url(tmp_path / "made" / "here")
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=upgrade_from_a_process, args=(url,)) for _ in range(3)]
        for worker in workers:
            worker.start()
        await asyncio.gather(*[migrate.upgrade(url) for _ in range(3)])
        await asyncio.to_thread(join_all, workers)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        assert await migrate.schema_problem(url) is None

    async def test_a_store_that_does_not_fit_is_named_with_what_to_do(self, tmp_path: Path) -> None:
        url = store_url(tmp_path)
        path = tmp_path / "store.sqlite3"

        async def problem() -> str:
            return await migrate.schema_problem(url) or ""

        assert "no store" in await problem()
        assert "hall store upgrade" in await problem()
        assert not path.exists(), "asking makes nothing"
        path.touch()
        assert "no tables" in await problem()
        await migrate.upgrade(url)
        assert await migrate.schema_problem(url) is None
        with sqlite3.connect(path) as raw:
            raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.close()
        assert "newer release" in await problem()
        with pytest.raises(migrate.SchemaTooNew, match="newer release"):
            await migrate.upgrade(url)

    async def test_an_older_schema_is_named_with_what_to_do(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(migrate, "REVISIONS", ("0001", "0002"))
        problem = await migrate.schema_problem(url)
        assert problem is not None
        assert "older than 0002" in problem
        assert "hall store upgrade" in problem

    async def test_a_file_that_is_no_store_is_unavailable(self, tmp_path: Path) -> None:
        (tmp_path / "store.sqlite3").write_bytes(b"no database at all, but long enough to be looked at " * 40)
        with pytest.raises(StoreUnavailable):
            await migrate.schema_problem(store_url(tmp_path))
        with pytest.raises(StoreUnavailable):
            await migrate.upgrade(store_url(tmp_path))

    async def test_a_migrated_file_keeps_a_write_ahead_log_synchronised_at_each_commit(self, url: str) -> None:
        engines = open_engines(url)
        async with engines.writer.connect() as connection:
            told = [
                (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
        await engines.close()
        assert told == ["wal", 2, 1, 0]


def upgrade_from_a_process(url: str) -> None:
    asyncio.run(migrate.upgrade(url))
