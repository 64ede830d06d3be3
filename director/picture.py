"""The picture: the fleet as operators see it, taken from the view at an instant. No I/O, and nothing is kept."""

from collections import Counter

from director.contract.admin import MAX_ROOM_AREAS, FleetPicture, MoveUnderWay, NodeAnswer, RoomArea, RoomEntry
from director.contract.lease import NodeLease
from director.contract.ownership import RoomRecord
from director.core.plan import limits_of
from director.fleet_view import FleetView
from director.room_loads import NodeKey


def nodes_of(view: FleetView, *, now: float) -> tuple[NodeAnswer, ...]:
    """All nodes whose lease stands or has lapsed, by name. `now` is of the monotonic clock."""
    standing = view.leases()
    loads = {lease.node: view.load_on(lease) for lease in standing}
    limits = limits_of(view.node_facts(), loads)
    rooms: Counter[NodeKey] = Counter()
    members: Counter[NodeKey] = Counter()
    for record in view.records():
        key = record.owner, record.incarnation
        rooms[key] += 1
        members[key] += record.members

    def answer(lease: NodeLease, *, lapses_in: float | None) -> NodeAnswer:
        node, key = lease.node, (lease.node, lease.incarnation)
        return NodeAnswer(
            node=node,
            incarnation=lease.incarnation,
            url=lease.url,
            path=lease.path,
            probe_url=lease.probe_url,
            state=view.state_of(node),
            order=view.standing.states.get(node),
            members=members[key],
            rooms=rooms[key],
            load=view.load_on(lease),
            limit=limits.get(node),
            capacity=view.standing.capacities.get(node, 1.0),
            store_ok=lease.store_ok,
            joins_per_second=lease.joins_per_second,
            lapses_in_ms=0 if lapses_in is None else max(0, round(lapses_in * 1000)),
            has_lapsed=lapses_in is None,
        )

    answers = [answer(lease, lapses_in=_lapses_in(view, lease, now)) for lease in standing]
    answers += [answer(lease, lapses_in=None) for lease in view.lapsed()]
    return tuple(sorted(answers, key=lambda node: node.node))


def picture_of(view: FleetView, *, now: float, now_ms: int) -> FleetPicture:
    """The whole fleet: some 20 ms of work and 300 kB of JSON for 50 nodes and 5,000 rooms."""
    records = view.records()
    areas = [RoomArea(record.room, record.owner, record.members, view.load_of(record)) for record in records]
    areas.sort(key=lambda area: (-area.load, area.room))
    return FleetPicture(
        at_ms=now_ms,
        nodes=nodes_of(view, now=now),
        rooms=tuple(areas[:MAX_ROOM_AREAS]),
        room_count=len(records),
        members=sum(area.members for area in areas),
        moving=tuple(
            MoveUnderWay(record.room, record.owner, record.target, record.target_why, record.is_warm)
            for record in records
            if record.target is not None
        ),
    )


def entry_of(view: FleetView, record: RoomRecord) -> RoomEntry:
    """A room as it is listed."""
    return RoomEntry(
        room=record.room,
        owner=record.owner,
        incarnation=record.incarnation,
        owner_lives=view.lives(record),
        epoch=record.epoch,
        why=record.why,
        members=record.members,
        peak=record.peak,
        moves=record.moves,
        load=view.load_of(record),
        target=record.target,
        pinned=view.standing.pins.get(record.room),
        reserved=view.reserved.get(record.room, 0),
    )


def _lapses_in(view: FleetView, lease: NodeLease, now: float) -> float:
    known = view.node_of(lease.node)
    assert known is not None, "a lease that stands is that of a known node"
    return known.lapses_at - now
