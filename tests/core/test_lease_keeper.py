"""The node's lease, kept, over memory twins in virtual time."""

import asyncio

from director.contract.ids import RoomId
from director.leases_memory import MemoryNodeLeases
from persistence.contract.store import RoomState, StoreUnavailable
from persistence.store_memory import MemoryStore
from shard_node.core.lease_guard import DropRooms, Serve
from shard_node.ownership_watch import OwnershipWatch
from tests.support.small_node import TIMINGS, small_node
from tests.support.virtual_time import in_virtual_time

MATH = RoomId("math")


@in_virtual_time
async def test_a_kept_lease_lets_the_node_serve() -> None:
    async with small_node() as node:
        await asyncio.sleep(60.5)
        assert node.keeper.verdict() == Serve(may_open=True)
        assert len((await MemoryNodeLeases(node.hall).live_nodes()).nodes) == 1


@in_virtual_time
async def test_a_node_declared_dead_drops_its_rooms_and_comes_back_as_another() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        member, wire = node.add_member(hosted)
        former = node.keeper.lease.incarnation
        leases = MemoryNodeLeases(node.hall)
        assert await leases.declare_dead(node.name, former, why="test")
        await asyncio.sleep(2)
        assert len(node.host) == 0
        assert "LEASE_LOST" in wire.texts()[-1]
        assert node.ended == [member.connection]
        assert node.keeper.lease.incarnation == node.host.incarnation != former
        assert node.keeper.may_open()


@in_virtual_time
async def test_a_node_that_redis_forgot_asserts_its_rooms_and_nobody_notices() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        node.add_member(hosted)
        node.hall.wipe()
        await asyncio.sleep(2)
        record = await node.owners.room_record(MATH)
        assert record is not None
        assert (record.owner, record.epoch) == (node.name, hosted.room.epoch)
        assert node.host.room_of(MATH) is hosted
        assert node.ended == []


@in_virtual_time
async def test_while_redis_is_silent_live_rooms_go_on_by_the_stores_word_and_no_room_is_opened() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        node.hall.is_silent = True
        await asyncio.sleep(60)
        assert node.host.room_of(MATH) is hosted
        assert node.keeper.may_admit()
        assert not node.keeper.may_open()


class _SilentStore(MemoryStore):
    """A store whose rows cannot be read."""

    async def row_states(self, rooms: object) -> dict[RoomId, RoomState]:
        raise StoreUnavailable("cut off")


@in_virtual_time
async def test_with_redis_and_the_store_silent_the_rooms_are_dropped_before_the_lease_ends() -> None:
    async with small_node(store=_SilentStore()) as node:
        await node.opened(MATH)
        node.hall.is_silent = True
        await asyncio.sleep(TIMINGS.stop_accepting + TIMINGS.renew)
        assert not node.keeper.may_admit()
        assert node.host.room_of(MATH) is not None
        await asyncio.sleep(TIMINGS.drop_rooms - TIMINGS.stop_accepting)
        assert len(node.host) == 0
        assert isinstance(node.keeper.verdict(), DropRooms)


@in_virtual_time
async def test_a_node_woken_from_a_pause_admits_nobody_until_it_has_asked() -> None:
    async with small_node() as node:
        await node.opened(MATH)
        asyncio.get_running_loop().jump(30)  # type: ignore[attr-defined]
        assert not node.keeper.may_admit()


@in_virtual_time
async def test_a_released_lease_is_gone_at_once_and_not_taken_again() -> None:
    async with small_node() as node:
        await node.keeper.release()
        await node.keeper.step()
        assert not node.keeper.may_admit()
        assert not node.keeper.may_open()
        assert (await MemoryNodeLeases(node.hall).live_nodes()).nodes == []


@in_virtual_time
async def test_a_room_claimed_in_anothers_place_is_opened_on_notice() -> None:
    async with small_node("node-1") as one, small_node("node-2", hall=one.hall, store=one.store) as two:
        hosted = await one.opened(MATH)
        async with asyncio.TaskGroup() as tasks:
            watches = [
                tasks.create_task(OwnershipWatch(node.host, node.owners, tasks.create_task).run())  # type: ignore[arg-type]
                for node in (one, two)
            ]
            await asyncio.sleep(0.1)
            await MemoryNodeLeases(one.hall).declare_dead(one.name, one.host.incarnation, why="test")
            await two.claim(MATH, replacing=hosted.record)
            await asyncio.sleep(0.1)
            assert two.host.room_of(MATH) is not None, "before anybody joined"
            assert one.host.room_of(MATH) is None, "the former owner was told"
            for watch in watches:
                watch.cancel()


@in_virtual_time
async def test_a_node_that_missed_notices_looks_again() -> None:
    async with small_node("node-1") as one, small_node("node-2", hall=one.hall, store=one.store) as two:
        hosted = await one.opened(MATH)
        await MemoryNodeLeases(one.hall).declare_dead(one.name, one.host.incarnation, why="test")
        await two.claim(MATH, replacing=hosted.record)
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(OwnershipWatch(one.host, one.owners, tasks.create_task).run())  # type: ignore[arg-type]
            await asyncio.sleep(0.1)
            assert one.host.room_of(MATH) is None
            watch.cancel()
