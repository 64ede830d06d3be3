"""A fleet in virtual time: real nodes over one hall and one store, and real members that go from one to the other.

Members are `loadtest.client.HallClient`, with a line that needs no network; the director is as much of one as they ask:
it names a room's owner, and gives the rooms of a node that has died to another one.
"""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.ids import NodeName, Role, RoomId, UserId
from director.contract.ownership import Asked, Claimed, RoomRecord
from director.contract.ticket import Ticket
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.ownership_memory import MemoryRoomOwners
from director.ticket_jwt import JwtTicketBook
from loadtest.client import HallClient
from loadtest.connection import NoAnswer
from loadtest.contract.history import HistoryEvent
from loadtest.contract.received import Bye, Frame, Joined, Moved, Route, refusal_of
from loadtest.core.history_check import HistoryCheck
from loadtest.core.way_back import Ended, Lost, SentAway
from loadtest.log_reading import StoreLogs
from loadtest.stay import Transport
from persistence.contract.store import RoomBatch, RoomState, StoreUnavailable
from persistence.store_memory import MemoryStore
from shard_node.contract.events import Position
from shard_node.core.admission import Budgets
from shard_node.core.lag import LagProbe
from shard_node.fanout.packets import Packet
from shard_node.gateway import RoomGateway
from shard_node.housekeeping import Housekeeping
from tests.support.small_node import TICKET_KEY, SmallNode, small_node
from tests.support.speaker import Speaker

MAX_CALL = 10.0


class SharedStore(MemoryStore):
    """One node's way to the store that all share: takes a moment, and may be cut, or commit no more."""

    def __init__(self, shared: MemoryStore) -> None:
        super().__init__()
        self._rooms = shared._rooms
        self.is_cut = False
        self.opens = True
        self.commits = asyncio.Event()
        self.commits.set()
        self.openings = 0

    async def _way(self) -> None:
        await asyncio.sleep(0.002)
        if self.is_cut:
            raise StoreUnavailable("cut")

    async def open_room(self, *args: Any, **kwargs: Any) -> Any:
        await self._way()
        self.openings += 1
        if not self.opens:
            raise StoreUnavailable("it can be read, and not written")
        return await super().open_room(*args, **kwargs)

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Any:
        await self._way()
        await self.commits.wait()
        return await super().append_batch(batches)

    async def row_states(self, rooms: Sequence[RoomId]) -> dict[RoomId, RoomState]:
        await self._way()
        return dict(await super().row_states(rooms))

    async def read_before(self, *args: Any, **kwargs: Any) -> Any:
        await self._way()
        return await super().read_before(*args, **kwargs)


