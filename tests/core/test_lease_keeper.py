"""The node's lease, kept, over memory twins in virtual time."""

import asyncio
from collections.abc import Sequence

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import RoomId
from director.contract.lease import Lost, NodeLease, Renewed
from director.contract.ownership import Claimed, Outrun, RoomRecord
from director.leases_memory import MemoryNodeLeases
from persistence.contract.store import RoomState, StoreUnavailable
from persistence.store_memory import MemoryStore
from shard_node.core.lease_guard import DropRooms, Serve
from shard_node.hosted_room import HostedRoom
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
async def test_a_lease_that_lapsed_while_redis_was_silent_is_taken_again_and_nobody_notices() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        node.add_member(hosted)
        incarnation, records = node.host.incarnation, dict(node.hall.rooms)
        node.hall.is_silent = True
        await asyncio.sleep(60)
        node.hall.is_silent = False
        await asyncio.sleep(2)
        assert node.host.incarnation == incarnation
        assert node.host.room_of(MATH) is hosted
        assert node.ended == []
        assert node.hall.rooms.keys() == records.keys()
        assert node.keeper.may_open()


@in_virtual_time
async def test_a_record_that_a_failover_forgot_is_asserted_though_the_lease_was_kept() -> None:
    async with small_node() as node:
        saved = node.hall.save()
        hosted = await node.opened(MATH)
        node.add_member(hosted)
        node.hall.fail_over(saved)
        await asyncio.sleep(2)
        record = await node.owners.room_record(MATH)
        assert record is not None
        assert (record.owner, record.epoch, record.members, record.peak) == (node.name, hosted.room.epoch, 1, 1)
        assert node.ended == []


@in_virtual_time
async def test_rooms_are_asserted_until_that_has_worked() -> None:
    """Redis may go again between the lease and the rooms."""
    async with small_node() as node:
        await node.opened(MATH)
        assert_owned, failures = node.owners.assert_owned, [1, 2, 3]

        async def fail_at_first(records: Sequence[RoomRecord]) -> Sequence[Claimed | Outrun]:
            if failures:
                failures.pop()
                raise ControlPathUnavailable("cut off")
            return await assert_owned(records)

        node.owners.assert_owned = fail_at_first  # type: ignore[method-assign]
        node.hall.wipe()
        await asyncio.sleep(6)
        assert failures == []
        assert await node.owners.room_record(MATH) is not None


@in_virtual_time
async def test_a_room_that_another_has_meanwhile_is_dropped_when_it_is_asserted() -> None:
    async with small_node("node-1") as one, small_node("node-2", hall=one.hall, store=one.store) as two:
        hosted = await one.opened(MATH)
        one.hall.wipe()
        await two.keeper.step()
        record = await two.claim(MATH)
        assert isinstance(await two.host.open(MATH, record), HostedRoom)
        assert (await two.owners.room_record(MATH)).epoch > hosted.room.epoch  # type: ignore[union-attr]
        await asyncio.sleep(2)
        assert one.host.room_of(MATH) is None
        assert two.host.room_of(MATH) is not None


@in_virtual_time
async def test_a_node_declared_dead_between_two_of_its_words_comes_back_as_another() -> None:
    """It was told that its lease had lapsed, and was dead when it asked for it again."""
    async with small_node() as node:
        hosted = await node.opened(MATH)
        former, leases = node.host.incarnation, node.keeper._leases
        acquire = leases.acquire

        async def too_late(lease: NodeLease, *, expire: float) -> Renewed | Lost:
            if lease.incarnation == former:
                await leases.declare_dead(node.name, former, why="refused")
            return await acquire(lease, expire=expire)

        leases.acquire = too_late  # type: ignore[method-assign]
        node.hall._leases.clear()
        await asyncio.sleep(3)
        assert node.host.room_of(MATH) is not hosted
        assert node.host.incarnation == node.keeper.lease.incarnation != former
        assert node.keeper.may_open()


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
            watches = [tasks.create_task(node.watch.run()) for node in (one, two)]
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
            watch = tasks.create_task(one.watch.run())
            await asyncio.sleep(0.1)
            assert one.host.room_of(MATH) is None
            watch.cancel()
