"""director/fleet_view: the picture of the fleet, rooms and nodes."""

from collections.abc import Sequence

import msgspec

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import LiveNode, LiveNodes, NodeLease, NodeState
from director.contract.ownership import (
    Interrupted,
    MembersCounted,
    NodeChanged,
    NodeGone,
    RoomChanged,
    RoomGone,
    RoomRecord,
    Snapshot,
)
from director.core.placement import Claim, Keep, place
from director.fleet_view import FleetView, Placement
from tests.support.halls import lease_of

N1, N2 = NodeName("node-1"), NodeName("node-2")
I1, I2 = Incarnation("i1"), Incarnation("i2")
R = RoomId("math-101")


def record_of(version: int, *, room: RoomId = R, owner: NodeName = N1, members: int = 0, peak: int = 0) -> RoomRecord:
    return RoomRecord(room, owner, I1, Epoch(version), "ring", version, members, peak)


def read(
    *leases: NodeLease,
    generation: str = "g",
    number: int = 0,
    remaining: float = 6.0,
    lapsed: Sequence[NodeLease] = (),
    settles_in: float = 0.0,
) -> LiveNodes:
    return LiveNodes(generation, 0, [LiveNode(lease, remaining) for lease in leases], number, lapsed, settles_in)


def loaded(*records: RoomRecord, number: int = 10, nodes: Sequence[str] = ("node-1", "node-2")) -> FleetView:
    view = FleetView()
    view.load(Snapshot("g", number, records))
    view.read_leases(read(*map(lease_of, nodes), number=number), sent_at=100.0)
    assert not view.needs_snapshot
    return view


def load_on(view: FleetView, node: NodeName) -> int:
    return view.facts_of(RoomId("x"), None).loads.get(node, 0)


def test_a_new_view_knows_nothing_and_says_so() -> None:
    view = FleetView()
    assert view.needs_snapshot
    assert not view.is_loaded
    assert view.placement_of(R) is None
    assert (view.room_count, view.leases()) == (0, [])


def test_a_room_is_found_while_its_owner_s_lease_stands() -> None:
    view = loaded(record_of(5))
    assert view.placement_of(R) == Placement(record_of(5), lease_of("node-1"))
    assert view.placement_of(RoomId("other")) is None
    assert view.lives(record_of(5))

    view.hear(NodeChanged("g", 11, lease_of("node-1", "i2")), now=101.0)
    assert view.placement_of(R) is None
    assert not view.lives(record_of(5))
    assert view.record_of(R) == record_of(5)


def test_notices_are_applied_in_order() -> None:
    view = loaded(record_of(5))
    moved = record_of(11, owner=N2)
    view.hear(RoomChanged("g", 11, moved), now=101.0)
    assert view.record_of(R) == moved
    view.hear(RoomGone("g", 12, R), now=101.0)
    assert view.record_of(R) is None
    view.hear(RoomGone("g", 13, R), now=101.0)
    view.hear(NodeGone("g", 14, N2, I1, "released"), now=101.0)
    assert [lease.node for lease in view.leases()] == [N1]
    assert not view.needs_snapshot


def test_what_a_snapshot_has_already_is_not_applied_again() -> None:
    view = loaded(record_of(9))
    view.hear(RoomGone("g", 8, R), now=101.0)
    view.hear(RoomChanged("g", 7, record_of(7, owner=N2)), now=101.0)
    assert view.record_of(R) == record_of(9)
    assert not view.needs_snapshot


def test_a_record_newer_than_its_snapshot_s_number_outlives_older_notices() -> None:
    """A snapshot is not read at one instant: its records may be of later changes than its number."""
    view = loaded(record_of(13), number=10)
    view.hear(RoomChanged("g", 11, record_of(11, owner=N2)), now=101.0)
    view.hear(RoomGone("g", 12, R), now=101.0)
    assert view.record_of(R) == record_of(13)
    view.hear(RoomChanged("g", 13, record_of(13)), now=101.0)
    view.hear(RoomGone("g", 14, R), now=101.0)
    assert view.record_of(R) is None


def test_a_gap_asks_for_a_snapshot_and_the_old_picture_serves_on() -> None:
    view = loaded(record_of(5))
    view.hear(RoomGone("g", 12, R), now=101.0)
    assert view.needs_snapshot
    assert view.placement_of(R) is not None
    view.load(Snapshot("g", 12, []))
    assert not view.needs_snapshot
    assert view.placement_of(R) is None


