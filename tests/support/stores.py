"""Stores for tests: drafts and batches to write, the twins to write them to, and a store that fails on demand."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from director.contract.ids import Epoch, Incarnation, LogId, Role, RoomId, Seq, UserId
from persistence.contract.messages import Author, Draft, Entry, Kind, Mode
from persistence.contract.store import (
    Appended,
    Behind,
    Opened,
    Outcome,
    OutcomeUnknown,
    RoomBatch,
    RoomHistory,
    RoomLog,
    RoomState,
    StoreAudit,
    StoreUnavailable,
)
from persistence.contract.writing import OnSettled, Settled

ROOM = RoomId("math-101")
LOG = LogId("log-1")
ONE = Epoch(1)
NODE = Incarnation("inc-1")

STUDENT = Author(UserId("u1"), "Ann", Role.STUDENT)
OTHER = Author(UserId("u2"), "Bo", Role.STUDENT)
LECTURER = Author(UserId("t1"), "Prof. Kim", Role.LECTURER)


class Store(RoomLog, RoomHistory, StoreAudit, Protocol):
    """All that a store is."""


def store_url(folder: Path) -> str:
    """The URL of a SQLite store in `folder`."""
    return f"sqlite+aiosqlite:///{folder}/store.sqlite3"


def said(cid: str, text: str = "hello", *, by: Author = STUDENT, reply_to: int | None = None) -> Draft:
    return Draft(cid, by, Kind.MESSAGE, text=text, reply_to=None if reply_to is None else Seq(reply_to))


def asked(cid: str, text: str = "why?", *, by: Author = STUDENT) -> Draft:
    return Draft(cid, by, Kind.QUESTION, text=text)


def deleted(cid: str, target: int, *, by: Author = STUDENT) -> Draft:
    return Draft(cid, by, Kind.DELETE, target=Seq(target))


def noticed(cid: str, text: str | None, *, by: Author = LECTURER) -> Draft:
    return Draft(cid, by, Kind.NOTICE, text=text)


def moded(cid: str, mode: Mode, slow_ms: int = 0, *, by: Author = LECTURER) -> Draft:
    return Draft(cid, by, Kind.MODE, mode=mode, slow_ms=slow_ms)


def batch_of(
    *drafts: Draft, room: RoomId = ROOM, epoch: int = 1, incarnation: str = NODE, at: int = 1_000
) -> RoomBatch:
    return RoomBatch(room, Epoch(epoch), Incarnation(incarnation), at, drafts)


async def open_room(
    store: RoomLog, room: RoomId = ROOM, *, epoch: int = 1, incarnation: str = NODE, log: str = LOG
) -> Opened | Behind:
    return await store.open_room(room, epoch=Epoch(epoch), incarnation=Incarnation(incarnation), fresh_log=LogId(log))


async def append(store: RoomLog, *drafts: Draft, room: RoomId = ROOM, epoch: int = 1, at: int = 1_000) -> list[Outcome]:
    """The outcomes of one room's batch."""
    return list((await store.append_batch([batch_of(*drafts, room=room, epoch=epoch, at=at)]))[room])


async def all_entries(store: RoomHistory, room: RoomId = ROOM) -> list[Entry]:
    """A room's whole log, page by page."""
    entries: list[Entry] = []
    while True:
        after = entries[-1].seq if entries else Seq(0)
        page = await store.read_after(room, after=after, limit=100, max_bytes=1 << 20)
        entries += page.entries
        if not page.more:
            return entries


def numbers(outcomes: Sequence[Outcome]) -> list[int]:
    """The numbers of those that were appended."""
    return [outcome.entry.seq for outcome in outcomes if isinstance(outcome, Appended)]


class FailingLog:
    """A RoomLog over another one, whose appends fail as planned: one plan is used up by each append.

    `out`: the store is unavailable. `unclear`: the commit happens, its answer is lost. `void`: the answer is lost and
    nothing was committed. `held`: the append waits for `release` before it is done. `well`: nothing goes wrong. Each
    append `takes` as many seconds as one says.
    """

    def __init__(self, log: RoomLog) -> None:
        self._log = log
        self.plans: deque[str] = deque()
        self.always = "well"
        self.takes = 0.0
        self.appends: list[list[RoomBatch]] = []
        self.started = asyncio.Event()
        self.release = asyncio.Event()

    async def open_room(
        self, room: RoomId, *, epoch: Epoch, incarnation: Incarnation, fresh_log: LogId
    ) -> Opened | Behind:
        return await self._log.open_room(room, epoch=epoch, incarnation=incarnation, fresh_log=fresh_log)

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        self.appends.append(list(batches))
        self.started.set()
        plan = self.plans.popleft() if self.plans else self.always
        if plan.startswith("held"):
            await self.release.wait()
        if self.takes:
            await asyncio.sleep(self.takes)
        if plan.endswith("out"):
            raise StoreUnavailable("the test's store is out")
        if plan.endswith("void"):
            raise OutcomeUnknown("the test's commit went nowhere")
        outcomes = await self._log.append_batch(batches)
        if plan.endswith("unclear"):
            raise OutcomeUnknown("the test lost the answer")
        return outcomes

    async def row_states(self, rooms: Sequence[RoomId]) -> Mapping[RoomId, RoomState]:
        return await self._log.row_states(rooms)


class Settlements:
    """What a writer has settled, in order; `listener` is told too."""

    def __init__(self) -> None:
        self.settled: list[Settled] = []
        self.listener: OnSettled = lambda _: None

    def __call__(self, settled: Settled) -> None:
        self.settled.append(settled)
        self.listener(settled)

    def of(self, room: RoomId = ROOM) -> list[tuple[str, Outcome]]:
        """The outcomes of one room's drafts by their cids."""
        return [(draft.cid, it) for settled in self.settled if settled.room == room for draft, it in settled.results]
