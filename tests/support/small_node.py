"""A node's host and lease without sockets: real parts over memory twins, on a loop whose clock jumps."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from director.contract.clock import FleetClock
from director.contract.ids import Incarnation, LogId, NodeName, RoomId
from director.contract.lease import LeaseTimings, NodeLease
from director.contract.ownership import Claimed, RoomRecord
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.ownership_memory import MemoryRoomOwners
from persistence.contract.messages import Author, Draft
from persistence.contract.store import Outcome
from persistence.store_memory import MemoryStore
from persistence.writer import BatchWriter
from shard_node.fanout.connection import Connection
from shard_node.fanout.lane import LaneQueue
from shard_node.fanout.members import Member
from shard_node.fanout.stock_connection import StockConnection
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom
from shard_node.lease_keeper import LeaseKeeper
from tests.support.entries import STUDENT

TIMINGS = LeaseTimings()


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
    ended: list[Connection] = field(default_factory=list)
    sids: "itertools.count[int]" = field(default_factory=itertools.count)

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

    async def outcome_of(self, hosted: HostedRoom, draft: Draft) -> Outcome | Exception:
        """Post a draft and wait for what becomes of it."""
        told: asyncio.Future[Outcome | Exception] = asyncio.get_running_loop().create_future()
        refused = self.host.post(hosted, draft, told.set_result)
        assert refused is None, refused
        return await told


@asynccontextmanager
async def small_node(
    name: str = "node-1", *, hall: MemoryHall | None = None, store: MemoryStore | None = None
) -> AsyncIterator[SmallNode]:
    """A node that has acquired its lease and keeps it; its writer runs."""
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
        end=lambda connection: node.ended.append(connection),
    )

    def new_incarnation() -> Incarnation:
        return Incarnation(f"{name}-i{next(incarnations)}")

    url = f"http://{name}"
    keeper = LeaseKeeper(
        NodeLease(NodeName(name), new_incarnation(), url, "/socket.io/", url, TIMINGS.fingerprint),
        leases=MemoryNodeLeases(hall),
        owners=owners,
        host=host,
        clock=FleetClock(),
        timings=TIMINGS,
        now=now,
        new_incarnation=new_incarnation,
    )
    node = SmallNode(NodeName(name), hall, store, host, keeper, writer, owners)
    await keeper.step()
    running = [asyncio.get_running_loop().create_task(run) for run in (writer.run(), keeper.run())]
    try:
        yield node
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
