"""A fleet over a hall in memory, in virtual time: nodes that hand rooms over as real ones do, directors that ask."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from director.contract.clock import FleetClock
from director.contract.errors import ControlPathUnavailable
from director.contract.ids import NodeName, RoomId
from director.contract.lease import LeaseTimings, NodeState
from director.contract.operations import Operation, OperationKind, OperationState
from director.contract.ownership import Claimed, RoomChanged, RoomRecord
from director.core.plan import Plan
from director.coroner import Coroner
from director.drains import Drains
from director.event_stream import EventStream
from director.failover_memory import MemoryVerdicts
from director.fleet_feed import FleetFeed
from director.fleet_view import FleetView
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.mover import Mover
from director.notes import Notes
from director.operation_run import Means
from director.operations_desk import OperationsDesk
from director.operations_memory import MemoryOperations
from director.orders_memory import MemoryOrders
from director.ownership_memory import MemoryRoomOwners
from director.planning import Planner
from director.probe import Alive, Verdict
from director.router import Router
from director.steward import Steward
from tests.support.halls import lease_of

TIMINGS = LeaseTimings()
UNIX_AT_ZERO = 1_700_000_000.0


class Witness:
    """A probe whose verdict a test sets."""

    def __init__(self) -> None:
        self.verdict: Verdict = Alive()

    async def verdict_on(self, lease: object) -> Verdict:
        return self.verdict


@dataclass(slots=True)
class Manner:
    """How a node goes about moves: spans in seconds, and what it fails at."""

    warms_in: float = 0.02
    hands_over_in: float = 0.1
    never_warms: bool = False
    never_hands_over: bool = False
    gives_up: bool = False


class SimulatedNode:
    """A node's part in moves. It renews its lease each second, and counts its rooms' members with it."""

    def __init__(self, hall: MemoryHall, name: str, *, joins_per_second: float = 1_000.0) -> None:
        self.lease = msgspec.structs.replace(lease_of(name), joins_per_second=joins_per_second)
        self.manner = Manner()
        self.members: dict[RoomId, int] = {}
        self._hall = hall
        self._owners = MemoryRoomOwners(hall)
        self._leases = MemoryNodeLeases(hall)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def name(self) -> NodeName:
        return self.lease.node

    @property
    def is_running(self) -> bool:
        return bool(self._tasks)

    async def start(self) -> None:
        await self._leases.acquire(self.lease, expire=TIMINGS.expire)
        self._tasks = [asyncio.create_task(self._renew()), asyncio.create_task(self._listen())]
        await asyncio.sleep(0.001)  # until it listens

    async def stop(self) -> None:
        """End without a word, as by kill -9."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def terminate(self) -> None:
        """Say that it wants to go, as on SIGTERM."""
        self.lease = msgspec.structs.replace(self.lease, state=NodeState.DRAINING)
        await self._leases.renew(self.lease, expire=TIMINGS.expire, members={})

    async def release(self) -> None:
        """End in good order."""
        await self.stop()
        await self._leases.release(self.name, self.lease.incarnation)

    async def open(self, room: str, *, members: int = 0) -> None:
        """Own a room with so many members."""
        self.members[RoomId(room)] = members
        answer = await self._owners.claim(
            RoomId(room), node=self.name, incarnation=self.lease.incarnation, replacing=None, why="ring"
        )
        assert isinstance(answer, Claimed)
        await self._leases.renew(self.lease, expire=TIMINGS.expire, members={RoomId(room): members})

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(TIMINGS.renew)
            owned = {room: count for room, count in self.members.items() if self._owns(room)}
            with suppress(ControlPathUnavailable):
                await self._leases.renew(self.lease, expire=TIMINGS.expire, members=owned)

    def _owns(self, room: RoomId) -> bool:
        record = self._hall.rooms.get(room)
        return record is not None and (record.owner, record.incarnation) == (self.name, self.lease.incarnation)

    async def _listen(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for notice in self._owners.notices():
                if isinstance(notice, RoomChanged):
                    tasks.create_task(self._see(notice.record))

    async def _see(self, record: RoomRecord) -> None:
        mine = (record.owner, record.incarnation) == (self.name, self.lease.incarnation)
        manner = self.manner
        with suppress(ControlPathUnavailable):
            if record.target == self.name and not record.is_warm and not manner.never_warms:
                await asyncio.sleep(manner.warms_in)
                await self._owners.note_warm(record)
            elif mine and record.target is not None and not record.is_warm and manner.gives_up:
                await self._owners.cancel_move(record)
            elif mine and record.is_warm and not manner.never_hands_over:
                await asyncio.sleep(manner.hands_over_in)
                await self._owners.hand_over(record)


class SimulatedDirector:
    """One director over the hall, with all that concerns operations; its loops run from the start."""

    def __init__(self, hall: MemoryHall, name: str = "director-1") -> None:
        clock = asyncio.get_running_loop().time
        self.name = name
        self.fleet_clock = FleetClock()
        self.owners, leases = MemoryRoomOwners(hall), MemoryNodeLeases(hall)
        self.orders, self.operations = MemoryOrders(hall), MemoryOperations(hall)
        self.verdicts = MemoryVerdicts(hall)
        self.view = FleetView()
        self.moves: Counter[str] = Counter()
        self.ended: list[tuple[OperationKind, OperationState]] = []

        def now_ms() -> int:
            return self.fleet_clock.now_ms(clock())

        self.notes = Notes(now_ms=now_ms)
        self.feed = FleetFeed(
            self.view,
            self.owners,
            leases,
            self.orders,
            self.fleet_clock,
            monotonic=clock,
            timings=TIMINGS,
            on_notice=lambda notice: self.notes.hear(notice) if self.fleet_clock.is_set else None,
        )
        coroner = Coroner(self.view, leases, self.verdicts, monotonic=clock)
        self.router = Router(self.view, self.owners, coroner, Witness(), self.feed, monotonic=clock)
        self.planner = Planner(self.view, now_ms=now_ms, compute=_at_once)
        means = Means(
            mover=Mover(self.view, self.owners, monotonic=clock),
            operations=self.operations,
            monotonic=clock,
            now_ms=now_ms,
            on_move=lambda outcome, seconds: self.moves.update([outcome]),
            on_end=lambda kind, state: self.ended.append((kind, state)),
        )
        chance: Iterator[int] = iter(range(1, 1_000))
        self.desk = OperationsDesk(means, random_bytes=lambda n: next(chance).to_bytes(n, "big"))
        self.drains = Drains(self.view, self.desk, self.operations, self.orders, self.planner)
        self.steward = Steward(
            self.view,
            self.router,
            coroner,
            self.verdicts,
            self.orders,
            name=name,
            monotonic=clock,
            on_step=self.drains.step,
        )
        self.events = EventStream(self.view, self.operations, self.notes, monotonic=clock, now_ms=now_ms)
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.feed.poll_once()
        loops = (self.feed.follow, self.feed.poll, self.steward.run, self.desk.run, self.events.run)
        self._loops = [asyncio.create_task(loop()) for loop in loops]
        await asyncio.sleep(0.001)  # until it listens
        await until(lambda: not (self.view.needs_snapshot or self.view.needs_orders))

    async def stop(self) -> None:
        """End in good order, as on SIGTERM."""
        await self._end_loops()
        await self.steward.resign()

    async def crash(self, hall: MemoryHall) -> None:
        """End without a word: nothing that it says at the end is heard."""
        hall.is_silent = True
        await self._end_loops()
        hall.is_silent = False

    async def _end_loops(self) -> None:
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


class SimulatedFleet:
    """Nodes and directors over one hall."""

    def __init__(self, *names: str) -> None:
        clock = asyncio.get_running_loop().time
        self.hall = MemoryHall(clock=clock, server_clock=lambda: UNIX_AT_ZERO + clock())
        self.nodes = {name: SimulatedNode(self.hall, name) for name in names}
        self.directors: list[SimulatedDirector] = []

    async def __aenter__(self) -> "SimulatedFleet":
        for node in self.nodes.values():
            await node.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for director in self.directors:
            await director.stop()
        for node in self.nodes.values():
            await node.stop()

    async def director(self, name: str = "director-1") -> SimulatedDirector:
        director = SimulatedDirector(self.hall, name)
        self.directors.append(director)
        await director.start()
        return director

    def owner_of(self, room: str) -> str:
        return self.hall.rooms[RoomId(room)].owner

    def rooms_of(self, node: str) -> set[str]:
        return {record.room for record in self.hall.rooms.values() if record.owner == node}

    def told(self, name: str) -> Operation:
        """An operation as it was told last."""
        return self.hall.operations[name].operation

    async def until(self, is_so: Callable[[], bool], *, within: float = 120.0) -> None:
        """Let time pass until it is so."""
        await until(is_so, within=within)

    async def ended(self, name: str, *, within: float = 120.0) -> Operation:
        """An operation's end."""
        await self.until(lambda: name in self.hall.operations and self.told(name).state.is_over, within=within)
        return self.told(name)


async def until(is_so: Callable[[], bool], *, within: float = 120.0) -> None:
    """Let virtual time pass until it is so."""
    async with asyncio.timeout(within):
        while not is_so():  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.01)


async def _at_once(plan: Callable[[], Plan]) -> Plan:
    return plan()
