"""director/fleet_view with known_orders, standing_orders and room_loads: orders, reservations, facts for plans."""

from collections.abc import Sequence

import msgspec
import pytest

from director.contract.errors import ErrorCode
from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import LiveNode, LiveNodes, NodeLease, NodeState
from director.contract.orders import (
    Capacity,
    Cordon,
    Drain,
    Order,
    OrderBook,
    Pin,
    Reserve,
    too_many_orders,
)
from director.contract.ownership import Interrupted, MembersCounted, OrdersChanged, RoomChanged, RoomRecord, Snapshot
from director.core.placement import Claim, place
from director.core.plan import JOINS_PER_SECOND, NodeFacts, RoomFacts
from director.fleet_view import FleetView
from tests.support.halls import lease_of

N1, N2, N3 = NodeName("node-1"), NodeName("node-2"), NodeName("node-3")
I1 = Incarnation("i1")
MATHS, ART = RoomId("math-101"), RoomId("art~2")
NINE_MS = 1_790_000_000_000
LEAD_MS = 15 * 60_000
MINUTE_MS = 60_000


def record_of(version: int, room: RoomId = MATHS, owner: NodeName = N1, *, members: int = 0) -> RoomRecord:
    return RoomRecord(room, owner, I1, Epoch(version), "ring", version, members, members)


def loaded(*records: RoomRecord, leases: Sequence[NodeLease] | None = None, number: int = 10) -> FleetView:
    view = FleetView()
    view.load(Snapshot("g", number, records))
    standing = [lease_of(node) for node in (N1, N2, N3)] if leases is None else leases
    view.read_leases(LiveNodes("g", 0, [LiveNode(lease, 6.0) for lease in standing], number), sent_at=100.0)
    return view


def book_of(*orders: Order, number: int = 10, generation: str = "g", is_begun: bool = True) -> OrderBook:
    return OrderBook(generation, number, {order.key: order for order in orders}, is_begun)


def serving(view: FleetView) -> set[NodeName]:
    return set(view.facts_of(RoomId("x"), None).serving)


# -- when orders are read


def test_orders_are_wanted_until_a_read_is_as_new_as_the_rooms() -> None:
    view = FleetView()
    assert view.needs_orders
    view.load(Snapshot("g", 10, []))
    view.take_orders(book_of(number=9))
    assert view.needs_orders
    view.take_orders(book_of(generation="other", number=10))
    assert view.needs_orders
    view.take_orders(book_of(number=10))
    assert not view.needs_orders


def test_a_change_of_orders_asks_for_a_read_and_one_that_is_read_already_does_not() -> None:
    view = loaded()
    view.take_orders(book_of(number=10))

    view.hear(OrdersChanged("g", 11), now=1.0)
    assert view.needs_orders
    view.take_orders(book_of(Cordon(N1), number=13))
    assert not view.needs_orders
    view.hear(OrdersChanged("g", 12), now=1.0)
    assert not view.needs_orders
    assert view.number == 12
    view.hear(OrdersChanged("g", 12), now=1.0)
    view.hear(OrdersChanged("g", 14), now=1.0)
    assert view.needs_snapshot, "13 was missed"


def test_orders_are_read_with_a_snapshot_that_may_know_of_others() -> None:
    view = loaded()
    view.take_orders(book_of(Cordon(N1), number=12))
    view.hear(Interrupted(), now=1.0)
    view.load(Snapshot("g", 12, []))
    assert not view.needs_orders
    view.load(Snapshot("g", 13, []))
    assert view.needs_orders
    view.take_orders(book_of(Cordon(N1), number=13))
    view.load(Snapshot("h", 1, []))
    assert view.needs_orders
    assert view.state_of(N1) is NodeState.CORDONED, "until they are read the old ones stand"


def test_orders_that_redis_forgot_stand_until_they_are_restored() -> None:
    view = loaded()
    orders = [Cordon(N1), Pin(MATHS, N2)]
    view.take_orders(book_of(*orders))
    view.load(Snapshot("h", 0, []))

    view.take_orders(book_of(generation="h", number=0, is_begun=False))

    assert list(view.forgotten_orders) == orders
    assert view.state_of(N1) is NodeState.CORDONED
    assert not view.needs_orders
    view.take_orders(book_of(*orders, generation="h", number=1))
    assert list(view.forgotten_orders) == []
    assert view.orders.generation == "h"


def test_orders_that_were_taken_back_are_not_forgotten() -> None:
    view = loaded()
    view.take_orders(book_of(Cordon(N1)))
    view.load(Snapshot("h", 11, []))

    view.take_orders(book_of(generation="h", number=11))

    assert list(view.forgotten_orders) == []
    assert view.state_of(N1) is NodeState.SERVING


def test_a_hall_that_never_had_orders_has_forgotten_none() -> None:
    view = loaded()
    view.take_orders(book_of(is_begun=False))
    assert list(view.forgotten_orders) == []
    assert not view.needs_orders


# -- what they mean


