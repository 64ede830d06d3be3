"""director/core/rebalance and plan: what moves, why, and that it is no more than it must be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.ownership import RoomRecord
from director.core.plan import FleetFacts, NodeFacts, Plan, RoomFacts
from director.core.rebalance import plan_drain, plan_rebalance

A, B, C, GONE = NodeName("a"), NodeName("b"), NodeName("c"), NodeName("gone")
THREE = (NodeFacts(A), NodeFacts(B), NodeFacts(C))


def rooms_at(**sizes: Sequence[int]) -> list[RoomFacts]:
    """Rooms by node and load, all of it members: `rooms_at(a=[40, 50])` are `a0` and `a1`."""
    return [
        RoomFacts(RoomId(f"{node}{i}"), NodeName(node), load, load)
        for node, loads in sizes.items()
        for i, load in enumerate(loads)
    ]


def moves_of(plan: Plan) -> dict[str, tuple[str, str]]:
    return {move.room: (move.target, move.why) for move in plan.moves}


def run(facts: FleetFacts, plan: Plan) -> FleetFacts:
    """The fleet after all moves of a plan, each from where it says to where it says."""
    rooms = {room.room: room for room in facts.rooms}
    for move in plan.moves:
        assert rooms[move.room].node == move.source != move.target
        rooms[move.room] = replace(rooms[move.room], node=move.target)
    return replace(facts, rooms=list(rooms.values()))


def loads_of(facts: FleetFacts) -> dict[NodeName, int]:
    loads = {node.node: 0 for node in facts.nodes}
    for room in facts.rooms:
        if room.node in loads:
            loads[room.node] += room.load
    return loads


def hot_nodes(facts: FleetFacts, bound: float = 1.25) -> set[NodeName]:
    """Rule 4, told another way than the planner does."""
    open_nodes = {node.node: node for node in facts.nodes if node.is_open}
    on = {name: [room for room in facts.rooms if room.node == name] for name in open_nodes}
    if not on:
        return set()
    mean = sum(room.load for rooms in on.values() for room in rooms) / sum(n.capacity for n in open_nodes.values())
    return {
        name
        for name, rooms in on.items()
        if sum(room.load for room in rooms) > int(bound * mean * open_nodes[name].capacity)
        and len(rooms) > 1
        and not all(room.room in facts.pins for room in rooms)
    }


def fewest_members(facts: FleetFacts, bound: float = 1.25) -> int | None:
    """By trying every layout that obeys rules 1 to 3: the fewest members that one without a hot node moves."""
    nodes = {node.node: node for node in facts.nodes}
    is_open = {name for name, node in nodes.items() if node.is_open}
    rooms = [room for room in facts.rooms if room.node in nodes]
    choices: list[list[NodeName]] = []
    for room in rooms:
        pin, node = facts.pins.get(room.room), nodes[room.node]
        if pin in is_open:
            choices.append([pin])
        elif node.state is NodeState.DRAINING and is_open:
            choices.append(sorted(is_open))
        elif room.room in facts.pins or not node.is_open:
            choices.append([room.node])
        else:
            choices.append(sorted(is_open))
    costs = []
    for layout in product(*choices):
        laid_out = [replace(room, node=node) for room, node in zip(rooms, layout, strict=True)]
        if not hot_nodes(replace(facts, rooms=laid_out), bound):
            costs.append(sum(room.members for room, node in zip(rooms, layout, strict=True) if room.node != node))
    return min(costs, default=None)


STATES = st.sampled_from([NodeState.SERVING] * 4 + [NodeState.CORDONED, NodeState.DRAINING])


@st.composite
def fleets(draw: st.DrawFn, *, max_rooms: int = 14, max_nodes: int = 5) -> FleetFacts:
    """Fleets of all kinds: few large rooms or many small ones, some of them on a node that nobody knows."""
    names = [NodeName(f"n{i}") for i in range(draw(st.integers(1, max_nodes)))]
    capacities = st.sampled_from([1.0, 1.0, 1.0, 0.5, 2.0])
    nodes = [NodeFacts(name, draw(STATES), draw(capacities), is_doubted=draw(st.integers(0, 7)) == 7) for name in names]
    # not sampled by chance alone: most rooms on the first node make it hot
    homes = st.sampled_from([names[0], names[0], *names, GONE])
    sizes = st.one_of(st.integers(1, 40), st.integers(30, 400))
    rooms = [
        RoomFacts(RoomId(f"r{i}"), draw(homes), load, draw(st.integers(0, load)))
        for i, load in enumerate(draw(st.lists(sizes, max_size=max_rooms)))
    ]
    pins = draw(
        st.dictionaries(
            st.integers(0, max_rooms).map(lambda i: RoomId(f"r{i}")), st.sampled_from([*names, GONE]), max_size=3
        )
    )
    return FleetFacts(rooms, nodes, pins)


def test_a_fleet_whose_hottest_node_is_within_the_bound_is_left_alone() -> None:
    # the mean is 100, the bound 125
    within = FleetFacts(rooms_at(a=[100, 25], b=[100], c=[75]), THREE)
    assert plan_rebalance(within).moves == ()
    assert [(node.node, node.before, node.after, node.limit) for node in plan_rebalance(within).nodes] == [
        (A, 125, 125, 125),
        (B, 100, 100, 125),
        (C, 75, 75, 125),
    ]
    over = FleetFacts(rooms_at(a=[96, 30], b=[100], c=[74]), THREE)
    assert moves_of(plan_rebalance(over)) == {"a1": (C, "balance")}


def test_a_tighter_bound_moves_more() -> None:
    facts = FleetFacts(rooms_at(a=[100, 25], b=[100], c=[75]), THREE)
    assert moves_of(plan_rebalance(facts, bound=1.1)) == {"a1": (C, "balance")}
    with pytest.raises(ValueError, match="no fleet can be kept within 1 times its mean"):
        plan_rebalance(facts, bound=1)


def test_a_room_larger_than_the_bound_is_left_alone_and_on_its_own() -> None:
    alone = FleetFacts(rooms_at(a=[900], b=[100], c=[75]), THREE)
    assert plan_rebalance(alone).moves == ()
    crowded = FleetFacts(rooms_at(a=[900, 40, 50], b=[100], c=[75]), THREE)
    assert moves_of(plan_rebalance(crowded)) == {"a1": (B, "balance"), "a2": (C, "balance")}


def test_a_new_node_is_given_rooms_by_plan() -> None:
    facts = FleetFacts(rooms_at(a=[50] * 6, b=[50] * 6), THREE)
    plan = plan_rebalance(facts)
    assert {move.target for move in plan.moves} == {C}
    assert plan.members == plan.at_least == 100
    assert {node.node: node.after for node in plan.nodes} == {A: 250, B: 250, C: 100}


def test_the_load_of_an_announced_lecture_counts_though_nobody_is_there_and_costs_nothing_to_move() -> None:
    record = RoomRecord(RoomId("big"), A, Incarnation("i"), Epoch(1), "ring", 1, members=2, peak=45)
    assert RoomFacts.of(record).load == 45
    lecture = RoomFacts.of(record, reserved=3_000)
    assert lecture == RoomFacts(RoomId("big"), A, 3_000, 2)
    facts = FleetFacts([lecture, *rooms_at(a=[60, 60], b=[1_000], c=[])], THREE)
    plan = plan_rebalance(facts)
    assert moves_of(plan) == {"big": (C, "balance")}
    assert plan.members == 2


def test_a_pinned_room_moves_to_its_pin_and_a_node_of_pinned_rooms_sheds_all_others() -> None:
    facts = FleetFacts(rooms_at(a=[100], b=[100, 60], c=[10]), THREE, {RoomId("a0"): B, RoomId("b0"): B})
    assert moves_of(plan_rebalance(facts)) == {"a0": (B, "pinned"), "b1": (A, "balance")}


def test_a_pinned_room_whose_node_is_not_open_stays_where_it_is() -> None:
    for nodes in (
        (NodeFacts(A), NodeFacts(B, NodeState.CORDONED)),
        (NodeFacts(A), NodeFacts(B, is_doubted=True)),
        (NodeFacts(A), NodeFacts(B, NodeState.DRAINING)),
        (NodeFacts(A),),
    ):
        facts = FleetFacts(rooms_at(a=[100, 60]), nodes, {RoomId("a0"): B})
        assert plan_rebalance(facts).moves == ()


def test_even_a_pinned_room_leaves_a_draining_node() -> None:
    nodes = (NodeFacts(A, NodeState.DRAINING), NodeFacts(B), NodeFacts(C))
    facts = FleetFacts(rooms_at(a=[100, 60], b=[50]), nodes, {RoomId("a0"): A, RoomId("a1"): B})
    assert moves_of(plan_rebalance(facts)) == {"a0": (C, "draining"), "a1": (B, "pinned")}


def test_a_cordoned_node_keeps_what_it_has_and_gets_nothing() -> None:
    nodes = (NodeFacts(A, NodeState.CORDONED), NodeFacts(B), NodeFacts(C))
    facts = FleetFacts(rooms_at(a=[500, 500], b=[50, 50], c=[]), nodes)
    plan = plan_rebalance(facts)
    assert moves_of(plan) == {"b0": (C, "balance")} or moves_of(plan) == {"b1": (C, "balance")}
    assert [node.limit for node in plan.nodes] == [None, 62, 62]


def test_rooms_stay_and_are_named_where_no_node_is_open() -> None:
    nodes = (NodeFacts(A, NodeState.DRAINING), NodeFacts(B, NodeState.CORDONED))
    plan = plan_rebalance(FleetFacts(rooms_at(a=[10, 20], b=[5]), nodes))
    assert (plan.moves, plan.stranded, plan.at_least) == ((), ("a0", "a1"), 0)
    assert plan_drain(FleetFacts(rooms_at(a=[10]), THREE[:1]), A).stranded == ("a0",)


def test_rooms_of_the_dead_are_not_moved() -> None:
    facts = FleetFacts(rooms_at(gone=[500, 500], a=[50], b=[50]), THREE[:2])
    assert plan_rebalance(facts).moves == ()


def test_a_node_of_twice_the_capacity_takes_twice_the_load() -> None:
    nodes = (NodeFacts(A, capacity=2.0), NodeFacts(B), NodeFacts(C))
    plan = plan_rebalance(FleetFacts(rooms_at(b=[10] * 20, c=[10] * 20), nodes))
    assert {node.node: (node.after, node.limit) for node in plan.nodes} == {A: (160, 250), B: (120, 125), C: (120, 125)}


def test_a_drain_empties_its_node_and_moves_nothing_else() -> None:
    facts = FleetFacts(
        rooms_at(a=[30, 200, 60], b=[500, 500], c=[10]), THREE, {RoomId("a0"): B, RoomId("b0"): C, RoomId("a1"): A}
    )
    plan = plan_drain(facts, A)
    assert moves_of(plan) == {"a0": (B, "pinned"), "a1": (C, "draining"), "a2": (C, "draining")}
    assert plan.at_least == plan.members == 290
    assert plan_drain(facts, GONE).moves == ()


def test_rooms_with_few_members_move_first_and_the_most_last() -> None:
    plan = plan_drain(FleetFacts(rooms_at(a=[200, 30, 900, 60]), THREE), A)
    assert [move.members for move in plan.moves] == [30, 60, 200, 900]


def test_a_move_takes_as_long_as_its_target_needs_to_admit_the_members() -> None:
    nodes = (NodeFacts(A), NodeFacts(B, joins_per_second=200))
    (move,) = plan_drain(FleetFacts(rooms_at(a=[300]), nodes), A).moves
    assert move.seconds == pytest.approx(0.5 + 1.5)
    assert (move.source, move.load, move.members) == (A, 300, 300)


def test_a_cheap_room_that_fits_nowhere_does_not_hinder_the_relief_by_others() -> None:
    """A lecture that was announced has no members to move, but no other node has room for it."""
    rooms = [RoomFacts(RoomId("big"), A, 80, 0), *rooms_at(a=[20, 30], b=[95], c=[95])]
    # the mean is 107, the limit 133: either b or c would have 175 with the lecture
    facts = FleetFacts([*rooms, RoomFacts(RoomId("x"), A, 1, 1)], THREE)
    assert loads_of(facts) == {A: 131, B: 95, C: 95}
    assert plan_rebalance(facts).moves == ()
    hotter = FleetFacts([*rooms, RoomFacts(RoomId("x"), A, 12, 12)], THREE)
    plan = plan_rebalance(hotter)
    assert moves_of(plan).keys() == {"x"}
    assert plan.at_least == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RoomFacts(RoomId("r"), A, 0),
        lambda: RoomFacts(RoomId("r"), A, 30, -1),
        lambda: NodeFacts(A, capacity=0),
        lambda: NodeFacts(A, joins_per_second=0),
    ],
)
def test_facts_that_cannot_be_are_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError, match=r"a room has|a node has"):
        wrong()


# -- for all fleets


@settings(max_examples=400, deadline=None)
@given(facts=fleets())
def test_a_run_gives_exactly_the_loads_that_were_promised(facts: FleetFacts) -> None:
    plan = plan_rebalance(facts)
    assert {node.node: node.before for node in plan.nodes} == loads_of(facts)
    after = run(facts, plan)
    assert {node.node: node.after for node in plan.nodes} == loads_of(after)
    assert {node.node for node in plan.nodes if node.is_hot} == hot_nodes(after)


@settings(max_examples=400, deadline=None)
@given(facts=fleets())
def test_planning_again_after_a_run_gives_nothing_to_do(facts: FleetFacts) -> None:
    after = run(facts, plan_rebalance(facts))
    again = plan_rebalance(after)
    assert again.moves == ()
    assert again.members == 0


@settings(max_examples=300, deadline=None)
@given(facts=fleets(), node=st.integers(0, 4))
def test_pins_drains_and_cordons_are_obeyed(facts: FleetFacts, node: int) -> None:
    nodes = {known.node: known for known in facts.nodes}
    for plan in (plan_rebalance(facts), plan_drain(facts, NodeName(f"n{node}"))):
        for move in plan.moves:
            source, target = nodes[move.source], nodes[move.target]
            is_drained = source.state is NodeState.DRAINING or source.node == f"n{node}"
            assert target.is_open
            match move.why:
                case "pinned":
                    assert facts.pins[move.room] == move.target
                case "draining":
                    assert is_drained
                case "balance":
                    assert source.is_open
                    assert move.room not in facts.pins
    after = run(facts, plan_rebalance(facts))
    has_open = any(known.is_open for known in facts.nodes)
    for room in after.rooms:
        pin = facts.pins.get(room.room)
        if room.node != GONE and pin in nodes and nodes[pin].is_open:
            assert room.node == pin
        if room.node != GONE and has_open:
            assert nodes[room.node].state is not NodeState.DRAINING


@settings(max_examples=300, deadline=None)
@given(facts=fleets(), node=st.integers(0, 4))
def test_a_drain_leaves_nothing_on_the_node_and_the_rest_where_it_was(facts: FleetFacts, node: int) -> None:
    drained = NodeName(f"n{node}")
    plan = plan_drain(facts, drained)
    after = run(facts, plan)
    assert all(move.source == drained for move in plan.moves)
    left = {room.room for room in after.rooms if room.node == drained}
    assert left == set(plan.stranded)
    if any(known.is_open and known.node != drained for known in facts.nodes):
        assert not left
    assert {known.node: known.after for known in plan.nodes} == loads_of(after)


@settings(max_examples=200, deadline=None)
@given(facts=fleets(), data=st.data())
def test_a_plan_does_not_depend_on_the_order_of_the_facts(facts: FleetFacts, data: st.DataObject) -> None:
    other = FleetFacts(
        data.draw(st.permutations(facts.rooms)),
        data.draw(st.permutations(facts.nodes)),
        dict(data.draw(st.permutations(list(facts.pins.items())))),
    )
    assert plan_rebalance(other) == plan_rebalance(facts)


@settings(max_examples=200, deadline=None)
@given(facts=fleets())
def test_nothing_moves_for_balance_while_no_node_is_hot(facts: FleetFacts) -> None:
    serving = replace(facts, nodes=[replace(node, state=NodeState.SERVING) for node in facts.nodes], pins={})
    assume(not hot_nodes(serving))
    assert plan_rebalance(serving).moves == ()


@settings(max_examples=300, deadline=None)
@given(facts=fleets(max_rooms=6, max_nodes=3))
def test_no_layout_without_hot_nodes_moves_fewer_members_than_the_plan_says(facts: FleetFacts) -> None:
    """Against all layouts there are."""
    plan = plan_rebalance(facts)
    fewest = fewest_members(facts)
    if fewest is None:
        assert any(node.is_hot for node in plan.nodes)
        return
    assert plan.at_least <= fewest
    if not any(node.is_hot for node in plan.nodes):
        assert plan.members >= fewest


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(20, 60), st.integers(0, 60)), min_size=8, max_size=30),
    few=st.integers(0, 4),
)
@example(sizes=[(30, 1)] * 4 + [(20, 7)] * 6, few=0)
def test_where_all_rooms_are_small_the_plan_moves_the_fewest_members_that_can_be(
    sizes: list[tuple[int, int]], few: int
) -> None:
    """Against all layouts there are on two nodes, of which one has but a few: told apart by what that one holds."""
    rooms = [RoomFacts(RoomId(f"r{i}"), B if i < few else A, load, members) for i, (load, members) in enumerate(sizes)]
    total = sum(room.load for room in rooms)
    assume(all(room.load <= 0.25 * total / 2 for room in rooms))
    fewest = {0: 0}
    for room in rooms:
        stays_at_a, goes_to_b = (0, room.members) if room.node == A else (room.members, 0)
        found: dict[int, int] = {}
        for at_b, members in fewest.items():
            found[at_b] = min(found.get(at_b, 9_999), members + stays_at_a)
            found[at_b + room.load] = min(found.get(at_b + room.load, 9_999), members + goes_to_b)
        fewest = found
    limit = int(1.25 * total / 2)
    plan = plan_rebalance(FleetFacts(rooms, THREE[:2]))
    assert not any(node.is_hot for node in plan.nodes)
    least = min(members for at_b, members in fewest.items() if at_b <= limit and total - at_b <= limit)
    assert plan.members == plan.at_least == least


@settings(max_examples=200, deadline=None)
@given(
    small=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=2, max_size=30),
    large=st.lists(st.tuples(st.integers(100, 150), st.integers(0, 150)), max_size=4),
    elsewhere=st.lists(st.integers(100, 300), min_size=2, max_size=2),
)
def test_a_node_that_small_rooms_can_relieve_is_relieved(
    small: list[tuple[int, int]], large: list[tuple[int, int]], elsewhere: list[int]
) -> None:
    """Large rooms may be cheaper to move, and fit nowhere: then small ones go, and no more of them than it takes."""
    rooms = [RoomFacts(RoomId(f"s{i}"), A, load, members) for i, (load, members) in enumerate(small)]
    rooms += [RoomFacts(RoomId(f"l{i}"), A, load, members) for i, (load, members) in enumerate(large)]
    rooms += [
        RoomFacts(RoomId(f"o{i}"), node, size, size)
        for i, (node, size) in enumerate(zip((B, C), elsewhere, strict=True))
    ]
    facts = FleetFacts(rooms, THREE)
    mean = sum(loads_of(facts).values()) / 3
    limit, quarter = int(1.25 * mean), int(0.25 * mean)
    handy = [room for room in rooms if room.node == A and room.load <= quarter]
    assume(loads_of(facts)[A] - sum(room.load for room in handy) <= limit < loads_of(facts)[A])
    plan = plan_rebalance(facts)
    assert not any(node.is_hot for node in plan.nodes)
    assert plan.members <= _fewest_of(handy, loads_of(facts)[A] - limit)


def _fewest_of(rooms: Sequence[RoomFacts], need: int) -> int:
    """The fewest members of rooms that count for `need`, by a table of all loads."""
    fewest: Counter[int] = Counter({0: 0})
    for room in rooms:
        for load, members in list(fewest.items()):
            reached = min(need, load + room.load)
            fewest[reached] = min(fewest.get(reached, members + room.members), members + room.members)
    return fewest[need]


@settings(max_examples=300, deadline=None)
@given(facts=fleets())
def test_a_plan_for_balance_alone_never_makes_the_fleet_worse(facts: FleetFacts) -> None:
    serving = replace(facts, nodes=[replace(node, state=NodeState.SERVING) for node in facts.nodes], pins={})
    plan = plan_rebalance(serving)

    def over(loads: Mapping[NodeName, int], of: FleetFacts) -> int:
        hot = hot_nodes(of)
        limits = {node.node: node.limit or 0 for node in plan.nodes}
        largest = {node: max((r.load for r in of.rooms if r.node == node), default=0) for node in loads}
        return sum(loads[node] - max(limits[node], largest[node]) for node in hot)

    after = run(serving, plan)
    if plan.moves:
        assert over(loads_of(after), after) < over(loads_of(serving), serving)
