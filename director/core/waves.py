"""Waves: the moves of a plan as a budget allows them, some rooms at a time.

1. Waves are run one after the other, the moves of one wave side by side, in the order of the plan: small rooms first.
2. A wave has at most `max_rooms` moves, and at most as many members as the budget moves in a second.
3. A room with more members than that goes alone: the biggest ones, at the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Paced(Protocol):
    """A move as a budget sees it: how many members it moves, and the seconds that it should take."""

    @property
    def members(self) -> int: ...

    @property
    def seconds(self) -> float: ...


M = TypeVar("M", bound=Paced)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be on the move. Raises ValueError unless both are more than 0."""

    max_rooms: int = 4
    max_members_per_second: float = 500.0

    def __post_init__(self) -> None:
        if self.max_rooms < 1 or self.max_members_per_second <= 0:
            raise ValueError(f"a budget moves at least a room at a time, and more than 0 members a second: {self}")


@dataclass(frozen=True, slots=True)
class Wave(Generic[M]):
    """Moves that are run side by side. `seconds` is what they should take, no less than the budget's pace asks for: the
    next wave begins no sooner."""

    moves: tuple[M, ...]
    seconds: float

    @property
    def members(self) -> int:
        """How many members are moved at once."""
        return sum(move.members for move in self.moves)


def waves_of(moves: Iterable[M], budget: Budget) -> tuple[Wave[M], ...]:
    """All moves, in their order, in as few waves as the budget allows in that order."""
    waves: list[list[M]] = []
    members = 0
    for move in moves:
        is_full = not waves or len(waves[-1]) == budget.max_rooms
        if is_full or members + move.members > budget.max_members_per_second:
            waves.append([])
            members = 0
        waves[-1].append(move)
        members += move.members
    return tuple(_wave(wave, budget) for wave in waves)


def _wave(moves: list[M], budget: Budget) -> Wave[M]:
    paced = sum(move.members for move in moves) / budget.max_members_per_second
    return Wave(tuple(moves), max(paced, *(move.seconds for move in moves)))
