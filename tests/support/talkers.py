"""Talkers: people who send through a node's writer, whatever happens to the store, and repeat what was not taken, or
not answered in time, as clients do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic

from director.contract.ids import RoomId, Seq
from persistence.contract.messages import Draft
from persistence.contract.store import Appended, Duplicate, Outcome, RoomLog, Unsettled
from persistence.contract.writing import Settled
from persistence.writer import BatchWriter, WriterLimits
from tests.support.stores import NODE, ONE, Store, all_entries, open_room, said

PATIENCE = 60.0
ACK_WITHIN = 10.0


class Talkers:
    """Each says one thing after the other, with the same `cid` until it is acknowledged."""

    def __init__(
        self, log: RoomLog, rooms: Sequence[RoomId], *, limits: WriterLimits | None = None, text: str = "hello"
    ) -> None:
        self.writer = BatchWriter(log, self._on_settled, wall_ms=lambda: 1_000, now=monotonic, limits=limits)
        self.rooms = rooms
        self._text = text
        self.acked: dict[RoomId, dict[str, int]] = {room: {} for room in rooms}
        self.told: list[str] = []
        self.told_after: list[float] = []
        self.most_waiting = 0
        self._heads = dict.fromkeys(rooms, Seq(0))
        self._waiting: dict[int, tuple[Draft, asyncio.Future[Outcome]]] = {}
        self._changed = asyncio.Condition()
        self._silent = False

    async def until_acked(self, more: int) -> None:
        """Wait until so many more have been acknowledged than now."""
        enough = self._count() + more
        await self._until(lambda: self._count() >= enough)

    async def until_told(self, times: int = 1) -> None:
        """Wait until so many more have been told that the store is out."""
        enough = len(self.told) + times
        await self._until(lambda: len(self.told) >= enough)

    async def talk(self, name: str, room: RoomId) -> None:
        number = 0
        while not self._silent:
            cid = f"{name}-{number}"
            match await self._say(room, cid):
                case Appended():
                    pass
                case Duplicate(seq=seq):
                    assert self.acked[room].get(cid) == seq, f"{cid} was committed, and nobody was shown it"
                case Unsettled(why):
                    self.told.append(why)
                    number -= 1
                case other:
                    raise AssertionError(f"{cid}: {other}")
            number += 1
            async with self._changed:
                self._changed.notify_all()

    def fall_silent(self) -> None:
        """Everybody ends with the answer to what he has just said."""
        self._silent = True

    async def assert_all_is_there_once(self, store: Store) -> None:
        for room in self.rooms:
            entries = await all_entries(store, room)
            assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
            stored = {entry.cid: entry.seq for entry in entries}
            assert len(stored) == len(entries), "something is there twice"
            assert stored == self.acked[room], "acknowledged and stored are not the same"

    async def _say(self, room: RoomId, cid: str) -> Outcome:
        said_at, settled = monotonic(), self._put(room, cid)
        while not (await asyncio.wait([settled], timeout=ACK_WITHIN))[0]:
            if not self._silent:
                said_at, settled = monotonic(), self._put(room, cid)
        self.told_after.append(monotonic() - said_at)
        return settled.result()

    def _put(self, room: RoomId, cid: str) -> asyncio.Future[Outcome]:
        draft = said(cid, self._text)
        settled: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[id(draft)] = draft, settled
        assert self.writer.put(room, draft, epoch=ONE, incarnation=NODE, head=self._heads[room])
        self.most_waiting = max(self.most_waiting, self.writer.waiting)
        return settled

    def _on_settled(self, settled: Settled) -> None:
        room = settled.room
        for draft, outcome in settled.results:
            if isinstance(outcome, Appended):
                assert draft.cid not in self.acked[room], f"{draft.cid} was shown twice"
                self.acked[room][draft.cid] = outcome.entry.seq
                self._heads[room] = max(self._heads[room], outcome.entry.seq)
            self._waiting.pop(id(draft))[1].set_result(outcome)

    def _count(self) -> int:
        return sum(len(acked) for acked in self.acked.values())

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(holds)


@asynccontextmanager
async def talking(
    store: Store,
    *,
    rooms: int = 3,
    each: int = 3,
    log: RoomLog | None = None,
    limits: WriterLimits | None = None,
    text: str = "hello",
) -> AsyncIterator[Talkers]:
    """People who talk for the length of the block; then all is settled, and was stored once. `log` stands between the
    writer and the store."""
    names = [RoomId(f"room-{i}") for i in range(rooms)]
    for room in names:
        await open_room(store, room)
    talkers = Talkers(log or store, names, limits=limits, text=text)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(talkers.writer.run())
        for i in range(rooms * each):
            tasks.create_task(talkers.talk(f"t{i}", names[i % rooms]))
        yield talkers
        talkers.fall_silent()
        async with asyncio.timeout(PATIENCE):
            await talkers.writer.close(within=PATIENCE)
            await run
    await talkers.assert_all_is_there_once(store)
