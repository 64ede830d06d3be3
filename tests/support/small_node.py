"""A node's host and lease without sockets: real parts over memory twins, on a loop whose clock jumps."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from director.contract.clock import FleetClock
from director.contract.ids import Incarnation, LogId, NodeName, RoomId
from director.contract.lease import LeaseTimings, NodeLease
from director.contract.ownership import Claimed, RoomRecord
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.ownership_memory import MemoryRoomOwners
from director.ticket_jwt import JwtTicketBook
from persistence.contract.messages import Author, Draft
from persistence.contract.store import Outcome
from persistence.store_memory import MemoryStore
from persistence.writer import BatchWriter
from shard_node.arrivals import Arrivals
from shard_node.core.room import Disallowed
from shard_node.departures import Departures
from shard_node.fanout.connection import Connection
from shard_node.fanout.lane import LaneQueue
from shard_node.fanout.members import Member
from shard_node.fanout.stock_connection import StockConnection
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom
from shard_node.lease_keeper import LeaseKeeper
from shard_node.ownership_watch import OwnershipWatch
from tests.support.entries import STUDENT

TIMINGS = LeaseTimings()
JOINS_PER_SECOND = 100.0
TICKET_KEY = "k" * 32


@dataclass(slots=True)
class Wire:
    """What an Engine.IO socket is to a Connection: a queue that nobody reads."""

    queue: LaneQueue = field(default_factory=LaneQueue)
    closed: bool = False
    closing: bool = False
    upgraded: bool = True
    lane: None = None

    def texts(self) -> list[str]:
        """The packets written so far."""
        return [str(packet.data) for packet in self.queue._queue if packet is not None]  # type: ignore[attr-defined]


@dataclass(slots=True)
class SmallNode:
    """One node over shared memory twins."""

    name: NodeName
    hall: MemoryHall
    store: MemoryStore
    host: RoomHost
    keeper: LeaseKeeper
    writer: BatchWriter
    owners: MemoryRoomOwners
    clock: FleetClock
    departures: Departures
    watch: OwnershipWatch
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    running: set["asyncio.Task[None]"]
    ended: list[Connection] = field(default_factory=list)
    sids: "itertools.count[int]" = field(default_factory=itertools.count)

    def kill(self) -> None:
        """Let nothing of the node run any more."""
        for task in (*self.running, *self.host._openings._opening.values(), *self.host._openings._closing.values()):
            task.cancel()

    async def claim(self, room: str, *, replacing: RoomRecord | None = None) -> RoomRecord:
        """What a director does for a room that is to be this node's."""
        answer = await self.owners.claim(
            RoomId(room), node=self.name, incarnation=self.host.incarnation, replacing=replacing, why="test"
        )
        assert isinstance(answer, Claimed), answer
        return answer.record

    async def opened(self, room: str) -> HostedRoom:
        """A room that was claimed and opened."""
        await self.claim(room)
        return await self.host.open(RoomId(room))

    def add_member(self, hosted: HostedRoom, author: Author = STUDENT) -> tuple[Member, Wire]:
        """A member whose packets stay where they are written."""
        wire = Wire()
        member = Member(StockConnection(f"s{next(self.sids)}", wire), author, shown=hosted.room.head)
        self.host.add(hosted, member)
        return member, wire

    async def outcome_of(self, hosted: HostedRoom, draft: Draft) -> Outcome | Disallowed | Exception:
        """Post a draft and wait for what becomes of it."""
        told: asyncio.Future[Outcome | Disallowed | Exception] = asyncio.get_running_loop().create_future()
        refused = self.host.post(hosted, draft, told.set_result)
        assert refused is None, refused
        return await told


@asynccontextmanager
async def small_node(
    name: str = "node-1",
    *,
    hall: MemoryHall | None = None,
    store: MemoryStore | None = None,
    listens: bool = False,
    end: Callable[[Any], None] | None = None,
) -> AsyncIterator[SmallNode]:
    """A node that has acquired its lease and keeps it; its writer runs. If it `listens` it acts on notices, too.
    Connections that are ended are noted, unless `end` does something else with them."""
    now = asyncio.get_running_loop().time
    hall = hall or MemoryHall(clock=now)
    store = store or MemoryStore()
    owners = MemoryRoomOwners(hall)
    incarnations, logs = itertools.count(1), itertools.count(1)
    writer = BatchWriter(
        store,
        lambda settled: node.host.settled(settled),
        wall_ms=lambda: int(now() * 1000),
        now=now,
        pace_of=lambda room: node.host.pace_of(room),
    )
    host = RoomHost(
        node=NodeName(name),
        log=store,
        history=store,
        owners=owners,
        writer=writer,
        now=now,
        new_log=lambda: LogId(f"{name}-log-{next(logs)}"),
        may_open=lambda: node.keeper.may_open(),
        end=end or (lambda connection: node.ended.append(connection)),
    )

    def new_incarnation() -> Incarnation:
        return Incarnation(f"{name}-i{next(incarnations)}")

    def spawn(coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        running.add(task)
        task.add_done_callback(running.discard)

    running: set[asyncio.Task[None]] = set()
    clock, leases = FleetClock(), MemoryNodeLeases(hall)
    departures = Departures(
        host=host,
        owners=owners,
        log=store,
        leases=leases,
        tickets=JwtTicketBook(TICKET_KEY),
        clock=clock,
        now=now,
        spawn=spawn,
    )
    arrivals = Arrivals(host, owners, store, may_come=lambda: node.keeper.may_open(), spawn=spawn)
    watch = OwnershipWatch(host, owners, spawn, arrivals=arrivals, departures=departures)
    url = f"http://{name}"
    keeper = LeaseKeeper(
        NodeLease(NodeName(name), new_incarnation(), url, "/socket.io/", url, TIMINGS.fingerprint),
        leases=leases,
        owners=owners,
        host=host,
        clock=clock,
        timings=TIMINGS,
        now=now,
        new_incarnation=new_incarnation,
        joins_per_second=lambda: JOINS_PER_SECOND,
    )
    node = SmallNode(
        NodeName(name), hall, store, host, keeper, writer, owners, clock, departures, watch, spawn, running
    )
    await keeper.step()
    for run in (writer.run(), keeper.run(), watch.run()) if listens else (writer.run(), keeper.run()):
        spawn(run)
    try:
        yield node
    finally:
        tasks = list(running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