def test_a_new_generation_asks_for_a_snapshot() -> None:
    view = loaded(record_of(5))
    view.hear(RoomGone("g2", 11, R), now=101.0)
    assert view.needs_snapshot
    assert view.placement_of(R) is not None

    view = loaded(record_of(5))
    view.read_leases(read(lease_of("node-1"), generation="g2", number=1), sent_at=102.0)
    assert view.needs_snapshot
    view.load(Snapshot("g2", 1, [record_of(1)]))
    view.read_leases(read(lease_of("node-1"), generation="g2", number=1), sent_at=103.0)
    assert not view.needs_snapshot
    assert view.record_of(R) == record_of(1)


def test_an_interruption_asks_for_a_snapshot() -> None:
    view = loaded()
    view.hear(Interrupted(), now=101.0)
    assert view.needs_snapshot


def test_a_change_that_is_never_heard_of_is_noticed_by_the_reads_of_leases() -> None:
    view = loaded(number=10)
    view.read_leases(read(number=11), sent_at=101.0)
    assert not view.needs_snapshot, "its notice may be under way"
    view.read_leases(read(number=11), sent_at=102.0)
    assert view.needs_snapshot

    view = loaded(number=10)
    view.read_leases(read(number=11), sent_at=101.0)
    view.hear(RoomChanged("g", 11, record_of(11)), now=101.5)
    view.read_leases(read(number=11), sent_at=102.0)
    assert not view.needs_snapshot


def test_a_node_lapses_when_a_read_lacks_it_and_never_by_silence() -> None:
    view = loaded(record_of(5))
    known = view.node_of(N1)
    assert known is not None
    assert known.lapses_at == 106.0
    view.hear(Interrupted(), now=10_000.0)
    assert view.placement_of(R) is not None, "hours without Redis prove nothing"

    view.read_leases(read(lease_of("node-2"), number=10), sent_at=10_001.0)
    assert view.placement_of(R) is None
    assert view.node_of(N1) is None
    assert isinstance(place(R, view.facts_of(R, view.record_of(R))), Claim)


def test_a_node_that_came_while_the_leases_were_read_is_kept() -> None:
    view = loaded(nodes=[])
    view.hear(NodeChanged("g", 11, lease_of("node-1")), now=101.5)
    view.read_leases(read(number=10), sent_at=101.0)
    assert [lease.node for lease in view.leases()] == [N1]
    view.read_leases(read(lease_of("node-1", "i0"), number=10), sent_at=101.0)
    assert view.leases() == [lease_of("node-1")], "the notice is younger than the read"


def test_a_node_that_went_while_the_leases_were_read_does_not_come_back() -> None:
    view = loaded(record_of(5))
    view.bury(N1, I1, now=101.5)
    view.read_leases(read(lease_of("node-1"), lease_of("node-2"), number=10), sent_at=101.0)
    assert view.placement_of(R) is None
    view.hear(NodeChanged("g", 11, lease_of("node-1")), now=101.6)
    assert view.placement_of(R) is None

    view.read_leases(read(lease_of("node-1", "i2"), number=11), sent_at=101.2)
    assert view.leases() == [lease_of("node-1", "i2")]
    view.bury(N1, I1, now=101.7)
    assert view.leases() == [lease_of("node-1", "i2")]


def test_an_incarnation_that_stands_after_all_is_taken_from_the_next_read() -> None:
    view = loaded(record_of(5))
    view.bury(N1, I1, now=101.0)
    view.read_leases(read(lease_of("node-1"), number=10), sent_at=102.0)
    assert view.placement_of(R) is not None


def test_only_serving_nodes_are_offered_and_rooms_stay_on_the_others() -> None:
    view = loaded(record_of(5))
    view.hear(NodeChanged("g", 11, lease_of("node-1", state=NodeState.DRAINING)), now=101.0)
    assert view.facts_of(RoomId("x"), None).serving == {N2}
    assert place(R, view.facts_of(R, view.record_of(R))) == Keep(record_of(5))


