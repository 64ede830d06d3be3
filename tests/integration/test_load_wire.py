"""The wires of load and torture, against the stub hall over real sockets: that of Locust's users, which blocks (without
locust, in threads), and that of crowds. What a member does on the latter is tested in test_load_client.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from director.contract.ids import NodeName, RoomId, UserId
from loadtest.connection import NoAnswer
from loadtest.contract.history import Acked, Admitted, Asked, Denied, Framed, HistoryEvent, Parted
from loadtest.contract.received import Frame, Joined, Route, refusal_of
from loadtest.core.way_back import Lost, Unrouted
from loadtest.fault_proxy import FaultProxy
from loadtest.wire import JoinDenied, LineLost, Wire
from loadtest.wire_connection import WireConnection
from loadtest.wire_member import Dismissed, WireMember
from tests.support.stub_hall import StubHall, stub_hall

T = TypeVar("T")


class Notebook:
    """Gauge and recorder."""

    def __init__(self) -> None:
        self.history: list[HistoryEvent] = []
        self.joins: list[str | None] = []
        self.sends: list[tuple[str, str | None]] = []
        self.deliveries: list[float] = []

    def record(self, event: HistoryEvent) -> None:
        self.history.append(event)

    def joined(self, seconds: float, failure: str | None) -> None:
        self.joins.append(failure)

    def sent(self, event: str, seconds: float, failure: str | None) -> None:
        self.sends.append((event, failure))

    def delivered(self, seconds: float) -> None:
        self.deliveries.append(seconds)


@pytest.fixture
async def hall() -> AsyncIterator[StubHall]:
    async with stub_hall() as running:
        yield running


@pytest.fixture
def notes() -> Notebook:
    return Notebook()


def member_of(hall: StubHall, notes: Notebook) -> WireMember:
    def route(failed: NodeName | None) -> Route | Unrouted:
        asked = {"room": "r", "user": "ada", **({"failed": failed} if failed else {})}
        answer = httpx.get(f"{hall.url}/route", params=asked, trust_env=False)
        if answer.status_code == 200:
            return msgspec.convert(answer.json(), Route)
        return Unrouted(failed, refusal_of(answer.json()))

    return WireMember(
        RoomId("r"),
        UserId("ada"),
        route=route,
        gauge=notes,
        recorder=notes,
        rng=random.Random(1),
        clock=time.monotonic,
        sleep=time.sleep,
    )


async def aside(work: Callable[[], T]) -> T:
    """Blocking work in a thread, while the stub hall runs here."""
    async with asyncio.timeout(30):
        return await asyncio.to_thread(work)


def read_until(member: WireMember, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        member.read_until(time.monotonic() + 0.05)
    assert holds()


async def test_a_member_says_something_and_every_entry_is_measured_once(hall: StubHall, notes: Notebook) -> None:
    member = member_of(hall, notes)
    assert await aside(lambda: member.ask("send", {"text": "hello"}, within=10)) is None
    await aside(lambda: read_until(member, lambda: len(notes.deliveries) == 1))
    await hall.add("of another, whose cid bears no stamp")
    await aside(lambda: read_until(member, lambda: sum(isinstance(e, Framed) for e in notes.history) == 2))
    await aside(member.leave)
    assert len(notes.deliveries) == 1
    assert 0 <= notes.deliveries[0] < 10
    assert notes.joins == [None]
    assert notes.sends == [("send", None)]
    kinds = {type(event) for event in notes.history}
    assert kinds == {Asked, Acked, Admitted, Framed, Parted}
    await hall.until(lambda: not hall.members)


async def test_a_dropped_member_comes_back_with_its_position(hall: StubHall, notes: Notebook) -> None:
    member = member_of(hall, notes)
    await aside(lambda: member.ask("send", {"text": "one"}, within=10))
    await aside(lambda: read_until(member, lambda: len(notes.deliveries) == 1))
    member.drop()
    await hall.add("while away", shown=False)
    await aside(lambda: read_until(member, lambda: len(hall.joins) == 2 and len(notes.joins) == 2))
    assert hall.joins[1]["since"]["seq"] == 1
    assert hall.routes[1]["failed"] == "stub-1"
    await aside(member.leave)


async def test_a_lost_ack_is_asked_for_again_with_the_same_cid(hall: StubHall, notes: Notebook) -> None:
    member = member_of(hall, notes)
    hall.acks_to_swallow = 1
    assert await aside(lambda: member.ask("send", {"text": "once"}, within=20)) is None
    assert len(hall.log) == 1
    done = [event for event in notes.history if isinstance(event, Acked)]
    assert [event.dup for event in done] == [True]
    await aside(member.leave)


async def test_refusals_are_obeyed_by_their_action(hall: StubHall, notes: Notebook) -> None:
    member = member_of(hall, notes)
    hall.refuse_sends = [hall.error("BUSY", "retry", 1), hall.error("NOT_OWNER", "reroute")]
    assert await aside(lambda: member.ask("send", {"text": "patience"}, within=20)) is None
    assert (len(hall.routes), len(hall.joins)) == (2, 2)
    hall.refuse_sends = [hall.error("MODE_CLOSED", "stay")]
    refused = await aside(lambda: member.ask("send", {"text": "no"}, within=20))
    assert refused is not None
    assert refused.code == "MODE_CLOSED"
    assert [event.code for event in notes.history if isinstance(event, Denied)] == ["MODE_CLOSED"]
    await hall.say_bye("SHUTDOWN", "reroute")
    await aside(lambda: read_until(member, lambda: notes.joins.count(None) == 3))
    assert "failed" not in hall.routes[-1]
    await aside(member.leave)


async def test_a_refused_route_and_a_refused_join_are_repeated(hall: StubHall, notes: Notebook) -> None:
    member = member_of(hall, notes)
    hall.refuse_routes = [hall.error("NO_NODES", "retry", 1)]
    hall.refuse_joins = [hall.error("BUSY", "retry", 1)]
    await aside(lambda: read_until(member, lambda: notes.joins == ["BUSY", None]))
    assert (len(hall.routes), len(hall.joins)) == (2, 2)
    await aside(member.leave)


async def test_a_member_that_may_not_come_is_dismissed(hall: StubHall, notes: Notebook) -> None:
    member = member_of(hall, notes)
    hall.refuse_joins = [hall.error("BANNED", "stop")]
    with pytest.raises(Dismissed, match="BANNED"):
        await aside(lambda: member.read_until(time.monotonic() + 10))


async def test_a_hole_that_stays_open_makes_the_member_join_again(hall: StubHall, notes: Notebook) -> None:
    member = member_of(hall, notes)
    await aside(lambda: read_until(member, lambda: len(notes.joins) == 1))
    await hall.add("lost", shown=False)
    await hall.add("after it")
    await aside(lambda: read_until(member, lambda: len(notes.joins) == 2))
    assert hall.joins[1]["since"]["seq"] == 0
    await aside(member.leave)


async def test_moved_means_joining_there(hall: StubHall, notes: Notebook) -> None:
    async with stub_hall() as target:
        member = member_of(hall, notes)
        await aside(lambda: read_until(member, lambda: len(notes.joins) == 1))
        moved = {"url": target.url, "path": "/socket.io/", "node": "stub-2", "epoch": 2, "ticket": "t", "after_ms": 10}
        await hall.sio.emit("moved", moved)
        await aside(lambda: read_until(member, lambda: len(notes.joins) == 2))
        assert target.joins[0]["ticket"] == "t"
        assert len(hall.routes) == 1
        await aside(member.leave)


def route_to(url: str) -> Route:
    return msgspec.convert(
        {"room": "r", "node": "n", "url": url, "path": "/socket.io/", "epoch": 1, "ticket": "t"}
        | {"ticket_expires_in_ms": 1},
        Route,
    )


async def test_a_wire_tells_a_refusal_from_a_node_that_was_not_reached(hall: StubHall) -> None:
    auth: dict[str, Any] = {"v": 1, "ticket": "t", "since": None, "tail": 0}
    hall.refuse_joins = [hall.error("TICKET_INVALID", "reroute")]
    with pytest.raises(JoinDenied) as denied:
        await aside(lambda: Wire(route_to(hall.url), auth, clock=time.monotonic))
    assert denied.value.error.code == "TICKET_INVALID"
    with pytest.raises(LineLost):
        await aside(lambda: Wire(route_to("http://127.0.0.1:1"), auth, clock=time.monotonic))


async def test_a_silent_node_is_lost_after_its_ping_time(hall: StubHall) -> None:
    later = 0.0

    def clock() -> float:
        return time.monotonic() + later

    hall.is_mute = True
    auth: dict[str, Any] = {"v": 1, "ticket": "t", "since": None, "tail": 0}
    wire = await aside(lambda: Wire(route_to(hall.url), auth, clock=clock))
    assert await aside(lambda: wire.read(until=clock() + 0.01)) is None
    later = 1_000.0
    with pytest.raises(LineLost, match="no ping"):
        await aside(lambda: wire.read(until=clock() + 10))


class Ears:
    """What a wire connection has been told."""

    def __init__(self) -> None:
        self.joins: list[Joined] = []
        self.frames: list[Frame] = []
        self.has_frame = asyncio.Event()

    def take(self, frame: Frame, is_gap: bool) -> None:
        self.frames.append(frame)
        self.has_frame.set()

    def dial(self) -> WireConnection:
        return WireConnection(
            NodeName("stub-1"),
            on_joined=self.joins.append,
            on_frame=self.take,
            on_moved=lambda moved: None,
        )


async def test_a_crowd_s_wire_finds_out_that_its_node_is_silent(hall: StubHall) -> None:
    """Nothing is heard, not even the end: as of a machine that is gone."""
    ears = Ears()
    async with FaultProxy(("127.0.0.1", int(hall.url.rsplit(":", 1)[1]))) as way:
        wire = ears.dial()
        await wire.join(route_to(f"http://127.0.0.1:{way.port}"), since=None, tail=0, transports=())
        assert len(ears.joins) == 1
        way.swallow()
        wire._silence = 0.2  # as if the node had announced so short a heartbeat
        wire._listen_again()
        async with asyncio.timeout(20):
            ended = await wire.ended
        assert ended == Lost(NodeName("stub-1"), "ping timeout")
        with pytest.raises(NoAnswer):
            await wire.call("send", {"cid": "c", "text": "too late"})
        await wire.close()


async def test_a_crowd_s_wire_tells_what_is_no_node(hall: StubHall) -> None:
    for url in (f"{hall.url}/nowhere", "http://127.0.0.1:1"):
        wire = Ears().dial()
        route = route_to(hall.url if url.startswith(hall.url) else url)
        if url.endswith("nowhere"):
            route = msgspec.structs.replace(route, path="/nowhere/")
        await wire.join(route, since=None, tail=0, transports=())
        assert await wire.ended == Lost(NodeName("stub-1"), "not reached")
        await wire.close()


async def test_what_is_written_to_all_alike_is_decoded_once(hall: StubHall) -> None:
    ears = [Ears() for _ in range(3)]
    wires = [its.dial() for its in ears]
    for wire in wires:
        await wire.join(route_to(hall.url), since=None, tail=0, transports=())
    await hall.add("to all")
    async with asyncio.timeout(20):
        await asyncio.gather(*(its.has_frame.wait() for its in ears))
    assert ears[0].frames[0] is ears[1].frames[0] is ears[2].frames[0]
    for wire in wires:
        await wire.close()
