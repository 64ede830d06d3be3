"""director/router: the map, the claims and the hints, over the hall in memory and in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.lease import LeaseTimings, NodeLease, NodeState
from director.contract.ownership import Claimed, Outrun, RoomRecord, Unfit
from director.core.ring import Ring
from director.coroner import Coroner
from director.failover_memory import MemoryVerdicts
from director.fleet_feed import FleetFeed
from director.fleet_view import FleetView, Placement
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.orders_memory import MemoryOrders
from director.ownership_memory import MemoryRoomOwners
from director.probe import Alive, Dead, Unclear, Verdict
from director.router import Router
from tests.support.halls import lease_of
from tests.support.virtual_time import in_virtual_time

R = RoomId("math-101")
N1, N2, N3 = NodeName("node-1"), NodeName("node-2"), NodeName("node-3")
I1 = Incarnation("i1")
EXPIRE = 6.0


@dataclass(slots=True)
class Witness:
    """A NodeProbe that says what the test has told it, and remembers whom it was asked about."""

    verdict: Verdict = field(default_factory=Alive)
    asked: list[NodeLease] = field(default_factory=list)

    async def verdict_on(self, lease: NodeLease) -> Verdict:
        self.asked.append(lease)
        await asyncio.sleep(0.2)
        return self.verdict


class Fixture:
    """A director over the hall in memory, and hands on that hall."""

    def __init__(self, owners: type[MemoryRoomOwners] = MemoryRoomOwners) -> None:
        clock = asyncio.get_running_loop().time
        self.hall = MemoryHall(clock=clock)
        self.owners, self.leases = owners(self.hall), MemoryNodeLeases(self.hall)
        self.view = FleetView()
        self.witness = Witness()
        self.claims: list[str] = []
        self.feed = FleetFeed(
            self.view,
            self.owners,
            self.leases,
            MemoryOrders(self.hall),
            FleetClock(),
            monotonic=clock,
            timings=LeaseTimings(),
        )
        self.verdicts = MemoryVerdicts(self.hall)
        self.deaths = 0
        self.coroner = Coroner(
            self.view,
            self.leases,
            self.verdicts,
            monotonic=clock,
            on_death=lambda: setattr(self, "deaths", self.deaths + 1),
        )
        self.router = Router(
            self.view,
            self.owners,
            self.coroner,
            self.witness,
            self.feed,
            monotonic=clock,
            on_claim=self.claims.append,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Fixture":
        for node in (N1, N2, N3):
            await self.leases.acquire(lease_of(node), expire=EXPIRE)
        self._tasks.append(asyncio.create_task(self.feed.follow()))
        await self.feed.poll_once()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_listening()

    async def stop_listening(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def renew_all_but(self, *silent: str, seconds: int = 8) -> None:
        """All others renew once a second, for longer than a lease lasts unless told otherwise, while the director reads
        the leases."""
        for _ in range(seconds):
            await asyncio.sleep(1.0)
            for held in list(self.hall.leases().values()):
                if held.lease.node not in silent:
                    await self.leases.renew(held.lease, expire=EXPIRE, members={})
            await self.feed.poll_once()


def in_the_fleet(test: Callable[[Fixture], Awaitable[None]]) -> Callable[[], None]:
    @in_virtual_time
    async def run() -> None:
        async with Fixture() as fleet:
            await test(fleet)

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


async def refused(placing: Awaitable[Placement]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await placing
    return caught.value


@in_the_fleet
async def test_a_new_room_is_claimed_once_and_then_known(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    fleet.hall.is_silent = True

    assert await fleet.router.route(R) == first
    assert first.record == fleet.hall.rooms[R]
    assert first.lease.node == first.record.owner
    assert fleet.claims == ["claimed"]


@in_the_fleet
async def test_another_director_s_claim_is_followed(fleet: Fixture) -> None:
    claimed = await fleet.owners.claim(R, node=N3, incarnation=I1, replacing=None, why="elsewhere")
    assert isinstance(claimed, Claimed)
    assert fleet.view.record_of(R) is None, "the notice is still under way"

    placement = await fleet.router.route(R)

    assert placement.record == claimed.record
    assert fleet.claims == ["outrun"]


@in_the_fleet
async def test_a_room_whose_owner_lapsed_goes_to_another_with_the_next_epoch(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    await fleet.renew_all_but(first.record.owner)

    second = await fleet.router.route(R)

    assert second.record.owner != first.record.owner
    assert second.record.epoch > first.record.epoch
    assert second.record.moves == 1
    assert fleet.witness.asked == []


@in_the_fleet
async def test_a_restarted_node_s_rooms_are_claimed_anew(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    reborn = lease_of(first.record.owner, "i2")
    await fleet.leases.acquire(reborn, expire=EXPIRE)
    await fleet.feed.poll_once()

    second = await fleet.router.route(R)

    assert (second.record.owner, second.record.incarnation) == (reborn.node, "i2")
    assert second.record.epoch > first.record.epoch


@in_the_fleet
async def test_hours_without_redis_move_no_room(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    fleet.hall.is_silent = True
    for _ in range(3):
        await asyncio.sleep(3_600)
        assert not await fleet.feed.poll_once()

    assert await fleet.router.route(R) == first
    fleet.witness.verdict = Alive()
    assert await fleet.router.route(R, failed=first.record.owner) == first


@in_the_fleet
async def test_a_new_room_without_redis_is_to_be_asked_for_again(fleet: Fixture) -> None:
    fleet.hall.is_silent = True

    refusal = await refused(fleet.router.route(R))

    assert refusal.code is ErrorCode.OWNER_UNCONFIRMED
    assert refusal.retry_after_ms > 0
    fleet.hall.is_silent = False
    assert (await fleet.router.route(R)).record.room == R


@in_the_fleet
async def test_without_a_serving_node_there_are_no_nodes(fleet: Fixture) -> None:
    for node in (N1, N2):
        await fleet.leases.release(node, I1)
    cordoned = lease_of(N3, state=NodeState.CORDONED)
    await fleet.leases.renew(cordoned, expire=EXPIRE, members={})
    await fleet.feed.poll_once()

    assert (await refused(fleet.router.route(R))).code is ErrorCode.NO_NODES


@in_virtual_time
async def test_before_the_first_snapshot_nothing_is_placed() -> None:
    fleet = Fixture()
    assert (await refused(fleet.router.route(R))).code is ErrorCode.OWNER_UNCONFIRMED


@in_the_fleet
async def test_a_node_that_left_unheard_is_passed_over(fleet: Fixture) -> None:
    """The picture may be a second old: a claim for a node that is gone is unfit, and the leases are read anew."""
    home = fleet.view.facts_of(R, None).order[0]
    await fleet.stop_listening()
    await fleet.leases.release(home, I1)

    placement = await fleet.router.route(R)

    assert placement.record.owner != home
    assert fleet.claims == ["unfit", "claimed"]


@in_the_fleet
async def test_an_owner_that_this_director_does_not_know_yet_is_looked_up(fleet: Fixture) -> None:
    newcomer = NodeName("node-9")
    fleet.hall.keep(lease_of(newcomer), expire=EXPIRE)
    claimed = await fleet.owners.claim(R, node=newcomer, incarnation=I1, replacing=None, why="elsewhere")
    assert isinstance(claimed, Claimed)

    placement = await fleet.router.route(R)

    assert placement.record == claimed.record
    assert placement.lease.node == newcomer


@in_the_fleet
async def test_a_hint_about_a_living_node_changes_nothing(fleet: Fixture) -> None:
    first = await fleet.router.route(R)

    assert await fleet.router.route(R, failed=first.record.owner) == first
    assert fleet.witness.asked == [first.lease]


@in_the_fleet
async def test_a_hint_about_another_node_than_the_owner_is_not_followed(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    other = next(node for node in (N1, N2, N3) if node != first.record.owner)
    fleet.witness.verdict = Dead("refused")

    assert await fleet.router.route(R, failed=other) == first
    assert fleet.witness.asked == []


@in_the_fleet
async def test_a_proven_death_moves_the_room_at_once(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    fleet.witness.verdict = Dead("refused")
    began = asyncio.get_running_loop().time()

    placements = await asyncio.gather(*(fleet.router.route(R, failed=first.record.owner) for _ in range(200)))

    assert len({placement.record.epoch for placement in placements}) == 1
    assert placements[0].record.owner != first.record.owner
    assert placements[0].record.epoch > first.record.epoch
    assert asyncio.get_running_loop().time() - began < 1.0
    assert first.record.owner not in fleet.hall.leases()
    assert fleet.claims == ["claimed", "claimed"]


async def rooms_of_one_node(fleet: Fixture, number: int) -> tuple[NodeName, list[RoomId]]:
    """A node, and so many rooms that it owns."""
    rooms: dict[NodeName, list[RoomId]] = {}
    for i in range(3 * number):
        placement = await fleet.router.route(RoomId(f"room-{i}"))
        rooms.setdefault(placement.record.owner, []).append(placement.record.room)
    victim = max(rooms, key=lambda node: len(rooms[node]))
    return victim, rooms[victim][:number]


@in_the_fleet
async def test_all_who_lost_a_node_with_its_rooms_cost_one_examination(fleet: Fixture) -> None:
    """Thousands ask within a quarter of a second: each looking for itself kept the director from all else."""
    victim, rooms = await rooms_of_one_node(fleet, 5)
    fleet.witness.verdict = Dead("refused")

    placements = await asyncio.gather(*(fleet.router.route(room, failed=victim) for room in rooms for _ in range(200)))

    assert [lease.node for lease in fleet.witness.asked] == [victim]
    assert fleet.deaths == 1
    assert victim not in {placement.record.owner for placement in placements}
    assert {placement.record.room for placement in placements} == set(rooms)
    assert len({(placement.record.room, placement.record.epoch) for placement in placements}) == len(rooms)


@in_the_fleet
async def test_all_who_ask_about_a_node_that_is_silent_are_told_so_by_one_examination(fleet: Fixture) -> None:
    victim, rooms = await rooms_of_one_node(fleet, 3)
    fleet.witness.verdict = Unclear("silent")

    refusals = await asyncio.gather(*(refused(fleet.router.route(room, failed=victim)) for room in rooms * 50))

    assert {refusal.code for refusal in refusals} == {ErrorCode.OWNER_UNCONFIRMED}
    assert len(fleet.witness.asked) == 1
    await asyncio.gather(*(refused(fleet.router.route(room, failed=victim)) for room in rooms))
    assert len(fleet.witness.asked) == 2, "whoever asks later is not put off with an old finding"


@in_the_fleet
async def test_an_examination_goes_on_when_the_one_who_asked_first_is_given_up(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    fleet.witness.verdict = Dead("refused")
    asking = [asyncio.create_task(fleet.router.route(R, failed=first.record.owner)) for _ in range(3)]
    await asyncio.sleep(0.1)
    asking[0].cancel()

    assert {(await task).record.owner for task in asking[1:]}.isdisjoint({first.record.owner})
    assert len(fleet.witness.asked) == 2


@in_the_fleet
async def test_a_room_is_known_unless_somebody_must_be_asked(fleet: Fixture) -> None:
    assert fleet.router.known(R) is None, "nobody has placed it"
    first = await fleet.router.route(R)
    owner = first.record.owner
    other = next(node for node in (N1, N2, N3) if node != owner)

    assert fleet.router.known(R) == first
    assert fleet.router.known(R, failed=other) == first
    assert fleet.router.known(R, failed=owner) is None, "the owner is to be probed"
    await fleet.renew_all_but(owner)
    assert fleet.router.known(R) is None, "the owner's lease has lapsed"
    moved = await fleet.router.route(R)
    assert moved.record.owner != owner
    assert fleet.router.known(R, failed=owner) == moved
    assert fleet.witness.asked == []


@in_the_fleet
async def test_a_death_is_believed_in_by_all_rooms_of_the_node(fleet: Fixture) -> None:
    rooms = [RoomId(f"room-{i}") for i in range(12)]
    before = {room: await fleet.router.route(room) for room in rooms}
    victim = before[rooms[0]].record.owner
    fleet.witness.verdict = Dead("refused")
    await fleet.router.route(rooms[0], failed=victim)

    for room, placement in before.items():
        now = await fleet.router.route(room)
        if placement.record.owner == victim:
            assert now.record.owner != victim
        else:
            assert now.record == placement.record


@in_the_fleet
async def test_silence_is_no_proof_until_the_lease_has_lapsed(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    fleet.witness.verdict = Unclear("silent")

    refusal = await refused(fleet.router.route(R, failed=first.record.owner))

    assert refusal.code is ErrorCode.OWNER_UNCONFIRMED
    assert refusal.retry_after_ms == 1_000, "it may answer any moment"
    await fleet.renew_all_but(first.record.owner, seconds=5)
    later = await refused(fleet.router.route(R, failed=first.record.owner))
    assert 300 <= later.retry_after_ms < 1_000, "its lease ends before that"
    assert await fleet.router.route(R) == first, "whoever gives no hint is sent there still"
    await fleet.renew_all_but(first.record.owner)
    assert (await fleet.router.route(R, failed=first.record.owner)).record.owner != first.record.owner


@in_the_fleet
async def test_a_death_that_cannot_be_written_down_moves_nothing(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    fleet.witness.verdict = Dead("refused")
    fleet.hall.is_silent = True

    refusal = await refused(fleet.router.route(R, failed=first.record.owner))

    assert refusal.code is ErrorCode.OWNER_UNCONFIRMED
    fleet.hall.is_silent = False
    assert await fleet.router.route(R) == first


class SlowOwners(MemoryRoomOwners):
    """Owners that take their time, as over a network: what is asked for meanwhile meets a decision under way."""

    async def claim(
        self, room: RoomId, *, node: NodeName, incarnation: Incarnation, replacing: RoomRecord | None, why: str
    ) -> Claimed | Outrun | Unfit:
        await asyncio.sleep(0.05)
        return await super().claim(room, node=node, incarnation=incarnation, replacing=replacing, why=why)


@in_virtual_time
async def test_many_that_ask_for_a_new_room_at_once_cost_one_claim() -> None:
    async with Fixture(SlowOwners) as fleet:
        placements = await asyncio.gather(*(fleet.router.route(R) for _ in range(500)))

    assert len({placement.record.epoch for placement in placements}) == 1
    assert fleet.claims == ["claimed"]


@in_virtual_time
async def test_rooms_placed_at_once_see_each_other_s_load() -> None:
    ring = Ring([N1, N2, N3])
    rooms = [room for i in range(200) if ring.order_of(room := RoomId(f"room-{i}"))[0] == N1][:30]
    async with Fixture(SlowOwners) as fleet:
        placements = await asyncio.gather(*(fleet.router.route(room) for room in rooms))

    by_node = [sum(p.record.owner == node for p in placements) for node in (N1, N2, N3)]
    assert max(by_node) <= 13, by_node


class RivalledOwners(MemoryRoomOwners):
    """Owners of a hall where a rival is always faster, and its node dies at once."""

    async def claim(
        self, room: RoomId, *, node: NodeName, incarnation: Incarnation, replacing: RoomRecord | None, why: str
    ) -> Claimed | Outrun | Unfit:
        rival = lease_of("node-8", f"i{self.hall.number}")
        self.hall.keep(rival, expire=EXPIRE)
        standing = self.hall.rooms.get(room)
        await super().claim(room, node=rival.node, incarnation=rival.incarnation, replacing=standing, why="rival")
        self.hall.bury(rival.node, rival.incarnation, why="died")
        return await super().claim(room, node=node, incarnation=incarnation, replacing=replacing, why=why)


@in_virtual_time
async def test_a_room_that_changes_hands_for_ever_is_given_up_for_now() -> None:
    """The caller is told to ask again, not kept waiting."""
    async with Fixture(RivalledOwners) as fleet:
        refusal = await refused(fleet.router.route(R))

    assert refusal.code is ErrorCode.OWNER_UNCONFIRMED
    assert fleet.claims == ["outrun"] * 4


@in_the_fleet
async def test_a_wiped_redis_is_learned_anew(fleet: Fixture) -> None:
    first = await fleet.router.route(R)
    fleet.hall.wipe()
    await fleet.leases.acquire(first.lease, expire=EXPIRE)
    await fleet.owners.assert_owned([first.record])
    await fleet.feed.poll_once()

    again = await fleet.router.route(R)

    assert (again.record.owner, again.record.epoch) == (first.record.owner, first.record.epoch)
    assert [lease.node for lease in fleet.view.leases()] == [first.record.owner]