@pytest.mark.parametrize(
    ("own", "orders", "state"),
    [
        (NodeState.SERVING, [], NodeState.SERVING),
        (NodeState.SERVING, [Cordon(N1)], NodeState.CORDONED),
        (NodeState.SERVING, [Drain(N1, "op")], NodeState.DRAINING),
        (NodeState.SERVING, [Drain(N1, "op"), Cordon(N1)], NodeState.DRAINING),
        (NodeState.SERVING, [Cordon(N1), Drain(N1, "op")], NodeState.DRAINING),
        (NodeState.CORDONED, [], NodeState.CORDONED),
        (NodeState.CORDONED, [Drain(N1, "op")], NodeState.DRAINING),
        (NodeState.DRAINING, [Cordon(N1)], NodeState.DRAINING),
        (NodeState.SERVING, [Cordon(N2)], NodeState.SERVING),
    ],
)
def test_the_state_that_takes_more_from_a_node_counts(own: NodeState, orders: list[Order], state: NodeState) -> None:
    view = loaded(leases=[lease_of(N1, state=own)])
    view.take_orders(book_of(*orders))

    assert view.state_of(N1) is state
    assert view.fleet_facts().nodes[0].state is state
    assert (N1 in serving(view)) is (state is NodeState.SERVING)


def test_orders_hold_for_nodes_that_are_not_there_and_whose_lease_has_lapsed() -> None:
    view = loaded(leases=[])
    view.read_leases(LiveNodes("g", 0, [], 10, [lease_of(N2, state=NodeState.DRAINING)]), sent_at=101.0)
    view.take_orders(book_of(Cordon(N1), Cordon(N2)))

    assert [view.state_of(node) for node in (N1, N2, N3)] == [
        NodeState.CORDONED,
        NodeState.DRAINING,
        NodeState.SERVING,
    ]


def test_the_order_to_drain_can_be_looked_up() -> None:
    view = loaded()
    drain = Drain(N1, "op-7", rooms_at_a_time=2)
    view.take_orders(book_of(drain, Cordon(N2)))
    assert view.standing.drains == {N1: drain}


def test_a_pinned_room_is_placed_on_its_node_while_that_serves() -> None:
    view = loaded()
    view.take_orders(book_of(Pin(MATHS, N3)))
    assert place(MATHS, view.facts_of(MATHS, None)) == Claim(N3, None, "pinned")

    view.take_orders(book_of(Pin(MATHS, N3), Cordon(N3)))
    claim = place(MATHS, view.facts_of(MATHS, None))
    assert isinstance(claim, Claim)
    assert claim.node != N3


def test_the_capacity_that_was_ordered_is_known_to_placement_and_to_plans() -> None:
    view = loaded()
    view.take_orders(book_of(Capacity(N2, 2.5), Capacity(N1, 0.0), Capacity(N3, -1.0)))

    assert view.facts_of(MATHS, None).capacities == {N2: 2.5}
    assert {node.node: node.capacity for node in view.fleet_facts().nodes} == {N1: 1.0, N2: 2.5, N3: 1.0}


# -- reservations


def test_a_reservation_counts_from_a_quarter_of_an_hour_before_its_start_to_its_end() -> None:
    view = loaded(record_of(1, members=40))
    view.take_orders(book_of(Reserve(MATHS, 3_000, NINE_MS, 90)))
    assert view.reserved == {}, "the time is not known yet"

    for now_ms, reserved in (
        (NINE_MS - LEAD_MS - 1, 0),
        (NINE_MS - LEAD_MS, 3_000),
        (NINE_MS + 90 * MINUTE_MS - 1, 3_000),
        (NINE_MS + 90 * MINUTE_MS, 0),
        (NINE_MS, 3_000),  # a clock that was set back
    ):
        view.note_time(now_ms)
        assert view.reserved.get(MATHS, 0) == reserved
        load = max(40, reserved)
        assert view.load_on(lease_of(N1)) == load
        assert view.load_of(record_of(1, members=40)) == load
        assert view.facts_of(MATHS, record_of(1, members=40)).load == load
        assert view.facts_of(MATHS, None).load == max(30, reserved)
        assert view.fleet_facts().rooms == (RoomFacts(MATHS, N1, load, 40),)


def test_orders_that_come_later_count_at_once() -> None:
    view = loaded(record_of(1))
    view.note_time(NINE_MS)
    view.take_orders(book_of(Reserve(MATHS, 100, NINE_MS, 90), Reserve(MATHS, 70, NINE_MS - 1, 90)))
    assert view.load_on(lease_of(N1)) == 100
    view.take_orders(book_of(Reserve(MATHS, 70, NINE_MS - 1, 90)))
    assert view.load_on(lease_of(N1)) == 70
    view.take_orders(book_of())
    assert view.load_on(lease_of(N1)) == 30


