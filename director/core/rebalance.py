"""Rebalancing: the plan that mends a fleet whose rooms lie badly (design, section 3).

1. A pinned room moves to its pin if that node is open (it serves and its store is in order). It moves nowhere else,
   unless it stands on a draining node.
2. Every room leaves a draining node; where no node is open, it stays and is named as stranded.
3. A cordoned or doubted node gives away what is pinned elsewhere, keeps the rest and gets nothing.
4. The mean is the load of all rooms on open nodes, counting those that rules 1 and 2 bring, for each unit of capacity.
   A node's limit is `bound` (1.25) x mean x its capacity. A node is hot if it is over that and holds several rooms, of
   which not all are pinned: a room that is larger than any limit should be alone, and alone it is in order.
5. While no open node is hot, no room moves but by rules 1 and 2.
6. A hot node sheds the rooms with the fewest members that bring it to its limit (`relief`). The rooms that were shed
   go, the largest first, each to the open node that is then the least loaded for its capacity.
7. If nodes are hot after that, rule 6 is tried with rooms to shed of which the largest fits the roomiest node, and with
   small ones only: of at most (bound - 1) x mean x the least capacity. What leaves the least excess counts, then what
   moves the fewest members; and again from there, as long as the excess of all nodes together falls.

What a caller may rely on:

- The plan does not depend on the order of the facts, and planning again after it was run gives an empty plan.
- No plan that obeys rules 1 to 3 and leaves no node hot moves fewer members than `Plan.at_least`. Where rule 6 is
  enough, the plan moves exactly so many; at most twice the fewest where a node has to shed more than 2,048.
- If every hot node can be brought to its limit by small rooms (rule 7), and all rooms of draining nodes are small too,
  then no node is hot after the plan, and it moves no more members than the cheapest of these small rooms have (twice
  that, as above): the least loaded node always has room for a small one. Else it is bin packing, and may fail.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from director.contract.ids import NodeName, RoomId
from director.contract.lease import NodeState
from director.core.placement import BOUND
from director.core.plan import MOVE_OVERHEAD, FleetFacts, Move, NodeLoad, Plan, RoomFacts, Why
from director.core.relief import Relief, excess_of, relief_of

Places = Mapping[RoomId, NodeName]


def plan_rebalance(facts: FleetFacts, *, bound: float = BOUND) -> Plan:
    """The plan by all rules. The nearer to 1 `bound` is, the more members move; raises ValueError if it is not above 1.

    Pure computation, some tenths of a second for thousands of rooms: not for a loop that others wait for.
    """
    fleet = _Fleet(facts, bound)
    places, homeless = fleet.places, fleet.homeless
    best = fleet.housed(places, homeless)
    while excess := fleet.excess(best):
        mended = fleet.mended(places, homeless)
        if fleet.excess(mended) < excess:
            places, homeless, best = mended, (), mended
        elif homeless:
            # The next plan begins where this one ends, and is to find nothing.
            places, homeless = best, ()
        else:
            break
    return fleet.plan(best, at_least=fleet.ordered_members + fleet.least_shed())


def plan_drain(facts: FleetFacts, node: NodeName) -> Plan:
    """The plan that empties one node, as if it were draining, by rules 1 and 2; nothing else moves, hot or not."""
    fleet = _Fleet(facts, BOUND, only=node)
    return fleet.plan(fleet.housed(fleet.places, fleet.homeless), at_least=fleet.ordered_members)


class _Fleet:
    """The facts, and what rules 1 and 2 make of them: `places` of all rooms, and those of them that are `homeless`."""

    def __init__(self, facts: FleetFacts, bound: float, *, only: NodeName | None = None) -> None:
        if bound <= 1:
            raise ValueError(f"no fleet can be kept within {bound} times its mean")
        self._nodes = {node.node: node for node in sorted(facts.nodes, key=lambda node: node.node)}
        self._open = [name for name, node in self._nodes.items() if node.is_open and name != only]
        self._rooms = {
            room.room: room for room in sorted(facts.rooms, key=lambda room: room.room) if room.node in self._nodes
        }
        self._pins = facts.pins
        self._draining = {node.node for node in facts.nodes if node.state is NodeState.DRAINING or node.node == only}
        self._start = {name: room.node for name, room in self._rooms.items()}
        concerned = [room for room in self._rooms.values() if only is None or room.node == only]
        pinned = {room.room: self._pins[room.room] for room in concerned if self._pins.get(room.room) in self._open}
        leaving = [room for room in concerned if room.node in self._draining and room.room not in pinned]
        self.places: Places = self._start | pinned
        self.homeless: Sequence[RoomFacts] = leaving if self._open else ()
        self._stranded = () if self._open else tuple(room.room for room in leaving)
        self._limits, self._small = self._measured(bound)
        self._reliefs: dict[tuple[NodeName, int | None, frozenset[RoomFacts]], Relief] = {}

    def _measured(self, bound: float) -> tuple[Mapping[NodeName, int], int]:
        """The limit of each open node, and what a small room is."""
        if not self._open:
            return {}, 0
        capacities = {node: self._nodes[node].capacity for node in self._open}
        load = sum(room.load for name, room in self._rooms.items() if self.places[name] in capacities)
        mean = (load + sum(room.load for room in self.homeless)) / sum(capacities.values())
        limits = {node: int(bound * mean * capacity) for node, capacity in capacities.items()}
        return limits, int((bound - 1) * mean * min(capacities.values()))

    def mended(self, places: Places, homeless: Sequence[RoomFacts]) -> Places:
        """The best of what comes of shedding any rooms, those that fit somewhere, and small ones, in that order; the
        first that leaves no node hot, for what follows it has fewer rooms to choose from."""
        loads = self._loads(places)
        roomiest = max(limit - loads[node] for node, limit in self._limits.items())
        found: list[Places] = []
        for largest in (None, max(roomiest, self._small), self._small):
            shed = [
                room
                for node, rooms in self._by_node(places).items()
                for room in self._relief(node, rooms, largest).rooms
            ]
            found.append(self.housed(places, [*homeless, *shed]))
            if not self.excess(found[-1]):
                return found[-1]
        return min(found, key=self._price)

    def _relief(self, node: NodeName, rooms: Sequence[RoomFacts], largest: int | None) -> Relief:
        # Most nodes are the same in every try, and the search is what takes time.
        key = (node, largest, frozenset(rooms))
        if key not in self._reliefs:
            limit = self._limits[node]
            self._reliefs[key] = relief_of(rooms, pinned=self._pins, limit=limit, largest=largest)
        return self._reliefs[key]

    def housed(self, places: Places, homeless: Sequence[RoomFacts]) -> Places:
        """Where all rooms are once these have gone to where there is most room, the largest first."""
        found, loads = dict(places), self._loads(places)
        for room in homeless:
            loads[places[room.room]] -= room.load
        for room in sorted(homeless, key=lambda room: (-room.load, room.room)):
            target = self._roomiest(room, loads, stays=places[room.room])
            found[room.room] = target
            loads[target] += room.load
        return found

    def _roomiest(self, room: RoomFacts, loads: Mapping[NodeName, int], *, stays: NodeName) -> NodeName:
        def price(node: NodeName) -> tuple[float, bool, NodeName]:
            return (loads[node] + room.load) / self._nodes[node].capacity, node != stays, node

        return min(self._open, key=price)

    def excess(self, places: Places) -> int:
        """How much too much all nodes hold together."""
        return sum(self._excess(node, rooms) for node, rooms in self._by_node(places).items())

    def _excess(self, node: NodeName, rooms: Sequence[RoomFacts]) -> int:
        return excess_of(rooms, pinned=self._pins, limit=self._limits[node])

    @property
    def ordered_members(self) -> int:
        """The members that rules 1 and 2 move."""
        return sum(room.members for room in [*self._moved(self.places), *self.homeless])

    def least_shed(self) -> int:
        """The members that nodes which are hot by then shed at least, whoever plans."""
        by_node = self._by_node(self.places)
        return sum(self._relief(node, rooms, None).at_least for node, rooms in by_node.items())

    def _price(self, places: Places) -> tuple[int, int]:
        """The excess, then the members that have moved: what is less is better."""
        return self.excess(places), sum(room.members for room in self._moved(places))

    def _moved(self, places: Places) -> Iterator[RoomFacts]:
        return (room for name, room in self._rooms.items() if places[name] != room.node)

    def _by_node(self, places: Places) -> Mapping[NodeName, Sequence[RoomFacts]]:
        """The rooms of each open node."""
        rooms: dict[NodeName, list[RoomFacts]] = {node: [] for node in self._open}
        for name, room in self._rooms.items():
            if places[name] in rooms:
                rooms[places[name]].append(room)
        return rooms

    def _loads(self, places: Places) -> Counter[NodeName]:
        loads: Counter[NodeName] = Counter()
        for name, room in self._rooms.items():
            loads[places[name]] += room.load
        return loads

    def plan(self, places: Places, *, at_least: int) -> Plan:
        """The plan that brings all rooms from where they are to these places."""
        moves = sorted(self._moved(places), key=lambda room: (room.members, room.load, room.room))
        before, after, rooms = self._loads(self._start), self._loads(places), self._by_node(places)
        return Plan(
            moves=tuple(self._move(room, places[room.room]) for room in moves),
            nodes=tuple(
                NodeLoad(
                    node=node,
                    before=before[node],
                    after=after[node],
                    limit=self._limits.get(node),
                    is_hot=node in rooms and self._excess(node, rooms[node]) > 0,
                )
                for node in self._nodes
            ),
            stranded=self._stranded,
            at_least=at_least,
        )

    def _move(self, room: RoomFacts, target: NodeName) -> Move:
        why: Why = "balance"
        if self._pins.get(room.room) == target:
            why = "pinned"
        elif room.node in self._draining:
            why = "draining"
        seconds = MOVE_OVERHEAD + room.members / self._nodes[target].joins_per_second
        return Move(room.room, room.node, target, why, room.load, room.members, seconds)
