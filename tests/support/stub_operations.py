"""StubOperations: a director of a made-up fleet for the operations page, over real HTTP: any size, and told what to do.

It answers the admin interface as the page uses it, out of the same structs as the director's, and streams a picture
each second. Nothing in it is a decision: plans and explanations are made up.
"""

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from time import time
from typing import Any

import msgspec
import uvicorn
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from director.answers import answer_errors, json_answer
from director.contract.admin import (
    Explanation,
    FleetPicture,
    MoveUnderWay,
    NodeAnswer,
    NodeOrdered,
    Note,
    PinAnswer,
    PlanAnswer,
    Preference,
    RoomArea,
    SessionAnswer,
    Started,
)
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.operations import (
    MoveState,
    NodeBeforeAfter,
    Operation,
    OperationKind,
    OperationPlan,
    OperationState,
    PlannedMove,
)
from director.contract.ownership import PastMove
from director.core.placement import room_load
from director.core.ring import Ring
from director.pages import pages

TOKEN = "stub-operators-token"
_SUBJECTS = [
    "algebra analysis topology geometry logic statistics mechanics optics thermodynamics astronomy genetics botany",
    "ecology chemistry polymers history linguistics rhetoric poetics ethics aesthetics economics finance law",
    "sociology anthropology psychology anatomy neurology pharmacy nursing compilers networks databases graphics",
    "security robotics circuits signals materials surveying acoustics harmony counterpoint drawing sculpture film",
]
SUBJECTS = " ".join(_SUBJECTS).split()


def now_ms() -> int:
    return round(time() * 1000)


