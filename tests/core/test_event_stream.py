"""director/event_stream and director/notes: what operators' pages are told, how often, and what a slow one costs."""

import asyncio
import gc
import json
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import msgspec
import pytest

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import LiveNode, LiveNodes
from director.contract.operations import OperationKind
from director.contract.orders import Cordon
from director.contract.ownership import RoomGone, RoomRecord, Snapshot
from director.core.waves import Budget
from director.event_stream import COMMENT_EVERY, PICTURE_EVERY, STREAM_FOR, TAKE_WITHIN, EventStream, Take
from director.fleet_view import FleetView
from director.memory_hall import MemoryHall
from director.notes import MAX_NOTES, Notes
from director.operations_memory import MemoryOperations
from tests.support.halls import lease_of
from tests.support.moving_nodes import SimulatedDirector, SimulatedFleet
from tests.support.virtual_time import in_virtual_time

B = NodeName("b")


async def read(events: EventStream, take: Take) -> None:
    with events.seat():
        await events.read(take)


class Reader:
    """A page's EventSource: it takes what it is given, and remembers when."""

    def __init__(self, events: EventStream, *, takes: float = 0.0) -> None:
        self._events = events
        self._takes = takes
        self._text = b""
        self.pieces: list[tuple[float, int]] = []
        self.told: list[tuple[float, str, dict[str, object]]] = []
        self.comments = 0

    async def read(self) -> None:
        await read(self._events, self._take)

    async def _take(self, piece: bytes) -> None:
        await asyncio.sleep(self._takes)
        now = asyncio.get_running_loop().time()
        self.pieces.append((now, len(piece)))
        self._text += piece
        while b"\n\n" in self._text:
            block, self._text = self._text.split(b"\n\n", 1)
            lines = dict(line.split(b": ", 1) for line in block.split(b"\n"))
            self.comments += b"" in lines
            if b"event" in lines:
                self.told.append((now, lines[b"event"].decode(), json.loads(lines[b"data"])))

    def of(self, kind: str) -> list[dict[str, object]]:
        return [body for _, told, body in self.told if told == kind]

    def notes(self) -> list[object]:
        return [body["kind"] for body in self.of("note")]


@asynccontextmanager
async def reading(director: SimulatedDirector, *, takes: float = 0.0) -> AsyncIterator[Reader]:
    reader = Reader(director.events, takes=takes)
    task = asyncio.create_task(reader.read())
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def large_view(rooms: int = 5_000, nodes: int = 50, *, name: str = "course-{}-lecture-hall") -> FleetView:
    """What a director knows of a large fleet."""
    view = FleetView()
    view.load(
        Snapshot(
            "g",
            rooms,
            [
                RoomRecord(
                    RoomId(name.format(i)),
                    NodeName(f"node-{i % nodes}"),
                    Incarnation("i1"),
                    Epoch(i),
                    "ring",
                    i,
                    members=i % 900,
                    peak=i % 900,
                )
                for i in range(rooms)
            ],
        )
    )
    leases = [LiveNode(lease_of(f"node-{i}"), 6.0) for i in range(nodes)]
    view.read_leases(LiveNodes("g", 0, leases, rooms), sent_at=0.0)
    return view


def stream_over(view: FleetView) -> EventStream:
    clock = asyncio.get_running_loop().time

    def now_ms() -> int:
        return int(clock() * 1000)

    return EventStream(
        view, MemoryOperations(MemoryHall(clock=clock)), Notes(now_ms=now_ms), monotonic=clock, now_ms=now_ms
    )


@in_virtual_time
async def test_a_new_reader_is_told_at_once_how_the_fleet_is() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=300)
        director = await fleet.director()
        async with reading(director) as reader:
            await asyncio.sleep(0.1)
            (picture,) = reader.of("fleet")
            assert picture["rooms"] == [["math", "a", 300, 300]]
            assert (picture["room_count"], picture["members"], picture["moving"]) == (1, 300, [])
            nodes = picture["nodes"]
            assert isinstance(nodes, list)
            assert [(node["node"], node["state"], node["rooms"], node["members"]) for node in nodes] == [
                ("a", "serving", 1, 300),
                ("b", "serving", 0, 0),
            ]
            assert 0 < nodes[0]["lapses_in_ms"] <= 6_000
            async with reading(director) as second:
                await asyncio.sleep(0.1)
                assert second.of("fleet") == [picture]


