"""director/steward and director/coroner: who died, and where the rooms of the dead go, step by step in virtual time."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest
import structlog

from director.contract.clock import FleetClock
from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.failover import Departed, HeldBack
from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.lease import Forgotten, LeaseTimings
from director.contract.ownership import Claimed, RoomRecord
from director.coroner import Coroner
from director.failover_memory import MemoryVerdicts
from director.fleet_feed import FleetFeed
from director.fleet_view import FleetView
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.orders_memory import MemoryOrders
from director.ownership_memory import MemoryRoomOwners
from director.probe import Dead
from director.router import Router
from director.steward import LOOK_EVERY, MAX_CLAIMS_AT_ONCE, Steward
from tests.core.test_router import Witness
from tests.support.halls import lease_of
from tests.support.virtual_time import in_virtual_time

I1, I2 = Incarnation("i1"), Incarnation("i2")
TIMINGS = LeaseTimings()
EXPIRE = TIMINGS.expire


class SlowOwners(MemoryRoomOwners):
    """Owners as over a network; they remember what was claimed, and how much was under way at most."""

    under_way = most_under_way = 0

    def __init__(self, hall: MemoryHall) -> None:
        super().__init__(hall)
        self.claimed: list[RoomId] = []

    async def claim(
        self, room: RoomId, *, node: NodeName, incarnation: Incarnation, replacing: RoomRecord | None, why: str
    ):  # type: ignore[no-untyped-def]
        self.claimed.append(room)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.01)
        self.under_way -= 1
        return await super().claim(room, node=node, incarnation=incarnation, replacing=replacing, why=why)


class Director:
    """One director over a hall in memory; its loops run only where a test says so."""

    def __init__(self, hall: MemoryHall, name: str = "director-1") -> None:
        clock = asyncio.get_running_loop().time
        self.owners, leases = SlowOwners(hall), MemoryNodeLeases(hall)
        self.view, self.witness, self.claims = FleetView(), Witness(), Counter[str]()
        self.findings: list[str] = []
        verdicts = MemoryVerdicts(hall)
        self.feed = FleetFeed(
            self.view,
            self.owners,
            leases,
            MemoryOrders(hall),
            FleetClock(),
            monotonic=clock,
            timings=TIMINGS,
            on_death=lambda: self.steward.wake(),
        )
        self.coroner = Coroner(
            self.view,
            leases,
            verdicts,
            monotonic=clock,
            on_death=lambda: self.steward.found_death(),
            on_finding=self.findings.append,
        )
        self.router = Router(
            self.view,
            self.owners,
            self.coroner,
            self.witness,
            self.feed,
            monotonic=clock,
            on_claim=lambda outcome: self.claims.update([outcome]),
        )
        self.steps: list[float] = []
        self.steward = Steward(
            self.view,
            self.router,
            self.coroner,
            verdicts,
            MemoryOrders(hall),
            name=name,
            monotonic=clock,
            on_step=self._note_step,
        )
        self._loops: list[asyncio.Task[None]] = []

    async def _note_step(self) -> None:
        self.steps.append(asyncio.get_running_loop().time())

    def run(self, *, steward: bool = True) -> None:
        loops = [self.feed.follow(), self.feed.poll(), *([self.steward.run()] if steward else [])]
        self._loops = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)


class Fleet:
    """Nodes over a hall in memory that renew their leases each second, and directors."""

    def __init__(self, *names: str, settle: float = 0.0) -> None:
        self.now = asyncio.get_running_loop().time
        self.hall = MemoryHall(clock=self.now, settle=settle)
        self.owners, self.leases = MemoryRoomOwners(self.hall), MemoryNodeLeases(self.hall)
        self.living = {NodeName(name): lease_of(name) for name in names}
        self.directors: list[Director] = []
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Fleet":
        for lease in self.living.values():
            await self.leases.acquire(lease, expire=EXPIRE)
        self._loops.append(asyncio.create_task(self._renew()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for director in self.directors:
            await director.stop()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def director(self, name: str = "director-1", *, steward: bool = True) -> Director:
        director = Director(self.hall, name)
        self.directors.append(director)
        director.run(steward=steward)
        await asyncio.sleep(0.1)
        return director

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(TIMINGS.renew)
            for lease in list(self.living.values()):
                with suppress(ControlPathUnavailable):
                    if isinstance(await self.leases.renew(lease, expire=EXPIRE, members={}), Forgotten):
                        await self.leases.acquire(lease, expire=EXPIRE)

    def crash(self, *names: str) -> None:
        for name in names:
            del self.living[NodeName(name)]

    async def own(self, node: str, *rooms: str) -> None:
        for room in rooms:
            answer = await self.owners.claim(
                RoomId(room), node=NodeName(node), incarnation=I1, replacing=None, why="test"
            )
            assert isinstance(answer, Claimed)

    def owners_of(self, *rooms: str) -> list[str]:
        return [self.hall.rooms[RoomId(room)].owner for room in rooms]


ROOMS = [f"room-{i}" for i in range(60)]


@in_virtual_time
async def test_all_rooms_of_a_node_that_lapsed_are_placed_before_anybody_asks() -> None:
    async with Fleet("a", "b", "c", "d") as fleet:
        await fleet.own("a", *ROOMS)
        director = await fleet.director()
        fleet.crash("a")
        await asyncio.sleep(EXPIRE + 2 * LOOK_EVERY + 1)

        heirs = Counter(fleet.owners_of(*ROOMS))
        assert "a" not in heirs
        assert max(heirs.values()) <= 26, "by bounded load, not all on the ring's next"
        assert director.claims == {"claimed": len(ROOMS)}
        assert director.owners.most_under_way == MAX_CLAIMS_AT_ONCE
        assert director.findings == ["departed"]
        assert director.view.orphans() == []


@in_virtual_time
async def test_the_largest_rooms_are_placed_first() -> None:
    async with Fleet("a", "b", "c") as fleet:
        await fleet.own("a", *ROOMS[:40])
        await fleet.leases.renew(lease_of("a"), expire=EXPIRE, members={RoomId("room-39"): 900, RoomId("room-7"): 300})
        director = await fleet.director()
        fleet.crash("a")
        await asyncio.sleep(EXPIRE + 3 * LOOK_EVERY)
        assert director.owners.claimed[:2] == ["room-39", "room-7"]


@in_virtual_time
async def test_a_death_that_a_client_reports_moves_the_rest_of_the_rooms_too() -> None:
    """Also where this director is not steward, and the steward is slow."""
    async with Fleet("a", "b", "c") as fleet:
        await fleet.own("a", *ROOMS)
        await MemoryVerdicts(fleet.hall).stand("slow", ttl=3_600)
        other = await fleet.director("other")
        fleet.crash("a")
        other.witness.verdict = Dead("refused")
        await other.router.route(RoomId("room-0"), failed=NodeName("a"))
        assert "a" in fleet.owners_of(*ROOMS)
        await asyncio.sleep(0.5)
        assert "a" not in fleet.owners_of(*ROOMS)
        assert other.findings == ["proven"]
        assert not other.steward.is_steward


@in_virtual_time
async def test_rooms_of_a_node_that_stopped_in_good_order_are_placed_at_once() -> None:
    async with Fleet("a", "b") as fleet:
        await fleet.own("a", *ROOMS)
        await fleet.director()
        fleet.crash("a")
        await fleet.leases.release(NodeName("a"), I1)
        await asyncio.sleep(0.5)
        assert set(fleet.owners_of(*ROOMS)) == {"b"}


@in_virtual_time
async def test_rooms_of_a_former_incarnation_are_placed_when_its_name_is_taken() -> None:
    async with Fleet("a") as fleet:
        await fleet.own("a", "room-0")
        await fleet.director()
        fleet.crash("a")
        fleet.living[NodeName("a")] = lease_of("a", "i2")
        await fleet.leases.acquire(lease_of("a", "i2"), expire=EXPIRE)
        await asyncio.sleep(0.5)
        assert fleet.hall.rooms[RoomId("room-0")].incarnation == "i2"


@in_virtual_time
async def test_a_director_that_starts_late_finds_the_rooms_of_the_dead_in_the_records() -> None:
    async with Fleet("a", "b", "c") as fleet:
        await fleet.own("a", "room-0")
        fleet.crash("a")
        await asyncio.sleep(EXPIRE + 1)
        await fleet.director()
        await asyncio.sleep(2 * LOOK_EVERY)
        assert fleet.owners_of("room-0") != ["a"]


@in_virtual_time
async def test_an_owner_that_nobody_knows_any_more_is_judged_as_one_that_lapsed() -> None:
    """As after a restore of records from long ago: no lease, no last words, no grave."""
    async with Fleet("b") as fleet:
        record = RoomRecord(RoomId("old"), NodeName("a"), I1, 4, "ring", 1)  # type: ignore[arg-type]
        await fleet.owners.assert_owned([record])
        director = await fleet.director()
        await asyncio.sleep(2 * LOOK_EVERY)
        assert fleet.owners_of("old") == ["b"]
        assert director.findings == ["departed"]


@in_virtual_time
async def test_when_most_nodes_lapse_at_once_the_rest_is_held_back_until_an_operator_says_so() -> None:
    nodes = [f"n{i}" for i in range(5)]
    async with Fleet(*nodes) as fleet:
        for node in nodes:
            await fleet.own(node, f"room-of-{node}")
        with structlog.testing.capture_logs() as logs:
            director = await fleet.director()
            fleet.crash(*nodes[1:])
            await asyncio.sleep(EXPIRE + 30)

            told = [entry for entry in logs if entry["event"] == "failover_held_back"]
            lost = [room for room in fleet.hall.rooms.values() if room.owner != "n0"]
            assert len(lost) == len(told) == 3, "one of five was declared dead; each of the others was told of once"
            kept = await director.router.route(lost[0].room)
            assert (kept.record, kept.has_lapsed) == (lost[0], True), "it may live, cut off from Redis"

            await MemoryVerdicts(fleet.hall).resume()
            await asyncio.sleep(2 * LOOK_EVERY)
            assert {room.owner for room in fleet.hall.rooms.values()} == {"n0"}


@in_virtual_time
async def test_held_back_is_over_when_a_minute_has_passed() -> None:
    async with Fleet("a", "b", "c") as fleet:
        await fleet.own("b", "room-b")
        await fleet.own("c", "room-c")
        await fleet.director()
        fleet.crash("b", "c")
        await asyncio.sleep(EXPIRE + 3)
        assert set(fleet.owners_of("room-b", "room-c")) > {"a"}
        await asyncio.sleep(61)
        assert set(fleet.owners_of("room-b", "room-c")) == {"a"}


@in_virtual_time
async def test_after_a_silence_of_redis_the_nodes_come_back_before_anybody_is_judged() -> None:
    """Its leases have all lapsed when it answers again; nobody was dead."""
    async with Fleet("a", "b", settle=TIMINGS.settle) as fleet:
        await asyncio.sleep(TIMINGS.settle)
        await fleet.own("a", *ROOMS)
        director = await fleet.director()
        fleet.hall.is_silent = True
        await asyncio.sleep(60)
        fleet.hall.is_silent = False
        renewing, fleet.living = fleet.living, {}  # and the nodes take their time
        await asyncio.sleep(2)
        assert (await director.router.route(RoomId("room-0"))).has_lapsed
        fleet.living = renewing
        await asyncio.sleep(20)
        assert set(fleet.owners_of(*ROOMS)) == {"a"}
        assert director.findings == []


@in_virtual_time
async def test_after_a_wipe_rooms_are_found_by_the_former_picture_until_their_owners_have_told() -> None:
    async with Fleet("a", "b", settle=TIMINGS.settle) as fleet:
        await asyncio.sleep(TIMINGS.settle)
        await fleet.own("a", *ROOMS)
        director = await fleet.director()
        records = list(fleet.hall.rooms.values())
        renewing, fleet.living = fleet.living, {}
        fleet.hall.wipe()
        await asyncio.sleep(1.5)
        fleet.living = renewing
        assert director.view.record_of(RoomId("room-0")) is None
        found = await director.router.route(RoomId("room-0"))
        assert (found.record.owner, found.has_lapsed) == ("a", True)
        with pytest.raises(Refusal) as unknown:
            await director.router.route(RoomId("never-seen"))
        assert unknown.value.code is ErrorCode.OWNER_UNCONFIRMED
        assert 0 < unknown.value.retry_after_ms <= 3_000

        await fleet.owners.assert_owned(records)
        await asyncio.sleep(TIMINGS.settle + 2)
        assert set(fleet.owners_of(*ROOMS)) == {"a"}
        assert (await director.router.route(RoomId("never-seen"))).record.epoch > len(ROOMS)
        assert director.claims == {"claimed": 1}


@in_virtual_time
async def test_a_new_owner_s_room_that_a_failover_forgot_is_told_again_and_not_given_away() -> None:
    """The promoted replica names the former, dead owner: only the settle time keeps the room with its new one."""
    async with Fleet("a", "b", "c", settle=TIMINGS.settle) as fleet:
        await asyncio.sleep(TIMINGS.settle)
        await fleet.own("a", "room")
        await fleet.director()
        fleet.crash("a")
        await fleet.leases.declare_dead(NodeName("a"), I1, why="refused")
        old = fleet.hall.save()
        await asyncio.sleep(1.5)
        record = fleet.hall.rooms[RoomId("room")]
        assert record.owner != "a"
        fleet.hall.fail_over(old)
        await asyncio.sleep(1.5)
        assert fleet.owners_of("room") == ["a"], "nobody claims in the settle time"
        await fleet.owners.assert_owned([record])
        await asyncio.sleep(10)
        assert fleet.hall.rooms[RoomId("room")].epoch == record.epoch
        assert fleet.owners_of("room") == [record.owner]


@in_virtual_time
async def test_another_director_is_steward_within_seconds_of_the_former_s_end() -> None:
    async with Fleet("a", "b") as fleet:
        one, two = await fleet.director("one"), await fleet.director("two")
        assert (one.steward.is_steward, two.steward.is_steward) == (True, False)
        await one.stop()
        await fleet.own("a", "room")
        fleet.crash("a")
        await asyncio.sleep(4.5)
        assert two.steward.is_steward
        await asyncio.sleep(EXPIRE)
        assert fleet.owners_of("room") == ["b"]


@in_virtual_time
async def test_a_steward_that_resigns_is_followed_at_the_next_look() -> None:
    async with Fleet("a") as fleet:
        one, two = await fleet.director("one"), await fleet.director("two")
        await one.stop()
        await one.steward.resign()
        assert not one.steward.is_steward
        await asyncio.sleep(LOOK_EVERY)
        assert two.steward.is_steward
        await one.steward.resign()
        assert (await fleet.director("three")).steward.is_steward is False


@in_virtual_time
async def test_a_steward_outlives_a_silent_redis_also_in_the_middle_of_its_work() -> None:
    async with Fleet("a", "b") as fleet:
        await fleet.own("a", *ROOMS)
        director = await fleet.director()
        fleet.crash("a")
        await fleet.leases.release(NodeName("a"), I1)
        await asyncio.sleep(0.005)
        fleet.hall.is_silent = True
        await asyncio.sleep(30)
        assert set(fleet.owners_of(*ROOMS)) == {"a"}
        assert not director.steward.is_steward
        await director.steward.resign()
        fleet.hall.is_silent = False
        await asyncio.sleep(TIMINGS.settle + 3)
        assert set(fleet.owners_of(*ROOMS)) == {"b"}


@in_virtual_time
async def test_without_a_node_to_take_them_rooms_wait_for_one() -> None:
    async with Fleet("a") as fleet:
        await fleet.own("a", *ROOMS)
        director = await fleet.director()
        fleet.crash("a")
        await asyncio.sleep(EXPIRE + 10)
        assert set(fleet.owners_of(*ROOMS)) == {"a"}
        assert director.claims == {}
        fleet.living[NodeName("b")] = lease_of("b")
        await fleet.leases.acquire(lease_of("b"), expire=EXPIRE)
        await asyncio.sleep(2 * LOOK_EVERY)
        assert set(fleet.owners_of(*ROOMS)) == {"b"}


@in_virtual_time
async def test_many_that_ask_about_a_lapsed_owner_cost_one_question() -> None:
    async with Fleet("a", "b", "c") as fleet:
        await fleet.own("a", *ROOMS)
        await fleet.own("b", "room-of-b")
        director = await fleet.director(steward=False)
        fleet.crash("a", "b")
        await asyncio.sleep(EXPIRE + 1)
        placed = await asyncio.gather(*(director.router.route(RoomId(room)) for room in ROOMS))
        assert "a" not in {placement.record.owner for placement in placed}
        for _ in range(50):
            assert (await director.router.route(RoomId("room-of-b"))).record.owner == "b"
        assert director.findings == ["departed", "heldback"]
        assert isinstance(await director.coroner.verdict_on(NodeName("a"), I1), Departed)
        assert isinstance(await director.coroner.verdict_on(NodeName("b"), I1), HeldBack)