@dataclass(slots=True, eq=False)
class Line:
    """A member's line to a node, and the node's connection to the member. What is written arrives a moment later, in
    order; `polling` members are written to as any."""

    fleet: "VirtualFleet"
    node: NodeName
    on_joined: Callable[[Joined], None]
    on_frame: Callable[[Frame, bool], None]
    on_moved: Callable[[Moved], None]
    ended: "asyncio.Future[Ended]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    sid: str = ""
    user: str = ""
    admission: Any = None
    in_flight: int = 0
    unsent: int = 0
    is_open: bool = False
    reads: bool = True
    moved: Moved | None = None
    _joined: asyncio.Event = field(default_factory=asyncio.Event)

    # the member's side

    async def join(self, route: Route, *, since: Position | None, tail: int, transports: Sequence[Transport]) -> None:
        gateway = self.fleet.gateways.get(self.node)
        await asyncio.sleep(0.001)
        if gateway is None:
            self.end(Lost(self.node, "not reached"))
            return
        auth = {"v": 1, "ticket": route.ticket, "since": msgspec.to_builtins(since), "tail": tail}
        try:
            self.admission = await gateway.connecting(auth)
        except Refusal as refusal:
            self._end_by(refusal_of(msgspec.to_builtins(refusal.shape)))
            return
        if self.ended.done() or self.node not in self.fleet.gateways:
            self.end(Lost(self.node, "not reached"))
            return
        self.user = self.admission.ticket.user
        self.sid, self.is_open = f"sid-{next(self.fleet.sids)}", True
        self.fleet.lines.add(self)
        gateway.connected(self)
        await asyncio.wait([asyncio.ensure_future(self._joined.wait()), self.ended], return_when="FIRST_COMPLETED")

    async def call(self, event: str, body: dict[str, Any]) -> Any:
        gateway = self.fleet.gateways.get(self.node)
        if self.ended.done() or gateway is None:
            raise NoAnswer
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        gateway.event(self, event, [body], lambda said: self._later(self._answer, answer, said))
        done, _ = await asyncio.wait([answer, self.ended], timeout=MAX_CALL, return_when="FIRST_COMPLETED")
        if answer not in done:
            raise NoAnswer
        return answer.result()

    def end(self, why: Ended) -> None:  # type: ignore[override]
        if not self.ended.done():
            self.ended.set_result(why)

    async def close(self) -> None:
        self.end(Lost(self.node, "left"))
        self._leave()

    def _answer(self, answer: "asyncio.Future[Any]", said: Any) -> None:
        if not answer.done():
            answer.set_result(msgspec.to_builtins(said))

    def _end_by(self, error: Any) -> None:
        self.end(SentAway(error))

    def _leave(self) -> None:
        if self.is_open:
            self.is_open = False
            self.fleet.lines.discard(self)
            gateway = self.fleet.gateways.get(self.node)
            if gateway is not None:
                gateway.disconnected(self)

    def _take(self, text: str) -> None:
        if self.ended.done():
            return
        name, body = json.loads(text)
        match name:
            case "joined":
                self.on_joined(msgspec.convert(body, Joined))
                self._joined.set()
            case "frame" | "gap":
                self.on_frame(msgspec.convert(body, Frame), name == "gap")
            case "moved":
                self.moved = msgspec.convert(body, Moved)
                self.fleet.moved.append((self, self.moved))
                self.on_moved(self.moved)
            case "bye":
                bye = msgspec.convert(body, Bye)
                self.fleet.byes.append(bye.code)
                code = ErrorCode(bye.code)
                self._end_by(
                    refusal_of(msgspec.to_builtins(Refusal(code, "", retry_after_ms=bye.retry_after_ms).shape))
                )
            case _:
                pass

    def _later(self, take: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_soon(take, *args)

    # the node's side

    def offer(self, packet: Packet) -> bool:
        if self.reads:
            self.write(packet)
        return self.reads

    def write(self, packet: Packet) -> None:
        if self.is_open:
            self._later(self._take, packet.stock.data[1:])

    def cut(self) -> None:
        self._leave()
        self.end(Lost(self.node, "cut"))

    def hang_up(self) -> None:
        """The node ends the connection in good order."""
        self._later(self.cut)


@dataclass(frozen=True, slots=True)
class _Answer:
    status_code: int
    content: bytes


@dataclass(slots=True)
class VirtualFleet:
    """Nodes by name, and what members were told."""

    hall: MemoryHall
    shared: MemoryStore
    check: HistoryCheck = field(default_factory=HistoryCheck)
    nodes: dict[NodeName, SmallNode] = field(default_factory=dict)
    stores: dict[NodeName, SharedStore] = field(default_factory=dict)
    gateways: dict[NodeName, RoomGateway] = field(default_factory=dict)
    lines: set[Line] = field(default_factory=set)
    moved: list[tuple[Line, Moved]] = field(default_factory=list)
    byes: list[str] = field(default_factory=list)
    sids: "itertools.count[int]" = field(default_factory=itertools.count)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def owners(self) -> MemoryRoomOwners:
        return MemoryRoomOwners(self.hall)

    def node(self, name: str) -> SmallNode:
        return self.nodes[NodeName(name)]

    def line(self, node: NodeName) -> Line:
        """A line for one who is no HallClient."""
        return Line(self, node, on_joined=lambda _: None, on_frame=lambda _, __: None, on_moved=lambda _: None)

    def client(self, room: RoomId, user: str, role: Role = Role.STUDENT) -> HallClient:
        """A member, who is in when it is entered."""
        return HallClient(
            "http://director",
            room,
            user=user,
            role=role,
            recorder=self,
            http=self,
            rng=random.Random(user),
            dial=lambda node, **callbacks: Line(self, node, **callbacks),
        )

    def record(self, event: HistoryEvent) -> None:
        self.check.record(event)

    # the director

    async def get(self, url: str, *, headers: dict[str, str]) -> _Answer:
        """`/route`."""
        asked = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        await asyncio.sleep(0.001)
        try:
            route = await self.route(RoomId(asked["room"]), user=asked["user"], role=Role(asked["role"]))
        except ControlPathUnavailable:
            unconfirmed = Refusal(ErrorCode.OWNER_UNCONFIRMED, "try again", retry_after_ms=500)
            return _Answer(503, msgspec.json.encode(unconfirmed.shape))
        return _Answer(200, msgspec.json.encode(route))

    async def route(self, room: RoomId, *, user: str = "ann", role: Role = Role.STUDENT) -> Route:
        """Where the room is, and a ticket."""
        record = self.hall.rooms.get(room)
        if record is None or record.owner not in self.gateways:
            record = await self.place(room, record)
        lease = self.nodes[record.owner].keeper.lease
        ticket = Ticket(room, UserId(user), user, role, record.owner, record.epoch, 2**52)
        signed = JwtTicketBook(TICKET_KEY).sign(ticket)
        return Route(room, record.owner, lease.url, lease.path, record.epoch, signed, 60_000)

    async def place(self, room: RoomId, record: RoomRecord | None) -> RoomRecord:
        """Give a room that nobody owns, or a dead one, to the first node that lives."""
        if record is not None:
            await MemoryNodeLeases(self.hall).declare_dead(record.owner, record.incarnation, why="refused")
        name = next(iter(self.gateways))
        answer = await self.owners.claim(
            room, node=name, incarnation=self.nodes[name].host.incarnation, replacing=record, why="test"
        )
        if not isinstance(answer, Claimed):
            raise ControlPathUnavailable(repr(answer))
        return answer.record

    async def ask_move(self, room: RoomId, to: str) -> RoomRecord:
        """What a director does to have a room moved."""
        target = self.node(to)
        answer = await self.owners.ask_move(
            self.hall.rooms[room], to=target.name, incarnation=target.host.incarnation, why="test"
        )
        assert isinstance(answer, Asked), answer
        return answer.record

    # faults

    async def kill(self, name: str) -> None:
        """The node's process ends without a word."""
        node = self.nodes[NodeName(name)]
        gateway = self.gateways.pop(node.name)
        node.kill()
        del gateway
        for line in [line for line in self.lines if line.node == node.name]:
            line.is_open = False
            self.lines.discard(line)
            line.end(Lost(node.name, "killed"))

    # what holds

    def owner_of(self, room: RoomId) -> str:
        return str(self.hall.rooms[room].owner)

    async def until(self, holds: Callable[[], bool], *, within: float = 60.0) -> None:
        """Wait for something to hold, in virtual time."""
        async with asyncio.timeout(within):
            while not holds():  # noqa: ASYNC110 (the clock jumps)
                await asyncio.sleep(0.005)

    async def verdict(self) -> list[str]:
        """What the history checker finds, with the store as it stands."""
        logs = StoreLogs(self.shared, self.shared)
        read = {room: await logs.read(room) for room in self.check.rooms}
        return [str(violation) for violation in self.check.judge(read).violations]


@asynccontextmanager
async def virtual_fleet(*names: str) -> AsyncIterator[VirtualFleet]:
    """Nodes that listen to notices, each with its own way to the one store."""
    now = asyncio.get_running_loop().time
    hall, shared = MemoryHall(clock=now), MemoryStore()
    fleet = VirtualFleet(hall, shared)
    async with AsyncExitStack() as stack:
        for name in names:
            store, lag = SharedStore(shared), LagProbe(now())
            node = await stack.enter_async_context(
                small_node(name, hall=hall, store=store, listens=True, end=lambda line: line.hang_up())
            )
            fleet.nodes[node.name], fleet.stores[node.name] = node, store
            fleet.gateways[node.name] = RoomGateway(
                host=node.host,
                history=store,
                tickets=JwtTicketBook(TICKET_KEY),
                clock=node.clock,
                now=now,
                may_admit=node.keeper.may_admit,
                is_stopping=lambda: False,
                lag=lag,
                budgets=Budgets(now()),
                spawn=node.spawn,
            )
            chores = Housekeeping(
                node.host, now=now, lag=lag, slowest_commit=lambda: 0.0, learn=lambda: None, linger=3_600.0
            )
            node.spawn(chores.run())
        await asyncio.sleep(0.01)
        yield fleet


@asynccontextmanager
async def class_of(
    fleet: VirtualFleet, room: RoomId, *, speakers: int = 3, listeners: int = 3, every: float = 0.01
) -> AsyncIterator[tuple[list[Speaker], list[HallClient]]]:
    """Members of a room, some of which talk for the length of the block. Afterwards everybody has everything, and the
    checker finds nothing."""
    loop = asyncio.get_running_loop()

    people = [fleet.client(room, f"s{n}", Role.LECTURER if n == 0 else Role.STUDENT) for n in range(speakers)]
    others = [fleet.client(room, f"l{n}") for n in range(listeners)]
    async with fleet.stack as stack:
        for member in (*people, *others):
            await stack.enter_async_context(member)
            await member.live(30)
        talking = [Speaker(member) for member in people]
        tasks = [loop.create_task(speaker.speak(every)) for speaker in talking]
        try:
            await fleet.until(lambda: all(len(speaker.acked) > 10 for speaker in talking))
            yield talking, others
            so_far = [len(speaker.acked) for speaker in talking]
            await fleet.until(
                lambda: all(len(it.acked) > 10 + n for it, n in zip(talking, so_far, strict=True)), within=120
            )
        finally:
            for speaker in talking:
                speaker.silent = True
            done, late = await asyncio.wait(tasks, timeout=60)
        assert not late
        for task in done:
            task.result()
        head = fleet.check.highest_ack(room)
        for member in (*people, *others):
            await member.live(60)
            assert await member.reached(head, 60), (member.user, member.position, head)
            member.finish()
    assert await fleet.verdict() == []
