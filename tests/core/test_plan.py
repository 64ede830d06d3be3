"""director/core/plan: what a fleet's rooms count for, and what its nodes may hold."""

from director.contract.ids import NodeName, RoomId
from director.contract.lease import NodeState
from director.core.plan import FleetFacts, NodeFacts, RoomFacts, limits_of, loads_of

A, B, C, D = (NodeName(name) for name in "abcd")


def room(name: str, node: NodeName, load: int) -> RoomFacts:
    return RoomFacts(RoomId(name), node, load)


def test_rooms_count_for_the_node_that_they_are_on() -> None:
    rooms = [room("r1", A, 30), room("r2", A, 500), room("r3", NodeName("gone"), 90)]
    assert loads_of(FleetFacts(rooms, [NodeFacts(A), NodeFacts(B)])) == {A: 530, B: 0}


def test_what_is_still_to_come_from_draining_nodes_counts_for_the_others_limits() -> None:
    nodes = [
        NodeFacts(A),
        NodeFacts(B, capacity=3.0),
        NodeFacts(C, NodeState.DRAINING),
        NodeFacts(D, NodeState.CORDONED),
    ]
    facts = FleetFacts([room("r1", A, 100), room("r2", C, 300), room("r3", D, 9_000)], nodes)
    assert limits_of(facts.nodes, loads_of(facts)) == {A: 125, B: 375}
    assert limits_of(facts.nodes, loads_of(facts), bound=2.0) == {A: 200, B: 600}


def test_where_no_node_is_open_there_is_no_limit() -> None:
    facts = FleetFacts([room("r1", A, 100)], [NodeFacts(A, is_doubted=True)])
    assert limits_of(facts.nodes, loads_of(facts)) == {}