@in_virtual_time
async def test_events_come_once_a_second_at_most_however_much_happens() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        director = await fleet.director()
        async with reading(director) as reader:
            began_at = asyncio.get_running_loop().time()
            for i in range(100):
                await fleet.nodes["a"].open(f"room-{i}", members=i)
                await asyncio.sleep(0.1)
            by_second = Counter(int(at - began_at) for at, kind, _ in reader.told if kind == "fleet")
            assert max(by_second.values()) == 1
            assert len(by_second) >= 9
            times = sorted({at for at, _, _ in reader.told})
            assert min(b - a for a, b in pairwise(times)) > 0.9
            await asyncio.sleep(1)
            assert reader.notes().count("room_claimed") == 100, "and nothing is left out"


@in_virtual_time
async def test_a_fleet_in_which_nothing_happens_is_told_of_now_and_then() -> None:
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        async with reading(director) as reader:
            await asyncio.sleep(10 * PICTURE_EVERY + 0.5)
            assert 10 <= len(reader.of("fleet")) <= 11
            assert reader.comments == 0


@in_virtual_time
async def test_a_stream_without_news_carries_a_comment_so_that_nobody_takes_it_for_dead() -> None:
    events = stream_over(large_view(3, 1))
    reader = Reader(events)
    task = asyncio.create_task(reader.read())
    await asyncio.sleep(4 * COMMENT_EVERY + 1)
    assert reader.comments == 4
    task.cancel()


@in_virtual_time
async def test_a_move_is_told_from_its_beginning_to_its_end() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=10)
        fleet.nodes["a"].manner.hands_over_in = 3.0
        director = await fleet.director()
        async with reading(director) as reader:
            record = director.view.record_of(RoomId("math"))
            assert record is not None
            plan = director.planner.move(record, B)
            started = await director.desk.start(OperationKind.MOVE, "math", plan, budget=Budget())
            await asyncio.sleep(2)
            moving = reader.of("fleet")[-1]["moving"]
            assert moving == [{"room": "math", "source": "a", "target": "b", "why": "ordered", "is_warm": True}]
            assert reader.of("operation")[-1]["state"] == "running"
            await fleet.ended(started.id)
            await asyncio.sleep(1.5)
            told = reader.of("operation")
            assert {operation["id"] for operation in told} == {started.id}
            assert told[-1]["state"] == "done"
            assert len(told) <= 4, "what only goes on is not told again"
            notes = [(note["kind"], note["room"], note["source"], note["node"]) for note in reader.of("note")]
            assert notes[-2:] == [("move_asked", "math", "a", "b"), ("room_moved", "math", "a", "b")]
            assert reader.of("note")[-1]["why"] == "ordered"


@in_virtual_time
async def test_what_happens_to_nodes_rooms_and_orders_is_told() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["a"].manner.gives_up = True
        director = await fleet.director()
        async with reading(director) as reader:
            await director.orders.put(Cordon(B))
            record = fleet.hall.rooms[RoomId("math")]
            await director.owners.ask_move(record, to=NodeName("c"), incarnation=record.incarnation, why="x")
            await asyncio.sleep(0.1)
            await fleet.nodes["a"].terminate()
            await fleet.nodes["a"].release()
            await fleet.until(lambda: fleet.owner_of("math") == "c")
            record = fleet.hall.rooms[RoomId("math")]
            await director.owners.release(
                record.room, node=record.owner, incarnation=record.incarnation, epoch=record.epoch
            )
            await asyncio.sleep(1.5)
            expected = ["orders_changed", "move_asked", "move_given_up", "node_changed", "node_gone"]
            assert reader.notes()[:5] == expected
            assert reader.notes()[-2:] == ["room_claimed", "room_gone"]
            gone = reader.of("note")[4]
            assert (gone["node"], gone["why"]) == ("a", "released")


@in_virtual_time
async def test_a_silent_redis_ends_no_stream() -> None:
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        async with reading(director) as reader:
            await asyncio.sleep(1)
            fleet.hall.is_silent = True
            before = len(reader.of("fleet"))
            await asyncio.sleep(3 * PICTURE_EVERY)
            assert len(reader.of("fleet")) > before + 1
            fleet.hall.is_silent = False


@in_virtual_time
async def test_a_slow_reader_is_given_the_newest_and_told_what_it_missed() -> None:
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        async with reading(director) as quick, reading(director, takes=8.0) as slow:
            for i in range(600):
                await fleet.nodes["a"].open(f"room-{i}")
                await asyncio.sleep(0.1)
            await asyncio.sleep(60)
            assert len(slow.of("fleet")) < len(quick.of("fleet")) / 4
            assert slow.of("fleet")[-1]["room_count"] == 600
            skipped = [note["count"] for note in slow.of("note") if note["kind"] == "notes_skipped"]
            told = sum(note["kind"] == "room_claimed" for note in slow.of("note"))
            assert told + sum(skipped) == 600  # type: ignore[arg-type]
            assert quick.notes().count("room_claimed") == 600


