"""The checker itself is tested: a node with a planted fault is caught, by the promise that it breaks, and a sound one
is not.

Real nodes over memory twins in virtual time, whose members write down what they are shown as a client does. One fault
is of the database alone, and is planted into a real SQLite store.
"""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from director.cli.torture_judge import rows_of_stale_owners
from director.contract.clock import FleetClock
from director.contract.errors import Refusal
from director.contract.ids import Epoch, Incarnation, LogId, NodeName, RoomId, Seq, UserId
from director.contract.ticket import Ticket
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.ticket_jwt import JwtTicketBook
from loadtest.contract.received import Frame, Joined
from loadtest.core.admission_check import AdmissionCheck
from loadtest.core.findings import Promise, StoredLog
from loadtest.core.history_check import HistoryCheck
from loadtest.log_reading import StoreLogs
from loadtest.recording import Recorders
from loadtest.scribe import Scribe
from persistence.asks import AddEntries
from persistence.contract.messages import Author, Draft
from persistence.contract.store import Appended, Duplicate, Opened, Outcome, RoomBatch, RoomState, StoreUnavailable
from persistence.engines import open_engines
from persistence.migrate import upgrade
from persistence.sqlite_lock import BEGIN, _WriterCursor
from persistence.store_memory import MemoryStore
from persistence.store_sql import SqlStore, open_sql_store
from shard_node.contract import events
from shard_node.contract.events import Changed, Position
from shard_node.core.admission import Budgets
from shard_node.core.lag import LagProbe
from shard_node.core.lease_guard import Serve
from shard_node.core.room import Disallowed
from shard_node.fanout.showing import Showing
from shard_node.fanout.stock_connection import StockConnection
from shard_node.gateway import RoomGateway
from shard_node.hosted_room import HostedRoom
from shard_node.lease_keeper import LeaseKeeper
from tests.support.entries import LECTURER, OTHER, STUDENT, draft
from tests.support.small_node import SmallNode, Wire, small_node
from tests.support.store_faults import hooked
from tests.support.virtual_time import in_virtual_time

MATH = RoomId("math")
SNAPSHOT = events.RoomSnapshot(mode="open", slow_ms=0, notice=None, members=1)


class Notebook:
    """All that members write down, and the verdict on it."""

    def __init__(self) -> None:
        self.history, self.admissions = HistoryCheck(), AdmissionCheck()
        self.recorder = Recorders(self.history, self.admissions)

    def verdict(self, log: StoredLog) -> set[Promise]:
        found = [*self.history.judge({MATH: log}).violations, *self.admissions.judge(slack=0.0, thaws={})]
        return {violation.promise for violation in found}

    async def verdict_by(self, store: MemoryStore | SqlStore) -> set[Promise]:
        return self.verdict(await StoreLogs(store, store).read(MATH))


