"""director/steward: announced rooms, orders that Redis forgot, and who is called at each step, in virtual time."""

import asyncio
from collections import Counter

from director.contract.ids import NodeName, RoomId
from director.contract.orders import Cordon, Drain, Pin, Reserve
from director.core.reservation import LEAD
from director.failover_memory import MemoryVerdicts
from director.orders_memory import MemoryOrders
from director.steward import LOOK_EVERY
from tests.core.test_steward import EXPIRE, I1, ROOMS, TIMINGS, Fleet
from tests.support.virtual_time import in_virtual_time

LECTURES = [RoomId(f"lecture-{i}") for i in range(8)]


def announced(fleet: Fleet, room: RoomId, members: int, *, in_: float, minutes: int = 90) -> Reserve:
    return Reserve(room, members, fleet.hall.server_at_ms + round(in_ * 1000), minutes)


@in_virtual_time
async def test_large_lectures_are_placed_apart_before_the_first_student_comes() -> None:
    async with Fleet("a", "b", "c", "d") as fleet:
        director, orders = await fleet.director(), MemoryOrders(fleet.hall)
        for room, members in zip(LECTURES, (3_000, 2_900, 2_800, 2_700, 40, 40, 40, 40), strict=True):
            await orders.put(announced(fleet, room, members, in_=LEAD + 30))
        await asyncio.sleep(25)
        assert fleet.hall.rooms == {}, "not before it is time"
        await asyncio.sleep(10)

        assert len(set(fleet.owners_of(*LECTURES[:4]))) == 4
        assert director.owners.claimed[:4] == LECTURES[:4], "the largest first"
        assert director.claims == {"claimed": len(LECTURES)}, "once"
        assert (await director.router.route(LECTURES[0])).record.owner == fleet.owners_of(LECTURES[0])[0]


@in_virtual_time
async def test_a_director_that_is_not_steward_places_nobody_s_lecture() -> None:
    async with Fleet("a") as fleet:
        await MemoryVerdicts(fleet.hall).stand("another", ttl=3_600)
        director = await fleet.director()
        await MemoryOrders(fleet.hall).put(announced(fleet, LECTURES[0], 100, in_=0))
        await asyncio.sleep(5)
        assert director.view.due_rooms() == (LECTURES[0],)
        assert fleet.hall.rooms == {}
        assert director.steps == []


@in_virtual_time
async def test_a_lecture_that_no_node_can_take_waits_for_one() -> None:
    async with Fleet("a") as fleet:
        orders = MemoryOrders(fleet.hall)
        await orders.put(Cordon(NodeName("a")))
        await orders.put(announced(fleet, LECTURES[0], 100, in_=0))
        director = await fleet.director()
        await asyncio.sleep(5)
        assert fleet.hall.rooms == {}
        assert director.claims == {}
        await orders.withdraw("cordon:a")
        await asyncio.sleep(2 * LOOK_EVERY)
        assert fleet.owners_of(LECTURES[0]) == ["a"]


@in_virtual_time
async def test_announcements_of_lectures_that_are_over_are_taken_back() -> None:
    async with Fleet("a") as fleet:
        orders = MemoryOrders(fleet.hall)
        await orders.put(announced(fleet, LECTURES[0], 100, in_=0, minutes=1))
        await orders.put(announced(fleet, LECTURES[1], 100, in_=0, minutes=60))
        await orders.put(Pin(LECTURES[0], NodeName("a")))
        await fleet.director()
        await asyncio.sleep(58)
        assert len(fleet.hall.orders) == 3
        await asyncio.sleep(5)
        assert [type(order) for order in fleet.hall.orders.values()] == [Reserve, Pin]