def test_a_room_counts_for_what_is_reserved_wherever_it_goes_and_however_it_grows() -> None:
    view = loaded(record_of(1))
    view.note_time(NINE_MS)
    view.take_orders(book_of(Reserve(MATHS, 100, NINE_MS, 90)))

    view.hear(RoomChanged("g", 11, record_of(11, owner=N2)), now=1.0)
    assert [view.load_on(lease_of(node)) for node in (N1, N2)] == [0, 100]
    view.hear(MembersCounted(N2, {MATHS: 120}), now=1.0)
    assert view.load_on(lease_of(N2)) == 120
    view.note_time(NINE_MS + 90 * MINUTE_MS)
    assert view.load_on(lease_of(N2)) == 120
    view.load(Snapshot("g", 12, [record_of(12, ART)]))
    assert [view.load_on(lease_of(node)) for node in (N1, N2)] == [30, 0]


def test_a_room_that_is_being_claimed_counts_also_while_all_rooms_are_read_anew() -> None:
    view = loaded()
    with view.expecting(lease_of(N1), 500):
        view.load(Snapshot("g", 11, [record_of(11)]))
        assert view.load_on(lease_of(N1)) == 530
    assert view.load_on(lease_of(N1)) == 30


def test_rooms_that_are_reserved_and_have_no_owner_are_due_the_largest_first() -> None:
    view = loaded(record_of(1))
    rooms = [RoomId(name) for name in ("a", "b", "c")]
    view.take_orders(
        book_of(
            *(Reserve(room, size, NINE_MS, 90) for room, size in zip(rooms, (50, 3_000, 50), strict=True)),
            Reserve(MATHS, 9_000, NINE_MS, 90),
            Reserve(ART, 9_000, NINE_MS + 2 * LEAD_MS, 90),
        )
    )
    view.note_time(NINE_MS)
    assert list(view.due_rooms()) == [rooms[1], rooms[0], rooms[2]]

    view.load(Snapshot("h", 1, [record_of(1, rooms[1])]))
    assert MATHS not in view.due_rooms(), "its owner has not told a new generation of it yet"


def test_reservations_that_are_over_are_named_so_that_they_can_be_taken_back() -> None:
    view = loaded()
    view.take_orders(book_of(Reserve(MATHS, 50, NINE_MS, 90), Reserve(ART, 50, NINE_MS + MINUTE_MS, 90)))
    assert list(view.orders_over()) == []
    view.note_time(NINE_MS + 90 * MINUTE_MS)
    assert list(view.orders_over()) == [f"reserve:math-101:{NINE_MS}"]


def test_reservations_that_no_director_would_make_are_as_if_not_there() -> None:
    view = loaded()
    view.note_time(NINE_MS)
    odd = [
        Reserve(RoomId(f"r{i}"), members, NINE_MS, minutes)
        for i, (members, minutes) in enumerate([(0, 90), (100_001, 90), (50, 0), (50, 1_441), (-1, -1)])
    ]
    view.take_orders(book_of(*odd, Reserve(MATHS, 100_000, NINE_MS, 1_440)))
    assert view.reserved == {MATHS: 100_000}


# -- facts for plans


def test_plans_are_made_of_rooms_whose_owner_stands_and_of_all_nodes_that_do() -> None:
    slow = msgspec.structs.replace(lease_of(N2), store_ok=False, joins_per_second=250.0)
    odd = msgspec.structs.replace(lease_of(N3), joins_per_second=0.0)
    view = loaded(
        record_of(1, members=70),
        record_of(2, ART, N2),
        RoomRecord(RoomId("of the dead"), N1, Incarnation("i0"), Epoch(3), "ring", 3),
        RoomRecord(RoomId("of nobody known"), NodeName("node-9"), I1, Epoch(4), "ring", 4),
        leases=[lease_of(N1), slow, odd],
    )
    view.take_orders(book_of(Pin(ART, N3)))

    facts = view.fleet_facts()

    assert facts.rooms == (RoomFacts(MATHS, N1, 70, 70), RoomFacts(ART, N2, 30, 0))
    assert facts.nodes == (
        NodeFacts(N1),
        NodeFacts(N2, is_doubted=True, joins_per_second=250.0),
        NodeFacts(N3, joins_per_second=JOINS_PER_SECOND),
    )
    assert facts.pins == {ART: N3}
    assert {record.room for record in view.records()} >= {MATHS, ART}


def test_plans_can_be_made_for_what_is_reserved_later() -> None:
    view = loaded(record_of(1))
    view.note_time(NINE_MS - 2 * LEAD_MS)
    view.take_orders(book_of(Reserve(MATHS, 3_000, NINE_MS, 90)))

    assert [room.load for room in view.fleet_facts().rooms] == [30]
    assert [room.load for room in view.fleet_facts(NINE_MS).rooms] == [3_000]


def test_more_orders_than_a_hall_keeps_are_refused_as_a_matter_of_room() -> None:
    assert too_many_orders().code is ErrorCode.BUSY
    assert "20000" in too_many_orders().message


def test_orders_are_named_by_what_they_are_about() -> None:
    orders: list[Order] = [Cordon(N1), Drain(N1, "op"), Pin(MATHS, N1), Capacity(N1, 2.0), Reserve(ART, 5, 1_700, 90)]
    assert [order.key for order in orders] == [
        "cordon:node-1",
        "drain:node-1",
        "pin:math-101",
        "capacity:node-1",
        "reserve:art~2:1700",
    ]
