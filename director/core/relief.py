"""Relief: the rooms that a hot node sheds to be in order again, so that as few members as possible have to move.

1. A node is in order if its rooms count for its limit at most, or if it holds one room alone, or none but pinned ones.
2. Pinned rooms are not shed. Where they alone are over the limit, all others are.
3. Else the node sheds the rooms with the fewest members that bring it to its limit, or all rooms but one that is larger
   than the limit, whichever are fewer. The former is the knapsack problem the other way round.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from director.contract.ids import RoomId
from director.core.plan import RoomFacts

MAX_STATES = 2_048


@dataclass(frozen=True, slots=True)
class Relief:
    """Rooms to shed, and their members. `at_least` is a lower bound: what counts for as much has that many or more."""

    rooms: tuple[RoomFacts, ...]
    members: int
    at_least: int


def excess_of(rooms: Sequence[RoomFacts], *, pinned: Container[RoomId], limit: int) -> int:
    """How much too much these rooms of a node count for; 0 if the node is in order."""
    held = sum(room.load for room in rooms if room.room in pinned)
    unparted = held or max((room.load for room in rooms), default=0)
    return max(0, sum(room.load for room in rooms) - max(limit, unparted))


def relief_of(
    rooms: Sequence[RoomFacts], *, pinned: Container[RoomId], limit: int, largest: int | None = None
) -> Relief:
    """What a node with these rooms sheds, nothing if it is in order; no room above `largest` if it can be done so, and
    then `at_least` is a bound for that alone."""
    if not excess_of(rooms, pinned=pinned, limit=limit):
        return Relief((), 0, 0)
    free = [room for room in rooms if room.room not in pinned]
    need = sum(room.load for room in rooms) - limit
    if sum(room.load for room in free) < need:
        return _all_of(free)
    handy = [room for room in free if largest is None or room.load <= largest]
    options = [cheapest(handy, need)]
    lone = max((room for room in rooms if room.load > limit), key=lambda room: (room.members, room.room), default=None)
    if lone is not None and len(free) == len(rooms):
        others = [room for room in rooms if room is not lone]
        if largest is None or all(room.load <= largest for room in others):
            options.append(_all_of(others))
    possible = [option for option in options if option is not None]
    if not possible:
        return relief_of(rooms, pinned=pinned, limit=limit)
    best = min(possible, key=lambda option: option.members)
    return Relief(best.rooms, best.members, min(option.at_least for option in possible))


def _all_of(rooms: Sequence[RoomFacts]) -> Relief:
    members = sum(room.members for room in rooms)
    return Relief(tuple(rooms), members, members)


def cheapest(rooms: Iterable[RoomFacts], need: int) -> Relief | None:
    """Those of `rooms` that count for `need` or more together and have the fewest members; None if all do not.

    The fewest indeed where `need` is at most 2,048; above, at most twice the fewest, and `at_least` tells how near they
    are. The same rooms whatever order they are given in. The time is bounded by the number of rooms times 2,048.
    """
    by_price = sorted(rooms, key=lambda room: (room.members / room.load, -room.load, room.room))
    if need <= 0:
        return Relief((), 0, 0)
    if sum(room.load for room in by_price) < need:
        return None
    at_least = _fractional(by_price, need)
    best = _searched(by_price, need, _greedy(by_price, need), at_least)
    found = _rooms_of(best)
    return Relief(found, best.members, best.members if need <= MAX_STATES else at_least)


class _Set(NamedTuple):
    """A set of rooms, the last one and the rest of it; compared by its members, then by how many rooms it has."""

    members: int
    rooms: int
    load: int
    last: RoomFacts | None = None
    rest: "_Set | None" = None

    def with_(self, room: RoomFacts) -> "_Set":
        return _Set(self.members + room.members, self.rooms + 1, self.load + room.load, room, self)

    def price(self) -> tuple[int, int]:
        return self.members, self.rooms


def _fractional(by_price: Sequence[RoomFacts], need: int) -> int:
    """What it would cost if rooms could be cut: nothing whole is cheaper."""
    members, following = 0, iter(by_price)
    room = next(following)
    while room.load < need:
        members, need = members + room.members, need - room.load
        room = next(following)
    return members - (-room.members * need // room.load)


def _greedy(by_price: Sequence[RoomFacts], need: int) -> _Set:
    """At most twice the fewest members (Gens and Levner, 1979): cheap rooms first, and the best last one of those that
    end it; one that would end it is not kept."""
    held, best = _Set(0, 0, 0), None
    for room in by_price:
        more = held.with_(room)
        if more.load < need:
            held = more
        elif best is None or more.price() < best.price():
            best = more
    assert best is not None, "all rooms together count for as much as is needed"
    return best


def _searched(by_price: Sequence[RoomFacts], need: int, best: _Set, at_least: int) -> _Set:
    """The best of all sets, as long as there are no more loads to tell apart than states; ends at the lower bound."""
    step = -(-need // MAX_STATES)
    states = {0: _Set(0, 0, 0)}
    for room in by_price:
        if best.members == at_least:
            break
        # What is still needed costs as much as this room does, or more: rooms come by their price.
        hopeful = [
            state
            for state in states.values()
            if (best.members - 1 - state.members) * room.load >= (need - state.load) * room.members
        ]
        states = {state.load // step: state for state in hopeful}
        for state in hopeful:
            more = state.with_(room)
            if more.load >= need:
                best = min(best, more, key=_Set.price)
            elif (held := states.get(more.load // step)) is None or more.price() < held.price():
                states[more.load // step] = more
    return best


def _rooms_of(state: _Set) -> tuple[RoomFacts, ...]:
    found: list[RoomFacts] = []
    last, rest = state.last, state.rest
    while last is not None and rest is not None:
        found.append(last)
        last, rest = rest.last, rest.rest
    return tuple(found)
