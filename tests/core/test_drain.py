"""A node that gives its rooms away before it ends, over memory twins in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from director.contract.ids import RoomId
from director.contract.lease import NodeState
from director.leases_memory import MemoryNodeLeases
from shard_node.drain import STALLED_AFTER, WAVE_AWAITED, Drain
from shard_node.farewell import STAY
from tests.support.small_node import SmallNode
from tests.support.virtual_fleet import VirtualFleet, class_of, virtual_fleet
from tests.support.virtual_time import in_virtual_time

MATH, ART = RoomId("math"), RoomId("art")
WITHIN = 25.0


def drain_of(node: SmallNode, *, within: float = WITHIN) -> Drain:
    return Drain(
        host=node.host,
        keeper=node.keeper,
        departures=node.departures,
        leases=MemoryNodeLeases(node.hall),
        within=within,
        now=asyncio.get_running_loop().time,
    )


async def steward(fleet: VirtualFleet, to: str) -> None:
    """Moves the rooms of draining nodes away, one after the other, for ever."""
    while True:
        await asyncio.sleep(0.3)
        live = await MemoryNodeLeases(fleet.hall).live_nodes()
        draining = {it.lease.node for it in live.nodes if it.lease.state is NodeState.DRAINING}
        for record in list(fleet.hall.rooms.values()):
            if record.owner in draining and record.target is None:
                await fleet.ask_move(record.room, to)
                break


async def drained(fleet: VirtualFleet, job: Callable[[], Coroutine[Any, Any, None]], *, within: float = WITHIN) -> str:
    """Drain node-1 while somebody does his job; why it was over."""
    working = asyncio.create_task(job())
    try:
        return await drain_of(fleet.node("node-1"), within=within).run()
    finally:
        working.cancel()


@in_virtual_time
async def test_a_node_is_empty_when_its_rooms_are_others_and_all_members_have_gone_there() -> None:
    async with virtual_fleet("node-1", "node-2") as fleet, class_of(fleet, MATH):
        await fleet.node("node-1").opened(ART)
        why = await drained(fleet, lambda: steward(fleet, "node-2"))
        assert why == "it is empty"
        assert {line.node for line in fleet.lines} == {"node-2"}
        assert len(fleet.lines) == 6
        assert fleet.byes == []
        assert (fleet.owner_of(MATH), fleet.owner_of(ART)) == ("node-2", "node-2")


@in_virtual_time
async def test_the_directors_are_told_at_once() -> None:
    async with virtual_fleet("node-1", "node-2") as fleet:
        await fleet.node("node-1").opened(MATH)
        draining = asyncio.create_task(drain_of(fleet.node("node-1")).run())
        await asyncio.sleep(0.01)
        live = await MemoryNodeLeases(fleet.hall).live_nodes()
        states = {it.lease.node: (it.lease.state, it.lease.joins_per_second) for it in live.nodes}
        assert states == {"node-1": (NodeState.DRAINING, 100.0), "node-2": (NodeState.SERVING, 100.0)}
        await draining


@in_virtual_time
async def test_nobody_waits_for_nothing() -> None:
    clock = asyncio.get_running_loop().time
    async with virtual_fleet("node-1", "node-2") as fleet:
        began_at = clock()
        assert await drain_of(fleet.node("node-1")).run() == "it is empty"
        assert clock() - began_at < 0.5
        await fleet.node("node-2").opened(MATH)
        assert await drain_of(fleet.node("node-2")).run() == "there is no other node", "the other one drains, too"
        assert clock() - began_at < 1.0


@in_virtual_time
@pytest.mark.parametrize("redis_is_silent", [False, True])
async def test_a_node_whose_rooms_nobody_moves_does_not_wait_for_long(redis_is_silent: bool) -> None:
    clock = asyncio.get_running_loop().time
    async with virtual_fleet("node-1", "node-2") as fleet:
        await fleet.node("node-1").opened(MATH)
        began_at = clock()
        fleet.hall.is_silent = redis_is_silent
        assert await drain_of(fleet.node("node-1")).run() == "nobody moves its rooms"
        assert STALLED_AFTER <= clock() - began_at < STALLED_AFTER + 0.5


@in_virtual_time
async def test_the_next_wave_is_waited_for_though_it_comes_late() -> None:
    """Two large lectures, one after the other at the budget's pace: the second was never moved."""
    async with virtual_fleet("node-1", "node-2") as fleet:
        for room in (MATH, ART):
            await fleet.node("node-1").opened(room)

        async def leisurely() -> None:
            await fleet.ask_move(MATH, "node-2")
            await asyncio.sleep(2 * STALLED_AFTER)
            await fleet.ask_move(ART, "node-2")

        assert await drained(fleet, leisurely) == "it is empty"
        assert (fleet.owner_of(MATH), fleet.owner_of(ART)) == ("node-2", "node-2")


@in_virtual_time
async def test_a_node_that_is_left_by_its_steward_waits_for_another_wave_and_no_longer() -> None:
    clock = asyncio.get_running_loop().time
    async with virtual_fleet("node-1", "node-2") as fleet:
        for room in (MATH, ART):
            await fleet.node("node-1").opened(room)

        async def gives_up() -> None:
            await asyncio.sleep(0.5)
            await fleet.ask_move(MATH, "node-2")

        began_at = clock()
        assert await drained(fleet, gives_up) == "nobody moves its rooms"
        assert WAVE_AWAITED <= clock() - began_at < WAVE_AWAITED + 2.0


@in_virtual_time
async def test_who_does_not_go_is_waited_for_as_long_as_it_may_take_and_no_longer() -> None:
    async with virtual_fleet("node-1", "node-2") as fleet, class_of(fleet, MATH):
        line = fleet.line(fleet.node("node-1").name)
        await line.join(await fleet.route(MATH, user="stays"), since=None, tail=0, transports=())
        assert await drained(fleet, lambda: steward(fleet, "node-2"), within=STAY / 2) == "its time is over"
        fleet.node("node-1").host.farewells.end()
        await asyncio.sleep(0.1)
        assert fleet.byes == ["MOVED"]
