"""Placement: which node a room goes to (design, section 3).

1. A room whose owner is not dead stays, whatever the ring says.
2. Only nodes that serve are given rooms, and of those only nodes whose store is in order, if there are any.
3. A pinned room goes to its node while that is one of them.
4. Else the first node in the ring's order with load + room <= max(1.25 x mean, room), the mean including the room.
   Where nodes differ in capacity, the mean is that for a unit of it, times the node's own, and a room that is above
   any bound goes only to nodes of the greatest capacity.
5. Else the node that would then be the least loaded for its capacity.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from director.contract.ids import NodeName, RoomId
from director.contract.ownership import RoomRecord

MIN_ROOM_LOAD = 30
BOUND = 1.25


def room_load(*, members: int = 0, reserved: int = 0, peak: int = 0) -> int:
    """What a room counts for, in members: those it has, was announced or once had, and a least sum for any room."""
    return max(members, reserved, peak, MIN_ROOM_LOAD)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a room and the nodes. `loads` may lack nodes without rooms; `order` is the ring's; `doubted`
    are the nodes whose openings at the store failed of late. `overrides` are pins; nodes that `capacities` lacks have
    a capacity of 1."""

    record: RoomRecord | None
    owner_lives: bool
    serving: Collection[NodeName]
    loads: Mapping[NodeName, int]
    order: Sequence[NodeName]
    load: int = MIN_ROOM_LOAD
    overrides: Mapping[RoomId, NodeName] | None = None
    doubted: Collection[NodeName] = ()
    capacities: Mapping[NodeName, float] | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """The room has an owner that is not dead."""

    record: RoomRecord


@dataclass(frozen=True, slots=True)
class Claim:
    """The room should go to `node`; `why` is `pinned`, `ring`, `bounded` or `least_loaded`."""

    node: NodeName
    replacing: RoomRecord | None
    why: str


@dataclass(frozen=True, slots=True)
class NoNodes:
    """No node serves."""


def place(room: RoomId, facts: Facts) -> Keep | Claim | NoNodes:
    """Decide where `room` goes."""
    record = facts.record
    if record is not None and facts.owner_lives:
        return Keep(record)
    serving = [node for node in facts.order if node in facts.serving]
    if not serving:
        return NoNodes()
    # Where the store fails every node, the one store may be back before the next try.
    candidates = [node for node in serving if node not in facts.doubted] or serving
    node, why = _choice(room, facts, candidates)
    return Claim(node, record, why)


def _choice(room: RoomId, facts: Facts, candidates: Sequence[NodeName]) -> tuple[NodeName, str]:
    pinned = (facts.overrides or {}).get(room)
    if pinned is not None and pinned in candidates:
        return pinned, "pinned"
    capacities = {node: (facts.capacities or {}).get(node, 1.0) for node in candidates}
    loads = {node: facts.loads.get(node, 0) + facts.load for node in candidates}
    mean = (sum(facts.loads.get(node, 0) for node in candidates) + facts.load) / sum(capacities.values())
    greatest = max(capacities.values())
    for rank, node in enumerate(candidates):
        alone = facts.load if capacities[node] == greatest else 0
        if loads[node] <= max(BOUND * mean * capacities[node], alone):
            return node, "bounded" if rank else "ring"
    return min(candidates, key=lambda node: loads[node] / capacities[node]), "least_loaded"
