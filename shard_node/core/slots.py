"""Slots: when each member of a room that has moved goes to the room's new node.

1. They go one after the other at the pace at which the new node admits, so that it is not stormed.
2. Those whose words wait for it, and staff, go first, and have a head start: what they have to say is heard before the
   crowd comes. The others go in the order in which they came.
3. However many they are, the last one goes within `MAX_SPREAD` of the first: the new node has a place in its own queue
   for whoever is one too many.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from director.contract.ids import UserId
from persistence.contract.messages import Author

MAX_SPREAD = 20.0
HEAD_START = 0.3
MIN_JOINS_PER_SECOND = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slot(Generic[T]):
    """`who` goes `after` so many seconds."""

    who: T
    after: float


def slots_of(
    members: Iterable[tuple[T, Author]], *, waiting: Collection[UserId], joins_per_second: float
) -> tuple[Slot[T], ...]:
    """Everybody's slot, by ascending time. `waiting` are those whose words are held."""
    first: list[T] = []
    others: list[T] = []
    for who, author in members:
        (first if author.id in waiting or author.role.is_staff else others).append(who)
    rate = max(MIN_JOINS_PER_SECOND, joins_per_second, (len(first) + len(others)) / (MAX_SPREAD - HEAD_START))
    crowd_at = max(HEAD_START, len(first) / rate) if first else 0.0
    ahead = (Slot(who, place / rate) for place, who in enumerate(first))
    behind = (Slot(who, crowd_at + place / rate) for place, who in enumerate(others))
    return (*ahead, *behind)
