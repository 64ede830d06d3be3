"""HallClient against a hall that keeps the protocol and, on demand, breaks it, over real sockets: on the stock client,
and on our own wire for crowds of thousands, which must do the same.
"""

import asyncio
import gc
import random
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest

from loadtest.client import CallRefused, HallClient, MemberState, NotDone
from loadtest.contract.history import Acked, Admitted, Asked, Denied, Framed, HistoryEvent, Parted
from loadtest.contract.received import Joined
from loadtest.wire_connection import WireConnection
from loadtest.wire_http import WireHttp
from persistence.contract.messages import Entry
from tests.support.stub_hall import StubHall, stub_hall


class Listener:
    """A client's callbacks and recorder, remembered in order."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.seqs: list[int] = []
        self.joins: list[Joined] = []
        self.states: list[MemberState] = []
        self.gaps: list[tuple[int, int]] = []
        self.history: list[HistoryEvent] = []

    def record(self, event: HistoryEvent) -> None:
        self.history.append(event)

    def take(self, entries: tuple[Entry, ...]) -> None:
        self.seqs += [entry.seq for entry in entries]

    def client(self, hall: StubHall, user: str = "ada", **options: Any) -> HallClient:
        return HallClient(
            hall.url,
            "r",
            user=user,
            on_entries=self.take,
            on_joined=self.joins.append,
            on_state=self.states.append,
            on_gap=lambda first, last: self.gaps.append((first, last)),
            recorder=self,
            rng=random.Random(1),
            **self._options,
            **options,
        )


@pytest.fixture
async def hall() -> AsyncIterator[StubHall]:
    async with stub_hall() as running:
        yield running


@pytest.fixture(params=["stock", "wire"])
async def options(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Any]]:
    """What a client is made with: nothing, or the wire in place of the libraries."""
    if request.param == "stock":
        yield {}
        return
    async with WireHttp() as http:
        yield {"dial": WireConnection, "http": http}


@pytest.fixture
def heard(options: dict[str, Any]) -> Listener:
    return Listener(**options)


async def test_a_member_gets_the_tail_then_what_is_said_and_its_own_sends(hall: StubHall, heard: Listener) -> None:
    for text in ("one", "two", "three"):
        await hall.add(text, shown=False)
    async with heard.client(hall, tail=2) as client:
        joined = await client.live()
        assert joined.pos.seq == 3
        done = await client.send("hello")
        assert (done.seq, done.dup) == (4, False)
        await hall.add("from another")
        assert await client.reached(5, 10)
        assert client.position is not None
        assert client.position.seq == 5
    assert heard.seqs == [2, 3, 4, 5]
    assert client.entries_seen == 4
    assert heard.states[:2] == [MemberState.CONNECTING, MemberState.LIVE]
    assert client.state is MemberState.STOPPED
    kinds = [type(event) for event in heard.history]
    assert kinds[:2] == [Admitted, Asked]
    assert {Framed, Acked} <= set(kinds)
    last = heard.history[-1]
    assert isinstance(last, Parted)
    assert last.why == "left"


async def test_a_cut_member_comes_back_by_the_director_with_its_position_and_misses_nothing(
    hall: StubHall, heard: Listener
) -> None:
    async with heard.client(hall) as client:
        await client.live()
        await hall.add("one")
        assert await client.reached(1, 10)
        await client.drop(hold=True)
        await hall.until(lambda: not hall.members)
        await hall.add("while away")
        assert not client.is_live
        client.rejoin()
        await client.live()
        assert await client.reached(2, 10)
    assert heard.seqs == [1, 2]
    assert hall.routes[-1]["failed"] == "stub-1"
    assert "failed" not in hall.routes[0]
    assert hall.joins[-1]["since"] == {"log": "stub", "epoch": 1, "seq": 1}
    assert client.times_resumed == 1
    assert [event.why for event in heard.history if isinstance(event, Parted)] == ["cut", "left"]


async def test_a_send_whose_ack_is_lost_is_repeated_with_its_cid_and_stored_once(
    hall: StubHall, heard: Listener
) -> None:
    async with heard.client(hall) as client:
        await client.live()
        hall.acks_to_swallow = 2
        done = await client.send("only once")
        assert done.dup
    assert [entry["text"] for entry in hall.log] == ["only once"]
    assert [hall.log[0]["cid"]] == [event.cid for event in heard.history if isinstance(event, Asked)]
    assert len(hall.joins) == 3
    assert [type(event) for event in heard.history if isinstance(event, Asked | Acked)] == [Asked, Acked]


async def test_a_temporary_refusal_is_tried_again_at_the_same_place(hall: StubHall, heard: Listener) -> None:
    async with heard.client(hall) as client:
        await client.live()
        hall.refuse_sends = [hall.error("BUSY", "retry", 1), hall.error("RATE_LIMITED", "retry", 1)]
        assert (await client.send("patience")).seq == 1
    assert len(hall.joins) == 1


async def test_a_send_refused_because_the_room_moved_goes_by_the_director(hall: StubHall, heard: Listener) -> None:
    async with heard.client(hall) as client:
        await client.live()
        hall.refuse_sends = [hall.error("NOT_OWNER", "reroute")]
        assert (await client.send("on the new one")).seq == 1
    assert len(hall.joins) == 2
    assert "failed" not in hall.routes[-1]


@pytest.mark.parametrize(("code", "action"), [("MODE_CLOSED", "stay"), ("TOO_LARGE", "fix"), ("BANNED", "stop")])
async def test_a_final_refusal_is_told_and_not_repeated(
    hall: StubHall, heard: Listener, code: str, action: str
) -> None:
    async with heard.client(hall) as client:
        await client.live()
        hall.refuse_sends = [hall.error(code, action)]
        with pytest.raises(CallRefused) as refused:
            await client.send("no")
        assert (refused.value.code, refused.value.action) == (code, action)
        assert (await client.send("but still here")).seq == 1
    assert [event.code for event in heard.history if isinstance(event, Denied)] == [code]


async def test_a_send_that_cannot_be_settled_ends_with_its_deadline(hall: StubHall, heard: Listener) -> None:
    async with heard.client(hall) as client:
        await client.live()
        await client.drop(hold=True)
        with pytest.raises(NotDone):
            await client.send("nobody there", timeout=0.05)
    assert [event.code for event in heard.history if isinstance(event, Denied)] == ["NOT_DONE"]


async def test_a_bye_is_followed_at_once_and_without_a_hint(hall: StubHall, heard: Listener) -> None:
    async with heard.client(hall) as client:
        await client.live()
        await hall.say_bye("SHUTDOWN", "reroute")
        await hall.until(lambda: len(hall.joins) == 2)
        await client.live()
    assert "failed" not in hall.routes[-1]
    assert [event.why for event in heard.history if isinstance(event, Parted)] == ["SHUTDOWN", "left"]


async def test_a_refused_join_is_repeated_by_its_action(hall: StubHall, heard: Listener) -> None:
    hall.refuse_joins = [hall.error("BUSY", "retry", 1), hall.error("NOT_OWNER", "reroute")]
    async with heard.client(hall) as client:
        await client.live()
    assert len(hall.joins) == 3
    assert len(hall.routes) == 2


async def test_a_member_that_may_not_join_is_told_so_and_stops(hall: StubHall, heard: Listener) -> None:
    hall.refuse_joins = [hall.error("BANNED", "stop")]
    async with heard.client(hall) as client:
        with pytest.raises(CallRefused, match="BANNED"):
            await client.live()
        with pytest.raises(CallRefused, match="BANNED"):
            await client.send("let me in")
        with pytest.raises(CallRefused, match="BANNED"):
            await client.until_stopped()
        assert not await client.reached(1, 1)
    assert len(hall.joins) == 1


async def test_a_director_that_is_not_sure_is_asked_again(hall: StubHall, heard: Listener) -> None:
    hall.refuse_routes = [hall.error("NO_NODES", "retry", 1), hall.error("OWNER_UNCONFIRMED", "retry", 1)]
    async with heard.client(hall) as client:
        await client.live()
    assert len(hall.routes) == 3


async def test_frames_that_arrive_out_of_order_are_applied_in_order(hall: StubHall, heard: Listener) -> None:
    async with heard.client(hall) as client:
        await client.live()
        entries = [await hall.add(text, shown=False) for text in ("one", "two", "three")]
        for place in (1, 2, 0):
            await hall.show(entries[place])
        assert await client.reached(3, 10)
    assert heard.seqs == [1, 2, 3]
    assert len(hall.joins) == 1


async def test_a_hole_that_stays_open_is_a_fault_and_the_member_joins_again(hall: StubHall, heard: Listener) -> None:
    async with heard.client(hall) as client:
        await client.live()
        await hall.add("lost on the way", shown=False)
        await hall.add("after it")
        assert await client.reached(2, 10)
    assert heard.seqs == [1, 2]
    assert hall.joins[-1]["since"]["seq"] == 0


async def test_a_gap_is_told_and_moves_the_position(hall: StubHall, heard: Listener) -> None:
    async with heard.client(hall) as client:
        await client.live()
        await hall.add("skipped", shown=False)
        await hall.show(await hall.add("from staff", shown=False), event="gap", start=1)
        assert await client.reached(2, 10)
    assert heard.seqs == [2]
    assert heard.gaps == [(1, 2)]


async def test_a_frame_of_another_log_makes_the_member_join_again(hall: StubHall, heard: Listener) -> None:
    async with heard.client(hall) as client:
        await client.live()
        other = {"log": "other", "epoch": 1, "from": 1, "to": 1, "entries": []}
        await hall.sio.emit("frame", other)
        await hall.until(lambda: len(hall.joins) == 2)
        await client.live()


async def test_moved_means_joining_there_with_the_given_ticket(hall: StubHall, heard: Listener) -> None:
    async with stub_hall() as target, heard.client(hall) as client:
        await client.live()
        await hall.add("before")
        assert await client.reached(1, 10)
        target.log = list(hall.log)
        target.epoch = 2
        moved = {"url": target.url, "path": "/socket.io/", "node": "stub-2", "epoch": 2, "ticket": "t", "after_ms": 20}
        await hall.sio.emit("moved", moved)
        await target.until(lambda: target.members)
        await target.add("after")
        assert await client.reached(2, 10)
        assert target.joins[0]["ticket"] == "t"
        assert target.joins[0]["since"]["seq"] == 1
    assert heard.seqs == [1, 2]
    assert len(hall.routes) == 1


async def test_history_is_read_in_pages(hall: StubHall, heard: Listener) -> None:
    for number in range(5):
        await hall.add(f"entry {number}", shown=False)
    async with heard.client(hall, tail=0) as client:
        await client.live()
        page = await client.history(after=1, limit=2)
        assert [entry.seq for entry in page.entries] == [2, 3]
        assert page.more
        assert client.position is not None
        assert client.position.seq == 5


# python-engineio never reads the answers of its POSTs, and aiohttp complains about each
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_long_polling_works_the_same(hall: StubHall) -> None:
    heard = Listener()
    async with heard.client(hall, transports=("polling",)) as client:
        await client.live()
        assert (await client.send("by polling")).seq == 1
        assert await client.reached(1, 10)
        await client.drop()
        await hall.until(lambda: len(hall.joins) == 2)
        await client.live()
    gc.collect()
    assert heard.seqs == [1]


async def test_a_hundred_members_leave_nothing_behind(hall: StubHall, options: dict[str, Any]) -> None:
    """No task, no socket and no HTTP session is left, after drops as well as after leaving in order."""
    before = asyncio.all_tasks()
    names = {id(task) for task in before}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        listeners = [Listener(**options) for _ in range(100)]
        clients = [listener.client(hall, f"u{n}") for n, listener in enumerate(listeners)]
        await asyncio.gather(*(client.__aenter__() for client in clients))
        await asyncio.gather(*(client.live(60) for client in clients))
        await asyncio.gather(*(client.drop() for client in clients[::2]))
        await hall.until(lambda: len(hall.joins) == 150)
        await asyncio.gather(*(client.live(60) for client in clients))
        await asyncio.gather(*(client.__aexit__(None, None, None) for client in clients))
        gc.collect()
    own = "loadtest", "/socketio/async_client", "/engineio/async_client", "aiohttp/client"
    left = [
        task
        for task in asyncio.all_tasks()
        if id(task) not in names and any(part in str(task.get_coro()) + str(task.get_stack()) for part in own)
    ]
    assert left == []
    import engineio.base_client

    assert engineio.base_client.connected_clients == []