class Spectator:
    """A member of a room who writes down what it asks, is told and is shown, over as many connections as it takes."""

    def __init__(self, notebook: Notebook, author: Author) -> None:
        self._author = author
        self._scribe = Scribe(notebook.recorder, MATH, author.id)
        self._position: Position | None = None
        self._node: SmallNode | None = None
        self._hosted: HostedRoom | None = None
        self._wire = Wire()
        self._heard = 0

    def join(self, node: SmallNode, hosted: HostedRoom) -> None:
        """Come (back) to a room: what it has missed is in the answer."""
        self.part()
        self._node, self._hosted = node, hosted
        since = self._position
        recent = hosted.room.recent.after(since.seq, limit=500) if since else ()
        entries = msgspec.json.decode(msgspec.json.encode(recent))
        position = Position(hosted.room.log, hosted.room.epoch, hosted.room.head)
        self._hear_joined(node.name, since, position, entries)
        _, self._wire = node.add_member(hosted, self._author)
        self._heard = 0

    def take_joined(self, node: SmallNode, wire: Wire) -> None:
        """Hear what a gateway says on a wire."""
        self._node, self._wire, self._heard = node, wire, 0
        self.hear()

    def part(self) -> None:
        if self._node is not None:
            self.hear()
            self._scribe.parted(_now(), "Lost")

    async def say(self, text: str) -> Outcome | Disallowed | Exception:
        """Post a message and write down the answer."""
        assert self._node is not None
        assert self._hosted is not None
        asked = draft(f"{self._author.id}-{text}", text, by=self._author)
        self._scribe.asked(_now(), asked.cid)
        outcome = await self._node.outcome_of(self._hosted, asked)
        match outcome:
            case Appended(entry, epoch):
                self._scribe.acked(_now(), asked.cid, Changed(entry.seq, epoch, entry.at, dup=False))
            case Duplicate(seq, epoch, at):
                self._scribe.acked(_now(), asked.cid, Changed(seq, epoch, at, dup=True))
            case _:
                self._scribe.denied(_now(), asked.cid, type(outcome).__name__)
        self.hear()
        return outcome

    def hear(self) -> None:
        """Read what has been written to it since."""
        texts = self._wire.texts()
        new, self._heard = texts[self._heard :], len(texts)
        for text in new:
            name, body = json.loads(text[1:])
            if name == "frame":
                frame = msgspec.convert(body, Frame)
                self._scribe.shown(_now(), frame, "frame")
                self._position = Position(frame.log, frame.epoch, frame.to)
            elif name == "joined":
                pos = msgspec.convert(body["pos"], Position)
                assert self._node is not None
                self._hear_joined(self._node.name, None, pos, body["entries"])

    def finish(self) -> None:
        self.hear()
        self._scribe.finished(_now(), live=True)

    def _hear_joined(self, node: NodeName, since: Position | None, position: Position, entries: Sequence[Any]) -> None:
        you = msgspec.to_builtins(self._author)
        body = {"room": MATH, "you": you, "pos": msgspec.to_builtins(position), "recovered": since is not None}
        body |= {"reason": None, "entries": entries, "snapshot": msgspec.to_builtins(SNAPSHOT)}
        joined = msgspec.convert({**body, "reconnect_window_ms": 0}, Joined)
        self._scribe.admitted(_now(), node, since, joined)
        self._position = position


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Scene:
    """Two nodes over one hall and one store, and three members in a room of the first."""

    first: SmallNode
    second: SmallNode
    hosted: HostedRoom
    cast: tuple[Spectator, ...]
    notebook: Notebook

    async def fail_over(self) -> HostedRoom:
        """The first node's lease is taken away behind its back, and the second is given the room."""
        record = await self.second.owners.room_record(MATH)
        assert record is not None
        await MemoryNodeLeases(self.first.hall).declare_dead(record.owner, record.incarnation, why="test")
        await self.second.claim(MATH, replacing=record)
        return await self.second.host.open(MATH)


async def played(act: Callable[[Scene], Awaitable[None]], *, store: MemoryStore | None = None) -> set[Promise]:
    """What the checker finds after `act`, in which the first node's store is `store`."""
    store = store or MemoryStore()
    hall = MemoryHall(clock=asyncio.get_running_loop().time)
    sound = MemoryStore()
    sound._rooms = store._rooms
    async with (
        small_node("node-1", hall=hall, store=store) as first,
        small_node("node-2", hall=hall, store=sound) as second,
    ):
        notebook = Notebook()
        cast = tuple(Spectator(notebook, author) for author in (STUDENT, OTHER, LECTURER))
        hosted = await first.opened(MATH)
        for spectator in cast:
            spectator.join(first, hosted)
        await act(Scene(first, second, hosted, cast, notebook))
        for spectator in cast:
            spectator.finish()
        return await notebook.verdict_by(sound)


async def lecture_with_a_failover(scene: Scene) -> None:
    """Everybody talks; the room changes hands; one member notices late and talks to the former owner meanwhile."""
    ann, ben, lee = scene.cast
    for text in ("one", "two"):
        await ann.say(text)
    await lee.say("three")
    reopened = await scene.fail_over()
    ben.join(scene.second, reopened)
    lee.join(scene.second, reopened)
    await ben.say("four")
    await ann.say("to a zombie")
    ann.join(scene.second, reopened)
    await ann.say("five")
    ben.hear()


@in_virtual_time
async def test_a_sound_fleet_is_found_sound() -> None:
    assert await played(lecture_with_a_failover) == set()


class _CarelessStore(MemoryStore):
    """Takes the word of whoever comes: the owner is not checked."""

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        outcomes: dict[RoomId, tuple[Outcome, ...]] = {}
        for batch in batches:
            state = self._rooms[batch.room].state
            believed = replace(batch, epoch=state.epoch, incarnation=state.incarnation)
            taken = (await super().append_batch([believed]))[batch.room]
            outcomes[batch.room] = tuple(
                replace(outcome, epoch=batch.epoch) if isinstance(outcome, Appended) else outcome for outcome in taken
            )
        return outcomes