def test_a_node_s_load_is_that_of_its_rooms() -> None:
    view = loaded(record_of(5), record_of(6, room=RoomId("b"), members=500), record_of(7, room=RoomId("c"), owner=N2))
    assert (load_on(view, N1), load_on(view, N2)) == (530, 30)

    view.hear(MembersCounted(N1, {R: 200, RoomId("nowhere"): 9, RoomId("c"): 9}), now=101.0)
    assert (load_on(view, N1), load_on(view, N2)) == (700, 30)
    view.hear(MembersCounted(N1, {R: 0}), now=101.0)
    assert load_on(view, N1) == 700, "the last peak counts"
    counted = view.record_of(R)
    assert counted is not None
    assert (counted.members, counted.peak) == (0, 200)

    view.hear(RoomChanged("g", 11, record_of(11, owner=N2, peak=200)), now=101.0)
    assert (load_on(view, N1), load_on(view, N2)) == (500, 230)
    view.hear(RoomGone("g", 12, R), now=101.0)
    assert (load_on(view, N1), load_on(view, N2)) == (500, 30)


def test_a_node_that_starts_anew_is_empty() -> None:
    view = loaded(record_of(5, members=500))
    view.hear(NodeChanged("g", 11, lease_of("node-1", "i2")), now=101.0)
    assert load_on(view, N1) == 0


def test_a_room_counts_from_the_moment_it_is_placed() -> None:
    view = loaded()
    with view.expecting(lease_of("node-1"), 30):
        assert load_on(view, N1) == 30
        view.learn(record_of(11))
    assert load_on(view, N1) == 30


def test_a_snapshot_meanwhile_does_not_confuse_what_is_counted() -> None:
    view = loaded()
    with view.expecting(lease_of("node-1"), 30):
        view.load(Snapshot("g", 11, [record_of(11)]))
    assert load_on(view, N1) == 30


def test_an_own_claim_is_known_before_its_notice() -> None:
    view = loaded()
    view.learn(record_of(12))
    assert view.placement_of(R) is not None
    view.hear(RoomChanged("g", 11, record_of(11, room=RoomId("b"))), now=101.0)
    view.hear(RoomChanged("g", 12, record_of(12)), now=101.0)
    assert view.record_of(R) == record_of(12)
    assert load_on(view, N1) == 60


def test_an_answer_that_the_notices_have_overtaken_is_not_learned() -> None:
    """Else a room that was released meanwhile would stay in the picture for ever."""
    view = loaded()
    view.hear(RoomChanged("g", 11, record_of(11)), now=101.0)
    view.hear(RoomGone("g", 12, R), now=101.0)
    view.learn(record_of(11))
    assert view.record_of(R) is None


def test_facts_of_a_room_count_its_last_peak() -> None:
    view = loaded()
    assert view.facts_of(R, None).load == 30
    facts = view.facts_of(R, msgspec.structs.replace(record_of(5), peak=800))
    assert facts.load == 800
    assert facts.order == view.facts_of(R, None).order
    assert set(facts.order) == {N1, N2}


def test_a_node_that_lapsed_keeps_its_rooms_and_is_given_none() -> None:
    view = loaded(record_of(5))
    view.read_leases(read(lease_of("node-2"), lapsed=[lease_of("node-1")], number=10), sent_at=101.0)
    assert view.placement_of(R) == Placement(record_of(5), lease_of("node-1"), has_lapsed=True)
    assert not view.lives(record_of(5))
    assert view.facts_of(R, record_of(5)).serving == {N2}
    assert place(R, view.facts_of(R, record_of(5))) == Keep(record_of(5))
    assert (list(view.lapsed()), list(view.orphans())) == ([lease_of("node-1")], [])

    view.read_leases(read(lease_of("node-1"), lease_of("node-2"), number=10), sent_at=102.0)
    assert view.placement_of(R) == Placement(record_of(5), lease_of("node-1"))
    assert list(view.lapsed()) == []


def test_a_node_that_lapsed_and_is_buried_leaves_orphans() -> None:
    view = loaded(record_of(5), record_of(6, room=RoomId("big"), members=90))
    view.read_leases(read(lease_of("node-2"), lapsed=[lease_of("node-1")], number=10), sent_at=101.0)
    view.hear(NodeGone("g", 11, N1, I2, "lapsed"), now=101.5)
    assert view.placement_of(R) is not None, "another incarnation died"
    view.hear(NodeGone("g", 12, N1, I1, "lapsed"), now=101.5)
    assert view.placement_of(R) is None
    assert view.is_dead(N1, I1)
    assert [record.room for record in view.orphans()] == ["big", R]
    view.read_leases(read(lease_of("node-2"), lapsed=[lease_of("node-1")], number=12), sent_at=101.2)
    assert view.placement_of(R) is None, "the read was asked for before"
    assert view.is_dead(N1, I1)


