"""A node's gateway after a pause: nobody is let in before the rooms' rows were read, and a crowd reads them once."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import RoomId
from director.contract.ticket import Ticket
from director.ticket_jwt import JwtTicketBook
from persistence.contract.store import RoomState, StoreUnavailable
from persistence.store_memory import MemoryStore
from shard_node.core.admission import Budgets
from shard_node.core.lag import LagProbe
from shard_node.doorkeeper import Admission
from shard_node.gateway import RoomGateway
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
        self._node, self._now, self._tickets = node, now, JwtTicketBook("k" * 32)
        self.lag = LagProbe(now())
        self._gateway = RoomGateway(
            host=node.host,
            history=node.store,
            tickets=self._tickets,
            clock=clock,
            now=now,
            may_admit=node.keeper.may_admit,
            is_stopping=lambda: False,
            lag=self.lag,
            budgets=Budgets(now()),
            spawn=lambda coroutine: coroutine.close(),
        )

    async def pause(self) -> None:
        """The process stood still for two seconds: a beat comes late."""
        self.lag.beat(self._now())
        await asyncio.sleep(2.0)
        self.lag.beat(self._now())
        assert self.lag.is_doubtful(self._now())

    async def knock(self) -> Admission | Refusal:
        hosted = self._node.host.room_of(MATH)
        assert hosted is not None
        ticket = Ticket(MATH, STUDENT.id, "Ann", STUDENT.role, self._node.name, hosted.room.epoch, 600_000)
        try:
            return await self._gateway.connecting({"v": 1, "ticket": self._tickets.sign(ticket), "since": None})
        except Refusal as refusal:
            return refusal


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
