"""director/fleet_feed: the picture follows the hall, through gaps and outages, over the hall in memory."""

import asyncio
from collections.abc import Callable

import structlog

from director.contract.clock import FleetClock
from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.lease import LeaseTimings, NodeState
from director.contract.orders import Cordon, OrderBook, Pin, Reserve
from director.contract.ownership import NodeChanged, Snapshot
from director.fleet_feed import POLL_EVERY, FleetFeed
from director.fleet_view import FleetView
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.orders_memory import MemoryOrders
from director.ownership_memory import MemoryRoomOwners
from tests.support.halls import lease_of
from tests.support.virtual_time import in_virtual_time

R = RoomId("math-101")
N1, I1 = NodeName("node-1"), Incarnation("i1")
LONG = 3_600.0


class OwnersWithADelay(MemoryRoomOwners):
    """Owners whose next snapshot is old when it arrives."""

    next_delay = 0.0

    async def snapshot(self) -> Snapshot:
        snapshot = await super().snapshot()
        delay, self.next_delay = self.next_delay, 0.0
        await asyncio.sleep(delay)
        return snapshot


class CountedOrders(MemoryOrders):
    """Orders that tell how often they were read; a read takes `delay` seconds."""

    reads, delay = 0, 0.0

    async def orders(self) -> OrderBook:
        self.reads += 1
        book = await super().orders()
        await asyncio.sleep(self.delay)
        return book