def test_the_dead_are_forgotten_when_they_own_nothing_any_more() -> None:
    view = loaded(record_of(5))
    view.bury(N1, I1, now=101.0)
    view.read_leases(read(lease_of("node-2"), number=10), sent_at=102.0)
    assert view.is_dead(N1, I1)
    view.hear(RoomChanged("g", 11, record_of(11, owner=N2)), now=103.0)
    view.read_leases(read(lease_of("node-2"), number=11), sent_at=104.0)
    assert not view.is_dead(N1, I1)
    assert list(view.orphans()) == []


def test_a_lapse_that_a_newer_notice_contradicts_is_no_news() -> None:
    view = loaded(nodes=["node-2"])
    view.hear(NodeChanged("g", 11, lease_of("node-1")), now=101.5)
    view.read_leases(read(lease_of("node-2"), lapsed=[lease_of("node-1", "i0")], number=10), sent_at=101.0)
    assert lease_of("node-1") in view.leases()
    assert list(view.lapsed()) == []


def test_nodes_that_a_settling_redis_forgot_are_kept_and_forgotten_when_it_has_settled() -> None:
    view = loaded(record_of(5))
    view.read_leases(read(generation="g2", settles_in=3.0), sent_at=101.0)
    assert view.settles_in(102.0) == 2.0
    assert sorted(lease.node for lease in view.lapsed()) == [N1, N2]
    view.load(Snapshot("g2", 0, []))
    view.read_leases(read(lease_of("node-2"), generation="g2", settles_in=2.0), sent_at=102.0)
    assert view.placement_of(R) == Placement(record_of(5), lease_of("node-1"), has_lapsed=True)
    assert view.record_of(R) is None
    view.read_leases(read(lease_of("node-2"), generation="g2"), sent_at=105.0)
    assert view.placement_of(R) is None
    assert (list(view.lapsed()), view.settles_in(105.0)) == ([], 0.0)


def test_the_former_picture_yields_to_what_is_told_anew() -> None:
    other, gone = RoomId("other"), RoomId("gone")
    view = loaded(record_of(5), record_of(6, room=other), record_of(7, room=gone))
    view.load(Snapshot("g2", 1, [record_of(1, owner=N2)]))
    assert view.placement_of(R) == Placement(record_of(1, owner=N2), lease_of("node-2"))
    view.hear(RoomChanged("g2", 2, record_of(2, room=other, owner=N2)), now=101.0)
    view.hear(RoomGone("g2", 3, gone), now=101.0)
    view.hear(RoomGone("g2", 4, other), now=101.0)
    assert (view.placement_of(other), view.placement_of(gone)) == (None, None)


def test_a_view_has_settled_once_a_read_says_so_of_what_is_loaded() -> None:
    view = FleetView()
    view.read_leases(read(settles_in=1.0), sent_at=100.0)
    view.load(Snapshot("g", 0, []))
    assert not view.has_settled
    view.read_leases(read(), sent_at=101.0)
    assert view.has_settled
    view.read_leases(read(settles_in=1.0), sent_at=102.0)
    assert view.has_settled, "a director that is ready stays ready"


def test_a_number_that_has_fallen_asks_for_a_snapshot() -> None:
    view = loaded(record_of(5), number=10)
    view.read_leases(read(lease_of("node-1"), number=9), sent_at=101.0, known_number=9)
    assert not view.needs_snapshot, "the answer was on its way while a notice came"
    view = loaded(record_of(5), number=10)
    view.read_leases(read(lease_of("node-1"), number=9), sent_at=101.0, known_number=10)
    assert view.needs_snapshot


def test_nodes_whose_store_fails_are_doubted() -> None:
    view = loaded()
    doubtful = msgspec.structs.replace(lease_of("node-1"), store_ok=False)
    view.read_leases(read(doubtful, lease_of("node-2"), number=10), sent_at=101.0)
    assert view.facts_of(R, None).doubted == {N1}
