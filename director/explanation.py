"""The explanation of a room: who owns it, since when and why, where it goes, and where it would go. No I/O."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from director.contract.admin import Explanation, Preference
from director.contract.ids import NodeName, RoomId
from director.contract.ownership import PastMove, RoomRecord
from director.core.placement import Claim, Facts, Keep, NoNodes, place
from director.fleet_view import FleetView

LAPSED, DEAD = "lapsed", "dead"


def explain(view: FleetView, room: RoomId, past: Sequence[PastMove] | None, *, now: float) -> Explanation:
    """All that is known of `room`, with the changes of owner that Redis remembers; `now` is of the monotonic clock."""
    record = view.record_of(room)
    facts = view.facts_of(room, record)
    unowned = Explanation(
        room=room,
        load=facts.load,
        pinned=view.standing.pins.get(room),
        reserved=view.reserved.get(room, 0),
        ring=tuple(facts.order),
        past=None if past is None else tuple(past),
        would_go_to=_preference(facts, room),
    )
    return unowned if record is None else _with_owner(unowned, view, record, now=now)


def _with_owner(unowned: Explanation, view: FleetView, record: RoomRecord, *, now: float) -> Explanation:
    known, lives = view.node_of(record.owner), view.lives(record)
    left = known.lapses_at - now if known is not None and lives else None
    return msgspec.structs.replace(
        unowned,
        owner=record.owner,
        incarnation=record.incarnation,
        owner_state=_owner_state(view, record),
        owner_lives=lives,
        lease_left_ms=None if left is None else max(0, round(left * 1000)),
        epoch=record.epoch,
        why=record.why,
        members=record.members,
        peak=record.peak,
        moves=record.moves,
        target=record.target,
        target_why=record.target_why if record.target else None,
        is_warm=record.is_warm,
    )


def _owner_state(view: FleetView, record: RoomRecord) -> str:
    placement = view.placement_by(record)
    if placement is None:
        return DEAD
    return LAPSED if placement.has_lapsed else view.state_of(record.owner).value


def _preference(facts: Facts, room: RoomId) -> Preference | None:
    loads: dict[NodeName, int] = dict(facts.loads)
    if facts.record is not None and facts.record.owner in loads and facts.owner_lives:
        loads[facts.record.owner] -= facts.load
    match place(room, replace(facts, record=None, owner_lives=False, loads=loads)):
        case Claim(node=node, why=why):
            return Preference(node, why)
        case NoNodes() | Keep():
            return None
