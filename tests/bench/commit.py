"""Commits: messages a second that one node's writer commits, on each store, beside one transaction for each message."""

import asyncio
import secrets
import time
from itertools import count
from typing import Any

from director.contract.ids import Epoch, Incarnation, LogId, Role, RoomId, Seq, UserId
from persistence.contract.messages import Author, Draft, Kind
from persistence.contract.store import Appended, RoomBatch
from persistence.contract.writing import Settled
from persistence.store_sql import SqlStore, open_sql_store
from persistence.writer import BatchWriter
from tests.bench.figures import Figure, figure, repeats, report, seconds
from tests.bench.stores import POSTGRESQL, SQLITE, NoStore, fresh_store

ROOMS = 200
AHEAD = 9_000
SPAN = 5.0
SINGLE_SPAN = 2.0
REPEATS = 3
AT_LEAST = 20_000.0
TEXT = "hello lecture hall, this is a chat message of usual length, with a mark of the time"
_EPOCH, _INCARNATION = Epoch(1), Incarnation("bench")
_BY = Author(UserId("u1"), "Ann", Role.STUDENT)


def main() -> dict[str, Any]:
    """Messages a second, and how long one waited for its transaction when the writer always had enough to do."""
    figures: list[Figure] = []
    notes: list[str] = []
    for kind in (SQLITE, POSTGRESQL):
        batched, single, cpu = list[float](), list[float](), list[float]()
        try:
            for _ in range(repeats(REPEATS)):
                with fresh_store(kind) as url:
                    single.append(asyncio.run(_one_by_one(url)))
                    rate, busy = asyncio.run(_in_batches(url))
                    batched.append(rate)
                    cpu.append(busy)
        except NoStore as error:
            notes.append(f"{kind}: left out, {error}")
            continue
        figures += [
            figure(f"{kind}: committed messages, {ROOMS} rooms", "/s", batched, at_least=AT_LEAST),
            figure(f"{kind}: CPU of the writer's process, a message", "µs", cpu),
            figure(f"{kind}: one transaction for each message", "/s", single),
            figure(f"{kind}: ratio", "x", [a / b for a, b in zip(batched, single, strict=True)]),
        ]
    return report(figures, notes=notes)


async def _in_batches(url: str) -> tuple[float, float]:
    """Messages a second through the writer, and microseconds of processor for each."""
    async with open_sql_store(url) as store:
        rooms = await _opened(store)
        heads = dict.fromkeys(rooms, Seq(0))
        done, failed = 0, 0
        room_for_more = asyncio.Event()

        def on_settled(settled: Settled) -> None:
            nonlocal done, failed
            for _, outcome in settled.results:
                if isinstance(outcome, Appended):
                    done += 1
                    heads[settled.room] = outcome.entry.seq
                else:
                    failed += 1
            room_for_more.set()

        writer = BatchWriter(store, on_settled, wall_ms=_wall_ms, now=time.monotonic)
        numbers, chance = count(), secrets.token_hex(4)

        async def fill(until: float) -> None:
            while time.monotonic() < until:
                while writer.waiting < AHEAD:
                    number = next(numbers)
                    room = rooms[number % ROOMS]
                    draft = Draft(f"{chance}-{number}", _BY, Kind.MESSAGE, text=TEXT)
                    writer.put(room, draft, epoch=_EPOCH, incarnation=_INCARNATION, head=heads[room])
                room_for_more.clear()
                await room_for_more.wait()

        running = asyncio.create_task(writer.run())
        await fill(time.monotonic() + seconds(1.0))
        before, began_at, cpu = done, time.monotonic(), time.process_time()
        await fill(began_at + seconds(SPAN))
        committed, took, spent = done - before, time.monotonic() - began_at, time.process_time() - cpu
        await writer.close(within=30)
        await running
        assert not failed, f"{failed} messages were not appended"
    return committed / took, spent / committed * 1e6


async def _one_by_one(url: str) -> float:
    """Messages a second, each in a transaction of its own, one after the other."""
    async with open_sql_store(url) as store:
        rooms = await _opened(store)
        chance = secrets.token_hex(4)
        began_at, done = time.monotonic(), 0
        while time.monotonic() < began_at + seconds(SINGLE_SPAN):
            draft = Draft(f"{chance}-{done}", _BY, Kind.MESSAGE, text=TEXT)
            batch = RoomBatch(rooms[done % ROOMS], _EPOCH, _INCARNATION, _wall_ms(), (draft,))
            await store.append_batch([batch])
            done += 1
        return done / (time.monotonic() - began_at)


async def _opened(store: SqlStore) -> list[RoomId]:
    rooms = [RoomId(f"bench-{secrets.token_hex(4)}-{number}") for number in range(ROOMS)]
    for room in rooms:
        await store.open_room(room, epoch=_EPOCH, incarnation=_INCARNATION, fresh_log=LogId(secrets.token_hex(8)))
    return rooms


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
