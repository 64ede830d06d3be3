"""A made-up fleet as its director tells of it: nodes, rooms, plans, operations; for tests of operators' commands."""

from typing import Any

from director.contract.admin import Explanation, NodeAnswer, OperationAnswer, Preference, RoomEntry
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

AT_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z


def told_node(name: str, **said: Any) -> NodeAnswer:
    facts: dict[str, Any] = {
        "node": NodeName(name),
        "incarnation": Incarnation("a1b2c3d4e5f60718"),
        "url": "http://127.0.0.1:9001",
        "path": "/socket.io/",
        "probe_url": "http://127.0.0.1:9001",
        "state": NodeState.SERVING,
        "order": None,
        "members": 1_200,
        "rooms": 14,
        "load": 1_300,
        "limit": 2_000,
        "capacity": 1.0,
        "store_ok": True,
        "joins_per_second": 1_000.0,
        "lapses_in_ms": 5_200,
    }
    return NodeAnswer(**{**facts, **said})


def told_room(name: str, **said: Any) -> RoomEntry:
    facts: dict[str, Any] = {
        "room": RoomId(name),
        "owner": NodeName("node-1"),
        "incarnation": Incarnation("i1"),
        "owner_lives": True,
        "epoch": Epoch(7),
        "why": "ring",
        "members": 312,
        "peak": 340,
        "moves": 1,
        "load": 340,
        "target": None,
        "pinned": None,
        "reserved": 0,
    }
    return RoomEntry(**{**facts, **said})


def explained(name: str, **said: Any) -> Explanation:
    """A room on node-2 that was moved there a minute after it was placed."""
    facts: dict[str, Any] = {
        "room": RoomId(name),
        "owner": NodeName("node-2"),
        "incarnation": Incarnation("a1b2c3d4e5f60718"),
        "owner_state": "serving",
        "owner_lives": True,
        "lease_left_ms": 4_210,
        "epoch": Epoch(17),
        "why": "balance",
        "members": 312,
        "peak": 340,
        "load": 340,
        "moves": 1,
        "target": None,
        "target_why": None,
        "is_warm": False,
        "pinned": None,
        "reserved": 0,
        "ring": (NodeName("node-1"), NodeName("node-2")),
        "past": (
            PastMove(AT_MS + 60_000, NodeName("node-1"), NodeName("node-2"), Epoch(17), "balance"),
            PastMove(AT_MS, None, NodeName("node-1"), Epoch(9), "ring"),
        ),
        "would_go_to": Preference(NodeName("node-1"), "ring"),
    }
    return Explanation(**{**facts, **said})


def planned(rooms: int, *, done: int = 0, moving: int = 0, failed: int = 0, stranded: int = 0) -> OperationPlan:
    """A plan that empties node-2 of so many rooms with 20 members each."""
    states = [MoveState.DONE] * done + [MoveState.FAILED] * failed + [MoveState.MOVING] * moving
    states += [MoveState.PLANNED] * (rooms - len(states))
    moves = tuple(
        PlannedMove(
            room=RoomId(f"lecture-{number}"),
            source=NodeName("node-2"),
            target=NodeName("node-1"),
            why="draining",
            members=20,
            seconds=0.5,
            state=state,
            problem="node-1 did not open it [in time]" if state is MoveState.FAILED else None,
        )
        for number, state in enumerate(states)
    )
    nodes = (
        NodeBeforeAfter(NodeName("node-1"), 1_000, 1_000 + 30 * rooms, 2_000),
        NodeBeforeAfter(NodeName("node-2"), 30 * rooms, 0, None),
    )
    names = tuple(RoomId(f"stranded-{number}") for number in range(stranded))
    return OperationPlan(moves, nodes, 20 * rooms, 0.5 * rooms, names)


def told_operation(
    state: OperationState,
    plan: OperationPlan,
    *,
    kind: OperationKind = OperationKind.DRAIN,
    subject: str = "node-2",
    **said: Any,
) -> OperationAnswer:
    """An operation that has lasted five seconds."""
    ended_at_ms = AT_MS + 5_000 if state.is_over else None
    operation = Operation("op-1", kind, subject, state, plan, AT_MS, AT_MS + 5_000, ended_at_ms, **said)
    return OperationAnswer(operation)
