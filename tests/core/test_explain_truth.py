"""director/explanation tells the truth: any sequence of claims, moves, deaths and orders, against a model of it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.orders import Capacity, Cordon, Drain, Order, Pin, Reserve
from director.contract.ownership import Asked, Claimed, Interrupted, Notice, RoomRecord
from director.explanation import explain
from director.fleet_view import FleetView
from director.leases_memory import MemoryNodeLeases
from director.memory_hall import MemoryHall
from director.orders_memory import MemoryOrders
from director.ownership_memory import MemoryRoomOwners
from tests.support.halls import lease_of

T = TypeVar("T")

EXPIRE = 6.0
NODES = [NodeName(name) for name in ("a", "b", "c")]
ROOMS = [RoomId(name) for name in ("math", "art", "law")]
WHYS = ["ring", "bounded", "pinned", "least_loaded"]

nodes, rooms, whys = st.sampled_from(NODES), st.sampled_from(ROOMS), st.sampled_from(WHYS)


@dataclass(frozen=True)
class ModelRoom:
    owner: NodeName
    incarnation: Incarnation
    epoch: int
    why: str
    members: int = 0
    peak: int = 0
    moves: int = 0
    target: NodeName | None = None
    target_why: str | None = None
    is_warm: bool = False


@dataclass
class ModelNode:
    """`lapses_at` is None for one that renews its lease."""

    incarnation: Incarnation
    state: NodeState = NodeState.SERVING
    lapses_at: float | None = None


@dataclass
class Model:
    rooms: dict[RoomId, ModelRoom] = field(default_factory=dict)
    past: dict[RoomId, list[tuple[NodeName | None, NodeName, int, str]]] = field(default_factory=dict)
    nodes: dict[NodeName, ModelNode] = field(default_factory=dict)
    cordoned: set[NodeName] = field(default_factory=set)
    drained: set[NodeName] = field(default_factory=set)
    pins: dict[RoomId, NodeName] = field(default_factory=dict)
    reserved: dict[RoomId, int] = field(default_factory=dict)
    epoch: int = 0

    def give(self, room: RoomId, owner: NodeName, incarnation: Incarnation, why: str) -> None:
        former = self.rooms.get(room)
        self.epoch += 1
        self.rooms[room] = ModelRoom(
            owner,
            incarnation,
            self.epoch,
            why,
            peak=former.peak if former else 0,
            moves=former.moves + 1 if former else 0,
        )
        self.past.setdefault(room, []).insert(0, (former.owner if former else None, owner, self.epoch, why))

    def is_live(self, node: NodeName, now: float) -> bool:
        known = self.nodes.get(node)
        return known is not None and (known.lapses_at is None or now < known.lapses_at)

    def owner_state(self, room: ModelRoom, now: float) -> str:
        known = self.nodes.get(room.owner)
        if known is None or known.incarnation != room.incarnation:
            return "dead"
        return self.state_of(room.owner).value if self.is_live(room.owner, now) else "lapsed"

    def state_of(self, node: NodeName) -> NodeState:
        states = {self.nodes[node].state}
        states |= {NodeState.CORDONED} if node in self.cordoned else set()
        states |= {NodeState.DRAINING} if node in self.drained else set()
        return max(states, key=[NodeState.SERVING, NodeState.CORDONED, NodeState.DRAINING].index)


def at_once(call: Coroutine[Any, Any, T]) -> T:
    """The answer of a memory twin, which waits for nothing."""
    try:
        call.send(None)
    except StopIteration as end:
        answer: T = end.value
        return answer
    raise AssertionError("a memory twin does not wait")


class Fleet(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.hall = MemoryHall(clock=lambda: self.now)
        self.owners, self.leases = MemoryRoomOwners(self.hall), MemoryNodeLeases(self.hall)
        self.orders = MemoryOrders(self.hall)
        self.view = FleetView()
        self.model = Model()
        self.starts = 0
        # as the feed listens; without a loop the queue is read by hand
        self.heard: asyncio.Queue[Notice | Interrupted] = asyncio.Queue()
        self.hall._listeners.add(self.heard)
        for node in NODES:
            self.start_a_node(node)
        for room, node in zip(ROOMS, NODES, strict=True):
            self.claim(room, node, "ring")

    # -- nodes

    @rule(node=nodes)
    def start_a_node(self, node: NodeName) -> None:
        """Also one that runs: a new incarnation takes its name."""
        self.starts += 1
        incarnation = Incarnation(f"i{self.starts}")
        at_once(self.leases.acquire(lease_of(node, incarnation), expire=EXPIRE))
        self.model.nodes[node] = ModelNode(incarnation)

    @rule(data=st.data(), seconds=st.sampled_from([0.5, 7.0]))
    @precondition(lambda self: self.renewing())
    def freeze_a_node(self, data: st.DataObject, seconds: float) -> None:
        self.model.nodes[data.draw(st.sampled_from(self.renewing()))].lapses_at = self.now + EXPIRE
        self.let_time_pass(seconds)

    @rule(data=st.data(), why=st.sampled_from(["refused", "released", "lapsed"]))
    @precondition(lambda self: self.model.nodes)
    def end_a_node(self, data: st.DataObject, why: str) -> None:
        node = data.draw(st.sampled_from(sorted(self.model.nodes)))
        known = self.model.nodes.pop(node)
        at_once(self.leases.declare_dead(node, known.incarnation, why=why))

    @rule(data=st.data())
    @precondition(lambda self: self.renewing())
    def let_a_node_want_to_go(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.renewing()))
        self.model.nodes[node].state = NodeState.DRAINING
        self._renew(node, {})

    def renewing(self) -> list[NodeName]:
        """The nodes that renew their leases."""
        return sorted(node for node, known in self.model.nodes.items() if known.lapses_at is None)

    @rule(seconds=st.sampled_from([0.5, 3.0, 7.0]))
    def let_time_pass(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.now += 0.5
            for node, known in self.model.nodes.items():
                if known.lapses_at is None:
                    self._renew(node, {})

    @rule(room=rooms, members=st.integers(0, 500))
    def count_members(self, room: RoomId, members: int) -> None:
        owned = self.model.rooms.get(room)
        if owned is None:
            return
        known = self.model.nodes.get(owned.owner)
        if known is not None and known.incarnation == owned.incarnation and known.lapses_at is None:
            self._renew(owned.owner, {room: members})
            self.model.rooms[room] = replace(owned, members=members, peak=max(owned.peak, members))

    def _renew(self, node: NodeName, members: dict[RoomId, int]) -> None:
        known = self.model.nodes[node]
        lease = lease_of(node, known.incarnation, state=known.state)
        at_once(self.leases.renew(lease, expire=EXPIRE, members=members))

    # -- rooms

    @rule(room=rooms, node=nodes, why=whys)
    def claim(self, room: RoomId, node: NodeName, why: str) -> None:
        """Refused where the owner is not dead, or the node is."""
        known, owned = self.model.nodes.get(node), self.model.rooms.get(room)
        incarnation = known.incarnation if known else Incarnation("nobody")
        replacing = at_once(self.owners.room_record(room))
        answer = at_once(self.owners.claim(room, node=node, incarnation=incarnation, replacing=replacing, why=why))
        may = self.model.is_live(node, self.now) and (
            owned is None or self.model.owner_state(owned, self.now) == "dead"
        )
        assert isinstance(answer, Claimed) is may
        if may:
            self.model.give(room, node, incarnation, why)

    @rule(data=st.data())
    @precondition(lambda self: len(self.model.rooms) > 1)
    def close(self, data: st.DataObject) -> None:
        room = data.draw(st.sampled_from(sorted(self.model.rooms)))
        owned = self.model.rooms.pop(room)
        at_once(self.owners.release(room, node=owned.owner, incarnation=owned.incarnation, epoch=Epoch(owned.epoch)))

    @rule(data=st.data())
    @precondition(lambda self: self.model.rooms and self.model.nodes)
    def ask_for_a_move(self, data: st.DataObject) -> None:
        room = data.draw(st.sampled_from(sorted(self.model.rooms)))
        to = data.draw(st.sampled_from(sorted(self.model.nodes)))
        owned, known = self.model.rooms[room], self.model.nodes[to]
        answer = at_once(self.owners.ask_move(self._record(room), to=to, incarnation=known.incarnation, why="ordered"))
        if owned.target is None and to != owned.owner and self.model.is_live(to, self.now):
            assert isinstance(answer, Asked)
            self.model.rooms[room] = replace(owned, target=to, target_why="ordered")

    @rule(data=st.data())
    @precondition(lambda self: self.model.rooms and self.model.nodes)
    def move(self, data: st.DataObject) -> None:
        """From its beginning to its end, if nothing stands in the way."""
        self.ask_for_a_move(data)
        for step in (self.warm, self.hand_over):
            if self.moving():
                step(data)

    @rule(data=st.data())
    @precondition(lambda self: self.moving())
    def warm(self, data: st.DataObject) -> None:
        room = data.draw(st.sampled_from(self.moving()))
        at_once(self.owners.note_warm(self._record(room)))
        self.model.rooms[room] = replace(self.model.rooms[room], is_warm=True)

    @rule(data=st.data())
    @precondition(lambda self: self.moving())
    def give_a_move_up(self, data: st.DataObject) -> None:
        room = data.draw(st.sampled_from(self.moving()))
        at_once(self.owners.cancel_move(self._record(room)))
        self.model.rooms[room] = replace(self.model.rooms[room], target=None, target_why=None, is_warm=False)

    def moving(self) -> list[RoomId]:
        """The rooms with a target."""
        return sorted(room for room, owned in self.model.rooms.items() if owned.target is not None)

    @rule(data=st.data())
    @precondition(lambda self: self.moving())
    def hand_over(self, data: st.DataObject) -> None:
        """To a target that may have died meanwhile, or is another incarnation by now."""
        room = data.draw(st.sampled_from(self.moving()))
        owned, record = self.model.rooms[room], self._record(room)
        assert owned.target is not None
        known = self.model.nodes.get(owned.target)
        answer = at_once(self.owners.hand_over(record))
        if (
            known is not None
            and known.incarnation == record.target_incarnation
            and self.model.is_live(owned.target, self.now)
        ):
            assert isinstance(answer, Claimed)
            self.model.give(room, owned.target, known.incarnation, "ordered")
        else:
            self.model.rooms[room] = replace(owned, target=None, target_why=None, is_warm=False)

    def handed_over(self) -> list[RoomId]:
        """The rooms whose last owner was given them by a move."""
        return sorted(room for room, owned in self.model.rooms.items() if owned.why == "ordered")

    @rule(data=st.data())
    @precondition(lambda self: self.handed_over() and self.model.nodes)
    def take_back(self, data: st.DataObject) -> None:
        room = data.draw(st.sampled_from(self.handed_over()))
        node = data.draw(st.sampled_from(sorted(self.model.nodes)))
        known = self.model.nodes[node]
        answer = at_once(self.owners.take_back(self._record(room), node=node, incarnation=known.incarnation))
        if self.model.is_live(node, self.now):
            assert isinstance(answer, Claimed)
            self.model.give(room, node, known.incarnation, "taken_back")

    def _record(self, room: RoomId) -> RoomRecord:
        record = at_once(self.owners.room_record(room))
        assert record is not None
        return record

    # -- orders

    @rule(node=nodes, kind=st.sampled_from(["cordon", "drain", "uncordon"]))
    def order_of_a_node(self, node: NodeName, kind: str) -> None:
        match kind:
            case "cordon":
                self._put(Cordon(node))
                self.model.cordoned.add(node)
            case "drain":
                self._put(Drain(node, "drain-1"))
                self.model.drained.add(node)
            case _:
                for key in (Cordon(node).key, Drain(node, "").key):
                    at_once(self.orders.withdraw(key))
                self.model.cordoned.discard(node)
                self.model.drained.discard(node)

    @rule(room=rooms, node=st.none() | nodes)
    def pin(self, room: RoomId, node: NodeName | None) -> None:
        if node is None:
            at_once(self.orders.withdraw(Pin(room, NodeName("")).key))
            self.model.pins.pop(room, None)
        else:
            self._put(Pin(room, node))
            self.model.pins[room] = node

    @rule(room=rooms, members=st.integers(1, 900))
    @precondition(lambda self: len(self.model.reserved) < len(ROOMS))
    def reserve(self, room: RoomId, members: int) -> None:
        self._put(Reserve(room, members, 0, 24 * 60))
        self.model.reserved[room] = members

    @rule(node=nodes, share=st.sampled_from([0.5, 2.0]))
    def say_a_capacity(self, node: NodeName, share: float) -> None:
        self._put(Capacity(node, share))

    def _put(self, order: Order) -> None:
        at_once(self.orders.put(order))

    # -- what is explained

    @invariant()
    def explanations_are_true(self) -> None:
        self._hear()
        for room in (*ROOMS, RoomId("never-seen")):
            told = explain(self.view, room, at_once(self.owners.past_moves(room)), now=self.now)
            owned = self.model.rooms.get(room)
            past = [(move.source, move.target, move.epoch, move.why) for move in told.past or ()]
            assert past == self.model.past.get(room, [])[:20]
            assert told.pinned == self.model.pins.get(room)
            assert told.reserved == self.model.reserved.get(room, 0)
            live = {node for node in self.model.nodes if self.model.is_live(node, self.now)}
            assert (set(told.ring), len(told.ring)) == (live, len(live))
            serving = {node for node in live if self.model.state_of(node) is NodeState.SERVING}
            if not serving:
                assert told.would_go_to is None
            else:
                assert told.would_go_to is not None
                assert told.would_go_to.node in serving
                is_pinned = told.pinned in serving
                assert (told.would_go_to.why == "pinned") is is_pinned
                assert not is_pinned or told.would_go_to.node == told.pinned
            if owned is None:
                assert (told.owner, told.owner_state, told.epoch, told.target) == (None, None, None, None)
                continue
            assert told.owner_state == self.model.owner_state(owned, self.now)
            assert told.owner_lives is (told.owner_state not in ("lapsed", "dead"))
            assert (told.lease_left_ms is not None) is told.owner_lives
            assert told.load == max(owned.members, owned.peak, told.reserved, 30)
            said = (told.owner, told.incarnation, told.epoch, told.why, told.members, told.peak, told.moves)
            assert said == (
                owned.owner,
                owned.incarnation,
                owned.epoch,
                owned.why,
                owned.members,
                owned.peak,
                owned.moves,
            )
            assert (told.target, told.target_why, told.is_warm) == (owned.target, owned.target_why, owned.is_warm)

    def _hear(self) -> None:
        """What the feed does: the notices in order, then a read of the leases, and what is needed."""
        view = self.view
        while not self.heard.empty():
            view.hear(self.heard.get_nowait(), now=self.now)
            self._read()
        view.read_leases(at_once(self.leases.live_nodes()), sent_at=self.now)
        view.note_time(self.hall.server_at_ms)
        self._read()

    def _read(self) -> None:
        if self.view.needs_snapshot:
            self.view.load(at_once(self.owners.snapshot()))
        if self.view.needs_orders:
            self.view.take_orders(at_once(self.orders.orders()))


Fleet.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestExplanationsAreTrue = Fleet.TestCase