class StubOperations:
    """The made-up fleet. `asked` are (method, path, body) of what was ordered, in order; while `is_mute` the streams
    stay open and tell nothing."""

    def __init__(self, *, nodes: int, rooms: int, seed: int = 7, most: int = 900) -> None:
        self.rng = random.Random(seed)
        self.names = [NodeName(f"node-{number}") for number in range(1, nodes + 1)]
        self.states = dict.fromkeys(self.names, NodeState.SERVING)
        self.lapsed: set[NodeName] = set()
        self.doubted: set[NodeName] = set()
        self.pins: dict[RoomId, NodeName] = {}
        self.rooms: dict[RoomId, list[Any]] = {}
        self.moving: dict[RoomId, MoveUnderWay] = {}
        self.operations: dict[str, Operation] = {}
        self.notes: list[Note] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.refuse_next: Refusal | None = None
        self.is_cut = False
        self.is_mute = False
        self.port = 0
        self._streams: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        ring = Ring(self.names)
        loads = dict.fromkeys(self.names, 0)
        for rank in range(1, rooms + 1):
            subject = SUBJECTS[(rank - 1) % len(SUBJECTS)]
            room = RoomId(f"{subject}-{101 + 100 * ((rank // len(SUBJECTS)) % 4) + rank // (4 * len(SUBJECTS))}")
            members = max(1, int(most / rank**0.75 * self.rng.uniform(0.85, 1.15)))
            peak = int(members * self.rng.uniform(1.0, 1.35))
            load = room_load(members=members, peak=peak)
            mean = (sum(loads.values()) + load) / nodes
            order = ring.order_of(room)
            owner = next((node for node in order if loads[node] + load <= max(1.25 * mean, load)), order[0])
            loads[owner] += load
            self.rooms[room] = [owner, members, load]

    # -- what the page is told

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def picture(self) -> FleetPicture:
        on: dict[NodeName, list[list[Any]]] = {name: [] for name in self.names}
        for facts in self.rooms.values():
            on[facts[0]].append(facts)
        loads = {name: sum(facts[2] for facts in all_of) for name, all_of in on.items()}
        is_open = [name for name in self.names if self.states[name] is NodeState.SERVING and name not in self.lapsed]
        counted = sum(loads[name] for name in self.names if self.states[name] is not NodeState.CORDONED)
        limit = int(1.25 * counted / max(1, len(is_open)))
        nodes = tuple(
            NodeAnswer(
                node=name,
                incarnation=Incarnation(f"{number:04x}c0de"),
                url=f"http://127.0.0.1:{9001 + number}",
                path="/socket.io/",
                probe_url=f"http://127.0.0.1:{9001 + number}",
                state=self.states[name],
                order=None if self.states[name] is NodeState.SERVING else self.states[name],
                members=sum(facts[1] for facts in on[name]),
                rooms=len(on[name]),
                load=loads[name],
                limit=limit if name in is_open else None,
                capacity=1.0,
                store_ok=name not in self.doubted,
                joins_per_second=1_400.0,
                lapses_in_ms=0 if name in self.lapsed else self.rng.randrange(4_900, 5_950),
                has_lapsed=name in self.lapsed,
            )
            for number, name in enumerate(self.names)
        )
        areas = sorted(((facts[2], room) for room, facts in self.rooms.items()), reverse=True)[:5_000]
        rooms = tuple(RoomArea(room, self.rooms[room][0], self.rooms[room][1], load) for load, room in areas)
        members = sum(facts[1] for facts in self.rooms.values())
        return FleetPicture(now_ms(), nodes, rooms, len(self.rooms), members, tuple(self.moving.values()))

    def live_on(self) -> None:
        """A second in the life of the fleet: people come and go."""
        for facts in self.rooms.values():
            if self.rng.random() < 0.3:
                facts[1] = max(0, min(facts[2], facts[1] + self.rng.choice((-2, -1, 1, 2))))

    def note(self, kind: str, **fields: Any) -> None:
        self.notes.append(Note(now_ms(), kind, **fields))

    def begin_move(self, room: str, to: str, *, why: str = "ordered", is_warm: bool = False) -> None:
        name, target = RoomId(room), NodeName(to)
        self.moving[name] = MoveUnderWay(name, self.rooms[name][0], target, why, is_warm)
        self.note("move_asked", room=name, source=self.rooms[name][0], node=target, why=why)

    def end_move(self, room: str) -> None:
        move = self.moving.pop(RoomId(room))
        self.rooms[move.room][0] = move.target
        self.note("room_moved", room=move.room, source=move.source, node=move.target, why=move.why, epoch=Epoch(9))

    def plan(self, rooms: list[RoomId], *, why: str, to: NodeName | None = None) -> OperationPlan:
        targets = [name for name in self.names if self.states[name] is NodeState.SERVING]
        moves = []
        before = {node.node: node.load for node in self.picture().nodes}
        after = dict(before)
        for room in rooms:
            source, members, load = self.rooms[room]
            target = to or min((name for name in targets if name != source), key=lambda name: after[name])
            after[source] -= load
            after[target] += load
            moves.append(PlannedMove(room, source, target, why, members, 0.5 + members / 1_400))
        limit = int(1.25 * sum(before.values()) / len(self.names))
        loads = tuple(NodeBeforeAfter(name, before[name], after[name], limit) for name in self.names)
        people = sum(move.members for move in moves)
        return OperationPlan(tuple(moves), loads, people, max(0.5 * len(moves), people / 500))

    def run_operation(self, kind: OperationKind, subject: str, plan: OperationPlan) -> Operation:
        name = f"{kind}-{len(self.operations) + 1}"
        operation = Operation(name, kind, subject, OperationState.RUNNING, plan, now_ms(), now_ms())
        self.operations[name] = operation
        return operation

    def progress(self, name: str, *, done: int, moving: int = 0, state: OperationState | None = None) -> None:
        """Let the first `done` moves be done and `moving` more be under way."""
        operation = self.operations[name]
        states = [MoveState.DONE] * done + [MoveState.MOVING] * moving
        states += [MoveState.PLANNED] * (len(operation.plan.moves) - len(states))
        moves = tuple(
            replace(move, state=state, took_ms=180 + 7 * number if state is MoveState.DONE else None)
            for number, (move, state) in enumerate(zip(operation.plan.moves, states, strict=False))
        )
        over = {"state": state, "ended_at_ms": now_ms()} if state is not None else {}
        self.operations[name] = replace(
            operation, plan=replace(operation.plan, moves=moves), heard_at_ms=now_ms(), **over
        )

    def cut(self) -> None:
        """End all streams and answer nobody, until `mend`."""
        self.is_cut = True
        self.call(lambda: [stream.cancel() for stream in self._streams])

    def mend(self) -> None:
        self.is_cut = False

    def call(self, work: Callable[[], Any]) -> None:
        """Do something on the server's own thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(work)

    # -- the interface

    async def _session(self, request: Request) -> Response:
        if self.is_cut:
            return Response(status_code=502)
        match request.method:
            case "POST":
                if msgspec.json.decode(await request.body())["token"] != TOKEN:
                    raise Refusal(ErrorCode.UNAUTHENTICATED, "this is not the operators' token")
                response = json_answer(SessionAnswer(3_600_000))
                response.set_cookie("hall_admin", TOKEN, httponly=True, samesite="strict")
                return response
            case "DELETE":
                response = json_answer(SessionAnswer(0))
                response.delete_cookie("hall_admin")
                return response
        return json_answer(SessionAnswer(3_600_000 if request.cookies.get("hall_admin") == TOKEN else 0))

    async def _events(self, request: Request) -> Response:
        if self.is_cut:
            return Response(status_code=502)
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _stream(self) -> AsyncIterator[bytes]:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        told: dict[str, Operation] = {}
        noted = 0
        try:
            while not self.is_cut:
                if self.is_mute:
                    await asyncio.sleep(0.1)
                    continue
                yield _event("fleet", self.picture())
                for name, operation in list(self.operations.items()):
                    if told.get(name) != operation:
                        told[name] = operation
                        yield _event("operation", operation)
                for note in self.notes[noted:]:
                    yield _event("note", note)
                noted = len(self.notes)
                await asyncio.sleep(1.0)  # the pace of the real stream
                self.live_on()
        finally:
            self._streams.discard(task)

    async def _order(self, request: Request) -> Response:
        body = await request.body()
        asked = msgspec.json.decode(body) if body else None
        self.asked.append((request.method, request.url.path, asked))
        if self.refuse_next is not None:
            refusal, self.refuse_next = self.refuse_next, None
            raise refusal
        return json_answer(self._answer(request, asked or {}))

    def _answer(self, request: Request, body: dict[str, Any]) -> object:
        node = NodeName(request.path_params.get("node", ""))
        room = RoomId(request.path_params.get("room", ""))
        match request.method, request.url.path.rpartition("/")[2]:
            case "POST", "cordon":
                return self._set_state(node, NodeState.CORDONED)
            case ("POST", "uncordon") | ("DELETE", "drain"):
                return self._set_state(node, NodeState.SERVING)
            case "POST", "drain":
                rooms = sorted((name for name, facts in self.rooms.items() if facts[0] == node), key=self._load)
                plan = self.plan(rooms, why="draining")
                if not body["plan"]:
                    self._set_state(node, NodeState.DRAINING)
                return self._planned(body, OperationKind.DRAIN, node, plan)
            case "POST", "move":
                plan = self.plan([room], why="ordered", to=NodeName(body["to"]))
                return self._planned(body, OperationKind.MOVE, room, plan)
            case "POST", "rebalance":
                rooms = sorted(self.rooms, key=self._load)[-40:-30]
                return self._planned(body, OperationKind.REBALANCE, "", self.plan(rooms, why="balance"))
            case "PUT", "pin":
                self.pins[room] = NodeName(body["node"])
                return PinAnswer(room, self.pins[room], self.rooms[room][0])
            case "DELETE", "pin":
                self.pins.pop(room, None)
                return PinAnswer(room, None, self.rooms[room][0])
            case "DELETE", _:
                name = request.path_params["operation"]
                self.operations[name] = replace(
                    self.operations[name], state=OperationState.CANCELLED, ended_at_ms=now_ms()
                )
                return Started(name)
        return self._explained(room)

    def _load(self, room: RoomId) -> int:
        return int(self.rooms[room][2])

    def _set_state(self, node: NodeName, state: NodeState) -> NodeOrdered:
        self.states[node] = state
        self.note("node_changed", node=node, state=state)
        return NodeOrdered(node, state)

    def _planned(self, body: dict[str, Any], kind: OperationKind, subject: str, plan: OperationPlan) -> object:
        return PlanAnswer(plan) if body["plan"] else Started(self.run_operation(kind, subject, plan).id)

    def _explained(self, room: RoomId) -> Explanation:
        order = Ring(self.names).order_of(room)
        owner, members, load = self.rooms.get(room, [None, 0, 30])
        move = self.moving.get(room)
        others = [name for name in order if name != owner]
        past = (
            PastMove(now_ms() - 260_000, others[-1], owner, Epoch(41), "balance"),
            PastMove(now_ms() - 3_400_000, None, others[-1], Epoch(12), "ring"),
        )
        return Explanation(
            room=room,
            owner=owner,
            incarnation=None if owner is None else Incarnation("0002c0de"),
            owner_state=None if owner is None else self.states[owner].value,
            owner_lives=owner is not None,
            lease_left_ms=None if owner is None else 5_400,
            epoch=None if owner is None else Epoch(41),
            why=None if owner is None else "balance",
            members=members,
            peak=load,
            load=load,
            moves=0 if owner is None else 1,
            target=None if move is None else move.target,
            target_why=None if move is None else move.why,
            is_warm=move is not None and move.is_warm,
            pinned=self.pins.get(room),
            reserved=0,
            ring=order,
            past=() if owner is None else past,
            would_go_to=Preference(order[0], "ring"),
        )

    @property
    def app(self) -> Starlette:
        paths = [
            ("/admin/nodes/{node}/cordon", ["POST"]),
            ("/admin/nodes/{node}/uncordon", ["POST"]),
            ("/admin/nodes/{node}/drain", ["POST", "DELETE"]),
            ("/admin/rooms/{room}", ["GET"]),
            ("/admin/rooms/{room}/move", ["POST"]),
            ("/admin/rooms/{room}/pin", ["PUT", "DELETE"]),
            ("/admin/rebalance", ["POST"]),
            ("/admin/operations/{operation}", ["DELETE"]),
        ]
        routes: list[BaseRoute] = [
            Route("/admin/session", self._session, methods=["GET", "POST", "DELETE"]),
            Route("/admin/events", self._events),
            *(Route(path, self._order, methods=methods) for path, methods in paths),
            *pages(),
        ]
        app = Starlette(routes=routes)
        answer_errors(app)
        return app

    def serve(self, listener: socket.socket, started: threading.Event) -> uvicorn.Server:
        config = uvicorn.Config(self.app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)

        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            started.set()
            await server.serve(sockets=[listener])

        threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
        return server


def _event(kind: str, body: FleetPicture | Operation | Note) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(body))


@contextlib.contextmanager
def stub_operations(*, nodes: int = 8, rooms: int = 120, **options: Any) -> Iterator[StubOperations]:
    """A StubOperations that listens on a free port of the loopback until the block is left."""
    stub = StubOperations(nodes=nodes, rooms=rooms, **options)
    listener = socket.create_server(("127.0.0.1", 0))
    stub.port = listener.getsockname()[1]
    started = threading.Event()
    server = stub.serve(listener, started)
    assert started.wait(20)
    try:
        yield stub
    finally:
        server.should_exit = True