@in_virtual_time
async def test_rooms_of_the_dead_go_to_no_node_that_operators_have_closed() -> None:
    async with Fleet("a", "b", "c", "d") as fleet:
        await fleet.own("a", *ROOMS)
        orders = MemoryOrders(fleet.hall)
        await orders.put(Cordon(NodeName("b")))
        await orders.put(Drain(NodeName("c"), "op"))
        await orders.put(Pin(RoomId("room-7"), NodeName("b")))
        await fleet.director()
        fleet.crash("a")
        await asyncio.sleep(EXPIRE + 2 * LOOK_EVERY + 1)
        assert Counter(fleet.owners_of(*ROOMS)) == {"d": len(ROOMS)}


@in_virtual_time
async def test_orders_that_redis_lost_are_restored_before_anything_is_claimed() -> None:
    async with Fleet("a", "b", settle=TIMINGS.settle) as fleet:
        await asyncio.sleep(TIMINGS.settle)
        orders = MemoryOrders(fleet.hall)
        given = [Cordon(NodeName("a")), Pin(RoomId("room-1"), NodeName("b"))]
        for order in given:
            await orders.put(order)
        one, two = await fleet.director("one"), await fleet.director("two")
        await asyncio.sleep(1)

        fleet.hall.wipe()
        await asyncio.sleep(TIMINGS.settle - 0.5)

        assert list(fleet.hall.orders.values()) == given
        await asyncio.sleep(3)
        for director in (one, two):
            assert list(director.view.orders.orders.values()) == given
            assert list(director.view.forgotten_orders) == []
            assert director.view.orders.generation == fleet.hall.generation


@in_virtual_time
async def test_orders_that_were_taken_back_stay_so_through_a_restart_of_redis() -> None:
    async with Fleet("a") as fleet:
        orders = MemoryOrders(fleet.hall)
        await orders.put(Cordon(NodeName("a")))
        director = await fleet.director()
        await orders.withdraw("cordon:a")
        fleet.hall.fail_over(fleet.hall.save())
        await asyncio.sleep(10)
        assert fleet.hall.orders == {}
        assert director.view.orders.orders == {}


@in_virtual_time
async def test_what_an_operator_orders_in_a_redis_that_lost_all_is_what_stands() -> None:
    async with Fleet("a", "b") as fleet:
        orders = MemoryOrders(fleet.hall)
        await orders.put(Cordon(NodeName("a")))
        director = await fleet.director()
        fleet.hall.wipe()
        await orders.put(Cordon(NodeName("b")))
        await asyncio.sleep(10)
        assert list(fleet.hall.orders) == list(director.view.orders.orders) == ["cordon:b"]


@in_virtual_time
async def test_at_each_step_of_the_steward_that_knows_the_fleet_its_guest_is_called() -> None:
    async with Fleet("a", settle=TIMINGS.settle) as fleet:
        one, two = await fleet.director("one"), await fleet.director("two")
        began_at = fleet.now()
        await asyncio.sleep(10)
        assert two.steps == []
        assert 6 <= len(one.steps) <= 9
        assert one.steps[0] - began_at >= TIMINGS.settle - 1, "nothing is done in the settle time"

        fleet.hall.is_silent = True
        await asyncio.sleep(2)
        before = len(one.steps)
        await asyncio.sleep(20)
        assert len(one.steps) == before
        fleet.hall.is_silent = False
        await asyncio.sleep(TIMINGS.settle + 5)
        assert len(one.steps) + len(two.steps) > before


@in_virtual_time
async def test_a_stewardship_outlives_a_redis_that_falls_silent_at_its_announcements() -> None:
    async with Fleet("a") as fleet:
        await MemoryOrders(fleet.hall).put(announced(fleet, LECTURES[0], 100, in_=0, minutes=1))
        director = await fleet.director(steward=False)
        await asyncio.sleep(61.5)
        director.steward.is_steward = True
        fleet.hall.is_silent = True
        await director.steward.step()
        assert not director.steward.is_steward
        fleet.hall.is_silent = False
        await asyncio.sleep(TIMINGS.settle + 1)
        await director.steward.step()
        assert director.steward.is_steward
        assert fleet.hall.orders == {}
        assert fleet.hall.known[NodeName("a")].incarnation == I1