class Fixture:
    def __init__(
        self, owners: type[MemoryRoomOwners] = MemoryRoomOwners, on_death: Callable[[], None] = lambda: None
    ) -> None:
        self.now = asyncio.get_running_loop().time
        self.hall = MemoryHall(clock=self.now, server_clock=lambda: self.now() + 5_000)
        self.owners, self.leases = owners(self.hall), MemoryNodeLeases(self.hall)
        self.orders = CountedOrders(self.hall)
        self.view, self.clock = FleetView(), FleetClock()
        self.feed = FleetFeed(
            self.view,
            self.owners,
            self.leases,
            self.orders,
            self.clock,
            monotonic=self.now,
            timings=LeaseTimings(),
            on_death=on_death,
        )
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Fixture":
        await self.leases.acquire(lease_of(N1), expire=LONG)
        self._loops = [asyncio.create_task(self.feed.follow()), asyncio.create_task(self.feed.poll())]
        await asyncio.sleep(0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def claim(self, room: RoomId = R) -> None:
        await self.owners.claim(room, node=N1, incarnation=I1, replacing=None, why="ring")


@in_virtual_time
async def test_what_changes_is_known_at_once() -> None:
    async with Fixture() as fleet:
        assert fleet.view.is_loaded
        assert [lease.node for lease in fleet.view.leases()] == [N1]
        await fleet.claim()
        await asyncio.sleep(0.001)
        assert fleet.view.placement_of(R) is not None


@in_virtual_time
async def test_redis_time_is_known_from_the_reads_of_leases() -> None:
    async with Fixture() as fleet:
        assert abs(fleet.clock.now_ms(fleet.now()) - (fleet.now() + 5_000) * 1000) < 10


@in_virtual_time
async def test_a_notice_that_never_came_is_made_good_within_seconds() -> None:
    async with Fixture() as fleet:
        fleet.hall.is_mute = True
        await fleet.claim()
        fleet.hall.is_mute = False
        await asyncio.sleep(3 * POLL_EVERY)
        assert fleet.view.placement_of(R) is not None


@in_virtual_time
async def test_a_gap_is_made_good_at_once() -> None:
    async with Fixture() as fleet:
        fleet.hall.is_mute = True
        await fleet.claim()
        fleet.hall.is_mute = False
        await fleet.claim(RoomId("b"))
        await asyncio.sleep(0.001)
        assert fleet.view.placement_of(R) is not None
        assert fleet.view.placement_of(RoomId("b")) is not None


@in_virtual_time
async def test_an_outage_is_outlived_and_what_changed_meanwhile_is_read_after_it() -> None:
    async with Fixture() as fleet:
        await fleet.claim()
        fleet.hall.is_silent = True
        fleet.hall.interrupt()
        await asyncio.sleep(60)
        assert fleet.view.placement_of(R) is not None
        fleet.hall.is_silent = False
        await fleet.owners.release(R, node=N1, incarnation=I1, epoch=fleet.hall.rooms[R].epoch)
        await asyncio.sleep(2 * POLL_EVERY)
        assert fleet.view.placement_of(R) is None
        assert not fleet.view.needs_snapshot


@in_virtual_time
async def test_a_wiped_hall_is_read_anew() -> None:
    async with Fixture() as fleet:
        await fleet.claim()
        fleet.hall.wipe()
        await fleet.leases.acquire(lease_of("node-2"), expire=LONG)
        await asyncio.sleep(2 * POLL_EVERY)
        assert [lease.node for lease in fleet.view.leases()] == ["node-2"]
        assert fleet.view.record_of(R) is None


@in_virtual_time
async def test_a_node_that_lapses_is_missed_by_the_next_read() -> None:
    async with Fixture() as fleet:
        await fleet.leases.acquire(lease_of("node-2"), expire=2.5)
        await asyncio.sleep(2.0)
        assert len(fleet.view.leases()) == 2
        await asyncio.sleep(2.0)
        assert [lease.node for lease in fleet.view.leases()] == [N1]


@in_virtual_time
async def test_what_is_heard_while_a_snapshot_is_read_comes_on_top_of_it() -> None:
    """Both the notices and the reads of leases may ask for a snapshot: neither may undo the other's work."""
    async with Fixture(OwnersWithADelay) as fleet:
        assert isinstance(fleet.owners, OwnersWithADelay)
        fleet.owners.next_delay = 0.5
        fleet.view.needs_snapshot = True
        reading = asyncio.create_task(fleet.feed.poll_once())
        await asyncio.sleep(0.1)
        await fleet.claim()
        await reading
        await asyncio.sleep(0.1)
        assert fleet.view.placement_of(R) is not None
        assert not fleet.view.needs_snapshot


@in_virtual_time
async def test_a_node_with_other_timings_is_named_in_the_log_once() -> None:
    with structlog.testing.capture_logs() as logs:
        async with Fixture() as fleet:
            other = type(lease_of("x"))(NodeName("odd"), I1, "http://a", "/", "http://a", "00000000")
            fleet.hall.keep(other, expire=LONG)
            fleet.hall.publish(NodeChanged(fleet.hall.generation, fleet.hall.next_number(), other))
            await asyncio.sleep(5)
    warned = [entry for entry in logs if entry["event"] == "lease_timings_differ"]
    assert [(entry["node"], entry["theirs"]) for entry in warned] == [("odd", "00000000")]


@in_virtual_time
async def test_after_a_silence_longer_than_a_lease_the_director_gives_the_nodes_time() -> None:
    async with Fixture() as fleet:
        fleet.hall.is_silent = True
        await asyncio.sleep(5)
        fleet.hall.is_silent = False
        await asyncio.sleep(POLL_EVERY)
        assert fleet.view.settles_in(fleet.now()) == 0
        fleet.hall.is_silent = True
        await asyncio.sleep(8)
        fleet.hall.is_silent = False
        await asyncio.sleep(POLL_EVERY)
        assert 1.5 < fleet.view.settles_in(fleet.now()) <= 3
        await asyncio.sleep(3)
        assert fleet.view.settles_in(fleet.now()) == 0


@in_virtual_time
async def test_the_notice_of_a_death_is_passed_on() -> None:
    deaths: list[float] = []
    async with Fixture(on_death=lambda: deaths.append(1.0)) as fleet:
        await fleet.claim()
        await asyncio.sleep(0.001)
        assert deaths == []
        await fleet.leases.release(N1, I1)
        await asyncio.sleep(0.001)
    assert deaths == [1.0]


@in_virtual_time
async def test_data_that_went_back_in_the_same_generation_are_read_anew() -> None:
    """A server that will not say which run of it this is hides that it is another."""
    async with Fixture() as fleet:
        saved, generation = fleet.hall.save(), fleet.hall.generation
        await fleet.claim()
        await asyncio.sleep(2 * POLL_EVERY)
        assert fleet.view.record_of(R) is not None
        fleet.hall.fail_over(saved)
        fleet.hall.generation = generation
        fleet.hall.is_mute = True
        fleet.view.needs_snapshot = False
        await asyncio.sleep(2 * POLL_EVERY)
        assert fleet.view.record_of(R) is None


@in_virtual_time
async def test_orders_are_known_from_the_start_and_as_they_change() -> None:
    async with Fixture() as fleet:
        assert not fleet.view.needs_orders
        await fleet.orders.put(Cordon(N1))
        await asyncio.sleep(0.05)
        assert fleet.view.state_of(N1) is NodeState.CORDONED
        await fleet.orders.withdraw("cordon:node-1")
        await asyncio.sleep(0.05)
        assert fleet.view.state_of(N1) is NodeState.SERVING
        await asyncio.sleep(60)
    assert fleet.orders.reads == 3, "and not without need"


@in_virtual_time
async def test_many_orders_at_once_cost_few_reads() -> None:
    async with Fixture() as fleet:
        before, fleet.orders.delay = fleet.orders.reads, 0.01
        for i in range(500):
            await fleet.orders.put(Pin(RoomId(f"room-{i}"), N1))
        await asyncio.sleep(0.1)
        assert len(fleet.view.orders.orders) == 500
        assert fleet.orders.reads <= before + 2


@in_virtual_time
async def test_orders_whose_notice_was_lost_are_known_within_seconds() -> None:
    async with Fixture() as fleet:
        fleet.hall.is_mute = True
        await fleet.orders.put(Cordon(N1))
        await asyncio.sleep(3 * POLL_EVERY)
        assert fleet.view.state_of(N1) is NodeState.CORDONED


@in_virtual_time
async def test_orders_stand_while_redis_is_away_and_are_read_when_it_is_back() -> None:
    async with Fixture() as fleet:
        await fleet.orders.put(Cordon(N1))
        await asyncio.sleep(0.05)
        fleet.hall.is_silent = True
        fleet.hall.interrupt()
        await asyncio.sleep(30)
        assert fleet.view.state_of(N1) is NodeState.CORDONED
        fleet.hall.is_silent = False
        await fleet.orders.withdraw("cordon:node-1")
        await asyncio.sleep(2 * POLL_EVERY)
        assert fleet.view.state_of(N1) is NodeState.SERVING


@in_virtual_time
async def test_announced_lectures_begin_and_end_by_redis_time_also_while_it_is_away() -> None:
    async with Fixture() as fleet:
        at_ms = fleet.hall.server_at_ms + 15 * 60_000 + 10_000
        await fleet.orders.put(Reserve(R, 3_000, at_ms, 1))
        await asyncio.sleep(5)
        assert fleet.view.reserved == {}
        await asyncio.sleep(8)
        assert fleet.view.reserved == {R: 3_000}
        fleet.hall.is_silent = True
        await asyncio.sleep(15 * 60 + 40)
        assert fleet.view.reserved == {R: 3_000}
        await asyncio.sleep(30)
        assert fleet.view.reserved == {}