@in_virtual_time
async def test_a_store_that_skips_the_owner_check_is_caught() -> None:
    found = await played(lecture_with_a_failover, store=_CarelessStore())
    assert Promise.ACK_OF_WRONG_EPOCH in found


class _ForgetfulStore(MemoryStore):
    """Says that it has committed, and has not."""

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        return {
            batch.room: tuple(
                Appended(it.numbered(Seq(number), batch.at), batch.epoch)
                for number, it in enumerate(batch.drafts, start=1)
            )
            for batch in batches
        }


@in_virtual_time
async def test_an_ack_without_a_commit_is_caught() -> None:
    async def act(scene: Scene) -> None:
        await scene.cast[0].say("one")

    assert Promise.ACK_NOT_STORED in await played(act, store=_ForgetfulStore())


class _FullStore(MemoryStore):
    """Commits nothing; `on_batch` is called before it says so."""

    on_batch: Callable[[RoomBatch], None]

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        for batch in batches:
            self.on_batch(batch)
        raise StoreUnavailable("the disk is full")


@in_virtual_time
async def test_showing_before_the_commit_is_caught() -> None:
    store = _FullStore()

    async def act(scene: Scene) -> None:
        def show(batch: RoomBatch) -> None:
            head = scene.hosted.room.head
            if head == 0:
                entries = [it.numbered(Seq(head + 1), batch.at) for it in batch.drafts]
                scene.hosted.showing.show(scene.hosted.room.show(entries))

        store.on_batch = show
        await scene.cast[0].say("one")

    assert Promise.SHOWN_NOT_STORED in await played(act, store=store)


@in_virtual_time
async def test_the_same_store_that_shows_nothing_is_sound() -> None:
    store = _FullStore()
    store.on_batch = lambda batch: None

    async def act(scene: Scene) -> None:
        await scene.cast[0].say("one")

    assert await played(act, store=store) == set()


class _LossyShowing(Showing):
    """Takes frame 2 for written, and does not write it."""

    def show(self, frames: Sequence[events.Frame], *, strikes: bool = False) -> None:
        if frames[0].from_ != 2:
            super().show(frames, strikes=strikes)
            return
        for member in self._members:
            member.shown = frames[0].to


class _StutteringShowing(Showing):
    """Writes frame 2 twice."""

    def show(self, frames: Sequence[events.Frame], *, strikes: bool = False) -> None:
        super().show(frames, strikes=strikes)
        if frames[0].from_ == 2:
            for member in self._members:
                member.shown = Seq(1)
            super().show(frames, strikes=strikes)


@pytest.mark.parametrize(
    ("showing", "promise"),
    [(Showing, None), (_LossyShowing, Promise.UNREPORTED), (_StutteringShowing, Promise.REPEATED)],
)
def test_a_frame_that_is_dropped_or_repeated_is_caught(showing: type[Showing], promise: Promise | None) -> None:
    async def act(scene: Scene) -> None:
        scene.hosted.showing = showing(scene.hosted.members, now=_now)
        for text in ("one", "two", "three"):
            await scene.cast[0].say(text)

    @in_virtual_time
    async def found() -> set[Promise]:
        return await played(act)

    assert found() == (set() if promise is None else {promise})


class _CutStore(MemoryStore):
    """A store that one node cannot reach while `is_cut`."""

    is_cut = False

    async def row_states(self, rooms: Sequence[RoomId]) -> Mapping[RoomId, RoomState]:
        if self.is_cut:
            raise StoreUnavailable("cut off")
        return await super().row_states(rooms)


class _CutLeases(MemoryNodeLeases):
    """Leases that one node cannot reach any more."""

    def __init__(self, hall: MemoryHall) -> None:
        silent = MemoryHall(clock=asyncio.get_running_loop().time)
        silent.is_silent = True
        super().__init__(silent)