@in_virtual_time
async def test_a_reader_that_takes_nothing_is_cut() -> None:
    events = stream_over(large_view(100, 2))
    publishing = asyncio.create_task(events.run())

    async def take(piece: bytes) -> None:
        await asyncio.Event().wait()

    began_at = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await read(events, take)
    assert asyncio.get_running_loop().time() - began_at == pytest.approx(TAKE_WITHIN)
    assert events.readers == 0
    publishing.cancel()


@in_virtual_time
async def test_slow_readers_cost_no_memory_but_the_edition_that_they_are_taking() -> None:
    events = stream_over(large_view(300))
    publishing = asyncio.create_task(events.run())
    readers = [asyncio.create_task(read(events, _takes_nine_seconds)) for _ in range(20)]
    await asyncio.sleep(15)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    await asyncio.sleep(60)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert events.readers == 20
    assert after - before < 20 * 30_000, "one picture has 15 kB, and 60 came out"
    for task in [publishing, *readers]:
        task.cancel()


async def _takes_nine_seconds(piece: bytes) -> None:
    await asyncio.sleep(TAKE_WITHIN - 1)


@in_virtual_time
async def test_when_nobody_reads_nothing_is_pictured_and_nothing_kept() -> None:
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        async with reading(director):
            await asyncio.sleep(3)
        assert director.events._edition.picture == b""
        fleet.hall.is_silent = True  # which it would notice
        await asyncio.sleep(60)
        assert director.events._edition.number == 0
        fleet.hall.is_silent = False


@in_virtual_time
async def test_a_stream_ends_after_an_hour_and_when_the_director_stops() -> None:
    async with SimulatedFleet("a") as fleet:
        director = await fleet.director()
        began_at = asyncio.get_running_loop().time()
        await Reader(director.events).read()
        assert STREAM_FOR <= asyncio.get_running_loop().time() - began_at < STREAM_FOR + COMMENT_EVERY + 1
        last = asyncio.create_task(Reader(director.events).read())
        await asyncio.sleep(5)
        await director.events.close()
        async with asyncio.timeout(1):
            await last


@pytest.mark.parametrize("name", ["course-{}-lecture-hall", "{:x>128}"])
async def test_fifty_nodes_and_five_thousand_rooms_are_pictured_in_a_moment(name: str) -> None:
    events = stream_over(large_view(name=name))
    pieces: list[bytes] = []

    async def take(piece: bytes) -> None:
        pieces.append(piece)

    reader = asyncio.create_task(read(events, take))
    await asyncio.sleep(0)
    spent: list[float] = []
    for _ in range(5):
        began_at = time.thread_time()
        await events.publish()
        spent.append(time.thread_time() - began_at)
        await asyncio.sleep(0)
    reader.cancel()
    picture = msgspec.json.decode(b"".join(pieces).split(b"event: fleet\ndata: ", 1)[1].split(b"\n\n", 1)[0])
    assert len(picture["rooms"]) == 5_000
    assert len(picture["nodes"]) == 50
    assert len(b"".join(pieces)) < 1_000_000
    assert min(spent) < (0.050 if sys.gettrace() is None else 0.5), "coverage takes its time"


async def test_of_more_rooms_the_largest_are_pictured() -> None:
    events = stream_over(large_view(6_000))
    pieces: list[bytes] = []

    async def take(piece: bytes) -> None:
        pieces.append(piece)

    reader = asyncio.create_task(read(events, take))
    await asyncio.sleep(0)
    await events.publish()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reader.cancel()
    picture = msgspec.json.decode(b"".join(pieces).split(b"event: fleet\ndata: ", 1)[1].split(b"\n\n", 1)[0])
    loads = [load for _, _, _, load in picture["rooms"]]
    assert (len(loads), picture["room_count"]) == (5_000, 6_000)
    assert loads == sorted(loads, reverse=True)
    assert loads[-1] >= sorted((max(30, i % 900) for i in range(6_000)), reverse=True)[4_999]


def test_notes_are_kept_up_to_a_bound() -> None:
    notes = Notes(now_ms=lambda: 5)
    for i in range(1_000):
        notes.hear(RoomGone("g", i + 1, RoomId(f"r{i}")))
    assert len(notes.after(0)) == MAX_NOTES
    assert notes.after(1_000) == []
    assert [note.room for note in notes.after(998)] == ["r998", "r999"]
    skipped, *kept = notes.after(100)
    assert (skipped.kind, skipped.count, len(kept)) == ("notes_skipped", 1_000 - 100 - MAX_NOTES, MAX_NOTES)
