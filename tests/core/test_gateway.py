"""A node's gateway: who is let in at once is who would be let in after waiting; and after a pause nobody is, before the
rooms' rows were read, once for a whole crowd."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pytest

from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Epoch, RoomId, Seq
from director.contract.ticket import Ticket
from director.ticket_jwt import JwtTicketBook
from persistence.contract.store import RoomState, StoreUnavailable
from persistence.store_memory import MemoryStore
from shard_node.core.admission import JOIN_BURST, RESUMES_PER_JOIN, Budgets
from shard_node.core.lag import LagProbe
from shard_node.doorkeeper import MAX_CONNECTIONS, Admission
from shard_node.fanout.members import Member
from shard_node.farewell import Farewell, NewHome
from shard_node.gateway import RoomGateway
from shard_node.hosted_room import HostedRoom
from tests.support.connections import FakeConnection
from tests.support.entries import STUDENT
from tests.support.small_node import SmallNode, small_node
from tests.support.virtual_time import in_virtual_time

MATH = RoomId("math")


class SlowRows(MemoryStore):
    """Takes a tenth of a second to say whose rooms these are, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.is_away = False

    async def row_states(self, rooms: Sequence[RoomId]) -> Mapping[RoomId, RoomState]:
        self.looks += 1
        await asyncio.sleep(0.1)
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().row_states(rooms)


class Door:
    """A node's gateway with its lag probe in the test's hand."""

    def __init__(self, node: SmallNode) -> None:
        now = asyncio.get_running_loop().time
        clock = FleetClock()
        clock.take(0, sent_at=now(), received_at=now())
        self.node, self.now, self._tickets = node, now, JwtTicketBook("k" * 32)
        self.lag = LagProbe(now())
        self.budgets = Budgets(now())
        self.may_admit = True
        self.is_stopping = False
        self._gateway = RoomGateway(
            host=node.host,
            history=node.store,
            tickets=self._tickets,
            clock=clock,
            now=now,
            may_admit=lambda: self.may_admit,
            is_stopping=lambda: self.is_stopping,
            lag=self.lag,
            budgets=self.budgets,
            spawn=lambda coroutine: coroutine.close(),
        )

    async def pause(self) -> None:
        """The process stood still for two seconds: a beat comes late."""
        self.lag.beat(self.now())
        await asyncio.sleep(2.0)
        self.lag.beat(self.now())
        assert self.lag.is_doubtful(self.now())

    @property
    def hosted(self) -> HostedRoom:
        hosted = self.node.host.room_of(MATH)
        assert hosted is not None
        return hosted

    def auth(self, **said: object) -> dict[str, object]:
        """What a client presents."""
        ticket = Ticket(MATH, STUDENT.id, "Ann", STUDENT.role, self.node.name, Epoch(1), 600_000)
        return {"v": 1, "ticket": self._tickets.sign(ticket), "since": None, **said}

    async def knock(self, auth: object = None) -> Admission | Refusal:
        try:
            return await self._gateway.connecting(auth or self.auth())
        except Refusal as refusal:
            return refusal

    def knock_at_once(self, auth: object) -> Admission | Refusal | None:
        try:
            return self._gateway.connecting_at_once(auth)
        except Refusal as refusal:
            return refusal

    @property
    def counts(self) -> tuple[Counter[str], int, int]:
        """Refusals by code, and how many the gates were asked for."""
        joins, resumes = self.budgets.joins, self.budgets.resumes
        asked = joins.admitted + joins.refused, resumes.admitted + resumes.refused
        return Counter(self.node.host.tally.unadmitted), *asked


# at once


def _nothing(door: Door) -> object:
    return door.auth()


def _comes_back(door: Door) -> object:
    return door.auth(since={"log": "another", "epoch": 99, "seq": 7})


def _has_no_ticket(door: Door) -> object:
    return {"v": 1}


def _is_for_another_room(door: Door) -> object:
    return door.auth(room="physics")


def _node_stops(door: Door) -> object:
    door.is_stopping = True
    return door.auth()


def _guard_refuses(door: Door) -> object:
    door.may_admit = False
    return door.auth()


def _many_join(door: Door) -> object:
    for _ in range(int(JOIN_BURST)):
        door.budgets.joins.ask(door.now())
    return door.auth()


def _many_come_back(door: Door) -> object:
    for _ in range(int(RESUMES_PER_JOIN * JOIN_BURST)):
        door.budgets.resumes.ask(door.now())
    return _comes_back(door)


def _is_here_by_many(door: Door) -> object:
    hosted = door.hosted
    for number in range(MAX_CONNECTIONS):
        door.node.host.add(hosted, Member(FakeConnection(str(number)), STUDENT, Seq(0)))
    return door.auth()


def _was_served_by_a_later_owner(door: Door) -> object:
    room = door.hosted.room
    return door.auth(since={"log": room.log, "epoch": room.epoch + 1, "seq": 0})


