"""What an operator may do to a store that a fleet works on: prune, erase, begin new logs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET
from sqlalchemy import select

from director.contract.ids import Epoch, RoomId, Seq, UserId
from persistence import erasure, migrate, retention, schema
from persistence.contract.messages import Entry, Kind, Mode
from persistence.contract.store import Appended, Behind, Duplicate, Fenced, Opened, RoomState, Unfounded
from persistence.erasure import Erasure, Written
from persistence.new_log import NewLogs
from persistence.retention import Retention, Stale
from persistence.store_sql import SqlStore, open_sql_store
from persistence.upkeep import Upkeep, open_upkeep
from tests.support.postgres_server import PostgresForTests
from tests.support.stores import (
    LECTURER,
    LOG,
    OTHER,
    ROOM,
    STUDENT,
    all_entries,
    append,
    asked,
    deleted,
    moded,
    noticed,
    numbers,
    open_room,
    said,
    store_url,
)

SECOND = RoomId("physics-7")
SECRET = "my address is"


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            url = store_url(tmp_path)
        else:
            server: PostgresForTests = request.getfixturevalue("postgres")
            url = await stack.enter_async_context(server.schema())
        await migrate.upgrade(url)
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    async with open_sql_store(url) as opened:
        yield opened


@pytest.fixture
async def upkeep(url: str) -> AsyncIterator[Upkeep]:
    async with open_upkeep(url, rest=at_once) as opened:
        yield opened


async def at_once(_: float) -> None:
    """The fleet needs no time in a test."""


def drawn(count: int) -> bytes:
    drawn.calls = getattr(drawn, "calls", 0) + 1  # type: ignore[attr-defined]
    return int(drawn.calls).to_bytes(count, "big")  # type: ignore[attr-defined]


async def fill(store: SqlStore, ats: list[int], *, room: RoomId = ROOM) -> None:
    """One message at each of these instants."""
    await open_room(store, room)
    for i, at in enumerate(ats):
        await append(store, said(f"c{i}", f"words {i}"), room=room, at=at)


async def row(store: SqlStore, room: RoomId = ROOM) -> RoomState:
    return (await store.row_states([room]))[room]


async def seqs(store: SqlStore, room: RoomId = ROOM) -> list[int]:
    return [entry.seq for entry in await all_entries(store, room)]


async def prune(upkeep: Upkeep, before_ms: int, *, room: RoomId | None = None) -> int:
    """How many entries went."""
    work, removed = Retention(upkeep), 0
    for stale in [it async for it in work.find(before_ms=before_ms, room=room)]:
        removed += sum([count async for count in work.prune(stale, before_ms=before_ms)])
    return removed


async def erase(upkeep: Upkeep, user: UserId, *, now_ms: int = 9_000) -> dict[RoomId, int]:
    """How many entries went from each room."""
    work = Erasure(upkeep, draw=drawn)
    rooms = [it.room async for it in work.find(user)]
    return {room: sum([count async for count in work.erase(room, user, now_ms=now_ms)]) for room in rooms}


class TestPruning:
    """Old entries go; the room stays what it is."""

    @pytest.mark.parametrize("before_ms", [0, 1_000, 1_001, 2_500, 5_000, 5_001, 9_999])
    async def test_what_is_older_goes_and_the_rest_has_no_hole(
        self, store: SqlStore, upkeep: Upkeep, before_ms: int
    ) -> None:
        ats = [1_000, 1_000, 2_000, 3_000, 3_000, 4_000, 5_000]
        await fill(store, ats)
        old = sum(at < before_ms for at in ats)
        found = [it async for it in Retention(upkeep).find(before_ms=before_ms)]
        assert found == ([Stale(ROOM, Seq(1), Seq(old))] if old else [])
        removed = await prune(upkeep, before_ms)
        assert removed == old
        assert await seqs(store) == list(range(removed + 1, len(ats) + 1))

    async def test_number_mode_and_notice_stay_when_nothing_else_does(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store)
        await append(store, said("a"), noticed("b", "break"), moded("c", Mode.STAFF, 500))
        before = await row(store)
        assert await prune(upkeep, 9_999) == 3
        assert await all_entries(store) == []
        assert await row(store) == before
        assert numbers(await append(store, said("d", by=LECTURER))) == [4]

    async def test_only_the_room_that_is_named_is_pruned(self, store: SqlStore, upkeep: Upkeep) -> None:
        await fill(store, [1_000, 2_000])
        await fill(store, [1_000, 2_000], room=SECOND)
        assert await prune(upkeep, 1_500, room=SECOND) == 1
        assert (await seqs(store), await seqs(store, SECOND)) == ([1, 2], [2])

    async def test_it_goes_a_few_at_a_time_and_on_where_it_was_stopped(
        self, store: SqlStore, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "MAX_REMOVED_AT_ONCE", 3)
        await fill(store, [1_000] * 8 + [5_000])
        work = Retention(upkeep)
        (stale,) = [it async for it in work.find(before_ms=4_000)]
        assert (stale, stale.count) == (Stale(ROOM, Seq(1), Seq(8)), 8)
        async for removed in work.prune(stale, before_ms=4_000):
            assert removed == 3
            break
        assert await seqs(store) == list(range(4, 10))
        (rest,) = [it async for it in work.find(before_ms=4_000)]
        assert rest == Stale(ROOM, Seq(4), Seq(8))
        assert [count async for count in work.prune(rest, before_ms=4_000)] == [3, 2]
        assert await seqs(store) == [9]
        assert await prune(upkeep, 4_000) == 0

    async def test_what_is_found_is_found_by_few_reads(self, store: SqlStore, upkeep: Upkeep) -> None:
        await fill(store, [1_000, 2_000])
        await store.append_batch([])
        async with upkeep.writing() as connection:
            one = (await connection.execute(select(schema.entries).where(schema.entries.c.seq == 2))).one()
            many = [{**one._mapping, "seq": n, "cid": f"m{n}", "at": 2_000 + n} for n in range(3, 3_000)]
            await connection.execute(schema.entries.insert(), many)
            await connection.execute(schema.rooms.update().values(last_seq=2_999, last_at=4_999))
        reads = 0
        counting = Upkeep(upkeep._engines, rest=at_once)
        reading = counting.reading

        def counted() -> object:
            nonlocal reads
            reads += 1
            return reading()

        counting.reading = counted  # type: ignore[method-assign, assignment]
        assert [it async for it in Retention(counting).find(before_ms=3_500)] == [Stale(ROOM, Seq(1), Seq(1_499))]
        assert reads <= 15

    async def test_what_is_younger_stays_whatever_was_found(self, store: SqlStore, upkeep: Upkeep) -> None:
        await fill(store, [1_000, 2_000, 3_000])
        work = Retention(upkeep).prune(Stale(ROOM, Seq(1), Seq(3)), before_ms=2_500)
        assert [count async for count in work] == [2]
        assert await seqs(store) == [3]

    async def test_pruned_entries_can_be_neither_replied_to_nor_deleted(self, store: SqlStore, upkeep: Upkeep) -> None:
        await fill(store, [1_000, 5_000])
        await prune(upkeep, 4_000)
        outcomes = await append(store, said("r", reply_to=1), deleted("d", 1))
        assert outcomes == [Unfounded("no_target")] * 2

    async def test_a_retry_is_harmless_as_long_as_its_entry_is_kept(self, store: SqlStore, upkeep: Upkeep) -> None:
        await fill(store, [1_000, 5_000])
        await prune(upkeep, 4_000)
        assert isinstance((await append(store, said("c1", "words 1")))[0], Duplicate)
        assert numbers(await append(store, said("c0", "words 0"))) == [3], "what is gone is forgotten: hence the floor"


class TestErasing:
    """One person's messages go; numbers stay."""

    async def test_messages_become_tombstones_that_name_nobody(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store)
        await append(store, said("a", SECRET), said("b", "hi", by=OTHER, reply_to=1), asked("c", SECRET), at=2_000)
        assert await erase(upkeep, STUDENT.id) == {ROOM: 2}
        first, second, third, *deletions = await all_entries(store)
        stranger = first.by
        assert (stranger.name, stranger.role) == ("", STUDENT.role)
        assert stranger.id.startswith("erased-")
        for entry, kind, seq in ((first, Kind.MESSAGE, 1), (third, Kind.QUESTION, 3)):
            assert entry == Entry(Seq(seq), 2_000, kind, f"erased-{seq}", stranger, deleted=True)
        assert second == said("b", "hi", by=OTHER, reply_to=1).numbered(Seq(2), 2_000)
        assert [(it.seq, it.kind, it.target, it.at, it.by) for it in deletions] == [
            (4, Kind.DELETE, 1, 9_000, stranger),
            (5, Kind.DELETE, 3, 9_000, stranger),
        ]
        kept = msgspec.json.encode(await all_entries(store)).decode()
        assert SECRET not in kept
        assert STUDENT.id not in kept
        assert STUDENT.name not in kept

    async def test_nothing_of_the_person_is_left_in_any_column(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store)
        await append(store, said("my-own-cid", SECRET), deleted("d", 1))
        digest = said("my-own-cid", SECRET).digest
        await erase(upkeep, STUDENT.id)
        async with upkeep.reading() as connection:
            rows = (await connection.execute(select(schema.entries))).all()
        for it in rows:
            assert not {STUDENT.id, STUDENT.name, SECRET, "my-own-cid", digest} & set(it)

    async def test_the_text_is_not_even_in_the_free_parts_of_a_file(self, tmp_path: Path) -> None:
        url = store_url(tmp_path)
        await migrate.upgrade(url)
        text = "b3d7 somewhere in the file"
        async with open_sql_store(url) as store, open_upkeep(url, rest=at_once) as upkeep:
            await open_room(store)
            await append(store, *[said(f"c{i}", text * 70, by=OTHER if i % 3 else STUDENT) for i in range(30)])
            await erase(upkeep, STUDENT.id)
            await erase(upkeep, OTHER.id)
        files = await asyncio.to_thread(lambda: b"".join(file.read_bytes() for file in tmp_path.iterdir()))
        assert text.encode() not in files

    async def test_the_owner_is_fenced_by_the_same_commit(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store, epoch=4)
        await append(store, said("a", SECRET), epoch=4)
        await erase(upkeep, STUDENT.id)
        assert await append(store, said("b"), epoch=4) == [Fenced(Epoch(5))]
        assert await open_room(store, epoch=4) == Behind(Epoch(5))
        assert await open_room(store, epoch=5) == Behind(Epoch(5))
        opened = await open_room(store, epoch=6)
        assert isinstance(opened, Opened)
        assert (opened.state.last_seq, opened.state.log) == (2, LOG)
        owners = await store.read_owners(ROOM)
        assert [(it.epoch, it.first_seq) for it in owners] == [(4, 1), (5, 2), (6, 3)]

    async def test_number_mode_and_notice_of_the_room_stay(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store)
        await append(store, noticed("n", "break"), moded("m", Mode.CLOSED), said("a", SECRET, by=LECTURER))
        await erase(upkeep, LECTURER.id)
        state = await row(store)
        assert (state.mode, state.notice, state.last_seq) == (Mode.CLOSED, "break", 4)
        notice, mode, message, _ = await all_entries(store)
        assert (notice.text, mode.mode) == ("break", Mode.CLOSED), "a notice is the room's word"
        assert (notice.deleted, message.deleted, message.text) == (UNSET, True, UNSET)
        assert {it.by.name for it in await all_entries(store)} == {""}

    async def test_who_deleted_a_message_already_gets_no_second_deletion(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store)
        await append(store, said("a", SECRET), deleted("d", 1))
        await erase(upkeep, STUDENT.id)
        assert await seqs(store) == [1, 2]

    async def test_rooms_of_one_person_cannot_be_tied_together(self, store: SqlStore, upkeep: Upkeep) -> None:
        for room in (ROOM, SECOND):
            await open_room(store, room)
            await append(store, said("a", SECRET), room=room)
        assert [it async for it in Erasure(upkeep, draw=drawn).find(STUDENT.id)] == [
            Written(ROOM, 1),
            Written(SECOND, 1),
        ]
        assert await erase(upkeep, STUDENT.id) == {ROOM: 1, SECOND: 1}
        authors = {(await all_entries(store, room))[0].by.id for room in (ROOM, SECOND)}
        assert len(authors) == 2

    async def test_a_room_without_the_person_is_left_alone(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store)
        await append(store, said("a", by=OTHER))
        before = await row(store)
        assert await erase(upkeep, STUDENT.id) == {}
        assert await row(store) == before

    async def test_once_more_does_nothing(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store)
        await append(store, said("a", SECRET))
        await erase(upkeep, STUDENT.id)
        before = await row(store), await all_entries(store)
        assert await erase(upkeep, STUDENT.id) == {}
        assert (await row(store), await all_entries(store)) == before

    async def test_a_long_history_goes_a_few_at_a_time_and_on_where_it_was_stopped(
        self, store: SqlStore, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(erasure, "NEWEST", 4)
        monkeypatch.setattr(erasure, "MAX_ERASED_AT_ONCE", 3)
        await open_room(store)
        for i in range(12):
            await append(store, said(f"c{i}", SECRET, by=OTHER if i == 5 else STUDENT))
        work = Erasure(upkeep, draw=drawn)
        async for count in work.erase(ROOM, STUDENT.id, now_ms=9_000):
            assert count == 3
            break
        assert (await row(store)).epoch == 1, "older entries are in no node's memory: no fence for them"
        assert [count async for count in work.erase(ROOM, STUDENT.id, now_ms=9_000)] == [3, 1, 4]
        entries = await all_entries(store)
        assert [it.seq for it in entries] == list(range(1, 17))
        assert [it.text for it in entries if isinstance(it.text, str)] == [SECRET], "somebody else's"
        assert [it.target for it in entries if it.kind is Kind.DELETE] == [9, 10, 11, 12]
        assert (await row(store)).epoch == 2

    async def test_equal_cids_of_two_people_do_not_collide(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store)
        await append(store, said("1", SECRET), said("1", SECRET, by=OTHER))
        await erase(upkeep, STUDENT.id)
        await erase(upkeep, OTHER.id)
        assert SECRET not in msgspec.json.encode(await all_entries(store)).decode()

    async def test_numbers_go_on_behind_an_erasure(self, store: SqlStore, upkeep: Upkeep) -> None:
        await open_room(store)
        await append(store, said("a", SECRET))
        await erase(upkeep, STUDENT.id)
        await open_room(store, epoch=3)
        outcomes = await append(store, said("b"), epoch=3, at=1_000)
        assert outcomes == [Appended(said("b").numbered(Seq(3), 9_000), Epoch(3))], "and time does not fall"
        assert await erase(upkeep, STUDENT.id, now_ms=5) == {ROOM: 1}
        assert [it.at for it in await all_entries(store)] == [1_000, 9_000, 9_000, 9_000]


class TestNewLogs:
    """After a restore from a backup."""

    async def test_every_room_gets_its_own_and_its_owner_is_fenced(self, store: SqlStore, upkeep: Upkeep) -> None:
        for room in (ROOM, SECOND):
            await open_room(store, room, epoch=3)
            await append(store, said("a"), room=room, epoch=3)
        assert [count async for count in NewLogs(upkeep, draw=drawn).begin()] == [2]
        states = await store.row_states([ROOM, SECOND])
        assert len({LOG, states[ROOM].log, states[SECOND].log}) == 3
        for room in (ROOM, SECOND):
            assert await append(store, said("b"), room=room, epoch=3) == [Fenced(Epoch(4))]
            assert [it.epoch for it in await store.read_owners(room)] == [3, 4]
            assert await seqs(store, room) == [1]

    async def test_one_room_may_be_named(self, store: SqlStore, upkeep: Upkeep) -> None:
        for room in (ROOM, SECOND):
            await open_room(store, room)
        work = NewLogs(upkeep, draw=drawn)
        assert [count async for count in work.begin(room=SECOND)] == [1]
        assert [count async for count in work.begin(room=RoomId("nowhere"))] == []
        states = await store.row_states([ROOM, SECOND])
        assert (states[ROOM].log, states[SECOND].log != LOG) == (LOG, True)