@pytest.mark.parametrize("asks_the_guard", [True, False])
def test_admitting_without_asking_the_guard_is_caught(asks_the_guard: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is cut off from Redis and the store admits a member long after another was given its room."""
    if not asks_the_guard:
        monkeypatch.setattr(LeaseKeeper, "verdict", lambda self: Serve(may_open=True))
    store = _CutStore()

    async def act(scene: Scene) -> None:
        await scene.cast[0].say("one")
        for spectator in scene.cast:
            spectator.hear()
        store.is_cut = True
        scene.first.keeper._leases = _CutLeases(scene.first.hall)
        await asyncio.sleep(8.0)  # the lease lapses
        reopened = await scene.fail_over()
        scene.cast[1].join(scene.second, reopened)
        await asyncio.sleep(4.0)
        late = Spectator(scene.notebook, Author(UserId("late"), "Late", LECTURER.role))
        wire = await _knock(scene.first)
        if wire is not None:
            late.take_joined(scene.first, wire)

    @in_virtual_time
    async def found() -> set[Promise]:
        return await played(act, store=store)

    assert found() == (set() if asks_the_guard else {Promise.ADMITTED_BY_STALE})


async def _knock(node: SmallNode) -> Wire | None:
    """Join MATH at `node` by its gateway; None if it refuses."""
    now, clock, tickets = _now, FleetClock(), JwtTicketBook("k" * 32)
    clock.take(0, sent_at=now(), received_at=now())
    gateway = RoomGateway(
        host=node.host,
        history=node.store,
        tickets=tickets,
        clock=clock,
        now=now,
        may_admit=node.keeper.may_admit,
        is_stopping=lambda: False,
        lag=LagProbe(now()),
        budgets=Budgets(now()),
        spawn=lambda coroutine: coroutine.close(),
    )
    ticket = Ticket(MATH, LECTURER.id, "Late", LECTURER.role, node.name, Epoch(1), 60_000)
    wire = Wire()
    connection = StockConnection("late", wire)
    try:
        connection.admission = await gateway.connecting({"v": 1, "ticket": tickets.sign(ticket), "since": None})
    except Refusal:
        return None
    gateway.connected(connection)
    return wire


@pytest.mark.parametrize("sends_begin", [True, False])
async def test_a_store_that_sends_no_begin_is_caught(
    sends_begin: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node fences the room between the check of its owner and the insert, which a BEGIN keeps it from."""
    file = tmp_path / "store.sqlite3"
    url = f"sqlite+aiosqlite:///{file}"
    await upgrade(url)
    notebook = Notebook()
    scribe = Scribe(notebook.recorder, MATH, STUDENT.id)
    fenced_by: list[str] = []

    def fence_in_between(ask: object) -> None:
        if not isinstance(ask, AddEntries) or fenced_by:
            return
        with closing(sqlite3.connect(file, timeout=0.0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as locked:
                fenced_by.append(str(locked))
                return
            other.execute("UPDATE rooms SET epoch = 2, owner_inc = 'i2'")
            other.execute("INSERT INTO owners SELECT room, 2, 'i2', last_seq + 1 FROM rooms")
            other.execute("COMMIT")
            fenced_by.append("node-2")

    planted = hooked(open_engines(url), fence_in_between)
    async with SqlStore(planted) as store, open_sql_store(url) as judge:
        opened = await store.open_room(MATH, epoch=Epoch(1), incarnation=Incarnation("i1"), fresh_log=LogId("log"))
        assert isinstance(opened, Opened)
        if not sends_begin:
            execute = _WriterCursor.execute

            def leave_out(cursor: Any, sql: str, *args: Any) -> Any:
                return cursor if sql in (BEGIN, "COMMIT") else execute(cursor, sql, *args)

            monkeypatch.setattr(_WriterCursor, "execute", leave_out)
        said: Draft = draft("c1")
        scribe.asked(1.0, said.cid)
        batch = RoomBatch(MATH, Epoch(1), Incarnation("i1"), 1, (said,))
        ((outcome,),) = (await store.append_batch([batch])).values()
        assert isinstance(outcome, Appended)
        scribe.acked(1.0, said.cid, Changed(outcome.entry.seq, outcome.epoch, outcome.entry.at, dup=False))
        assert fenced_by == (["database is locked"] if sends_begin else ["node-2"])
        found = await notebook.verdict_by(judge)
        found |= {violation.promise for violation in await rows_of_stale_owners(url)}
    assert found == (set() if sends_begin else {Promise.ACK_OF_WRONG_EPOCH, Promise.ROW_OF_STALE})