Before = Callable[[Door], object]


@in_virtual_time
@pytest.mark.parametrize(
    ("before", "code"),
    [
        (_nothing, None),
        (_comes_back, None),
        (_has_no_ticket, ErrorCode.TICKET_INVALID),
        (_is_for_another_room, ErrorCode.TICKET_INVALID),
        (_node_stops, ErrorCode.SHUTDOWN),
        (_guard_refuses, ErrorCode.OWNER_UNCONFIRMED),
        (_many_join, ErrorCode.BUSY),
        (_many_come_back, ErrorCode.BUSY),
        (_is_here_by_many, ErrorCode.RATE_LIMITED),
        (_was_served_by_a_later_owner, ErrorCode.NOT_OWNER),
    ],
)
async def test_who_is_let_in_or_refused_at_once_is_who_would_be_after_waiting(
    before: Before, code: ErrorCode | None
) -> None:
    """And it is counted once."""
    seen = list[tuple[Counter[str], int, int]]()
    for at_once in (True, False):
        async with small_node() as node:
            await node.opened(MATH)
            door = Door(node)
            auth = before(door)
            answer = door.knock_at_once(auth) if at_once else await door.knock(auth)
            assert answer is not None
            assert (answer.code if isinstance(answer, Refusal) else None) == code
            seen.append(door.counts)
    assert seen[0] == seen[1]
    assert sum(seen[0][0].values()) == (code is not None)


@in_virtual_time
@pytest.mark.parametrize("why", ["not open", "moved away", "doubtful"])
async def test_where_somebody_must_be_asked_nothing_is_answered_at_once_and_nothing_counted(why: str) -> None:
    async with small_node() as node:
        await node.claim(MATH)
        door = Door(node)
        if why != "not open":
            hosted = await node.host.open(MATH)
        if why == "moved away":
            home = NewHome(node.keeper.lease, Epoch(2))
            node.host.depart(hosted, Farewell(hosted, home, sign=lambda *_: "", end=lambda _: None, now=door.now))
        if why == "doubtful":
            await door.pause()
        assert door.knock_at_once(door.auth()) is None
        assert door.counts == (Counter(), 0, 0)
        answer = await door.knock()
        code = answer.code if isinstance(answer, Refusal) else None
        assert code == (ErrorCode.MOVED if why == "moved away" else None)
        assert door.counts == (Counter({code: 1} if code else {}), 1, 0)


# after a pause


@in_virtual_time
async def test_after_a_pause_a_crowd_is_let_in_by_one_look_at_the_rows() -> None:
    store = SlowRows()
    async with small_node(store=store) as node:
        await node.opened(MATH)
        door = Door(node)
        await door.pause()
        looks = store.looks
        answers = await asyncio.gather(*(door.knock() for _ in range(50)))
        assert all(isinstance(answer, Admission) for answer in answers), answers
        assert store.looks == looks + 1
        assert isinstance(await door.knock(), Admission)
        assert store.looks == looks + 1, "the doubt is settled"


@in_virtual_time
async def test_a_look_that_began_before_the_pause_settles_nothing() -> None:
    """Who waits for the first look may be let in by it; a pause in its midst asks for another one."""
    store = SlowRows()
    async with small_node(store=store) as node:
        await node.opened(MATH)
        door = Door(node)
        await door.pause()
        looks = store.looks
        first = asyncio.create_task(door.knock())
        await asyncio.sleep(0.05)
        door.lag.beat(asyncio.get_running_loop().time() + 2.0)  # it was asleep once more
        await first
        await door.knock()
        assert store.looks == looks + 2


@in_virtual_time
async def test_a_look_that_fails_is_told_to_all_who_wait_and_the_next_who_comes_looks_again() -> None:
    store = SlowRows()
    async with small_node(store=store) as node:
        await node.opened(MATH)
        door = Door(node)
        await door.pause()
        looks, store.is_away = store.looks, True
        answers = await asyncio.gather(*(door.knock() for _ in range(20)))
        assert {answer.code for answer in answers if isinstance(answer, Refusal)} == {ErrorCode.STORE_UNAVAILABLE}
        assert len([answer for answer in answers if isinstance(answer, Refusal)]) == 20
        assert store.looks == looks + 1
        store.is_away = False
        assert isinstance(await door.knock(), Admission)
        assert store.looks == looks + 2


@in_virtual_time
async def test_one_who_gives_up_waiting_leaves_the_look_to_the_others() -> None:
    store = SlowRows()
    async with small_node(store=store) as node:
        await node.opened(MATH)
        door = Door(node)
        await door.pause()
        looks = store.looks
        impatient, patient = asyncio.create_task(door.knock()), asyncio.create_task(door.knock())
        await asyncio.sleep(0.05)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert isinstance(await patient, Admission)
        assert store.looks == looks + 1
