"""Arrival: how many of a class are there, so many seconds into a load run."""

import math
from enum import StrEnum

_BELL_ARRIVAL = 120.0
_BELL_HALF = 5.0
_STEADY_ARRIVAL = 30.0
_SHARE = 0.75


class Shape(StrEnum):
    """How a class arrives."""

    BELL = "bell"
    STEADY = "steady"


def present_at(after: float, *, shape: Shape, students: int, seconds: float) -> int:
    """How many of `students` are to be there `after` seconds into a run of `seconds`; at least one, and it never falls.

    `bell`: a lecture begins. All arrive within two minutes (or 75 % of a shorter run), half of them in the first five
    seconds, the last ones slowly. `steady`: one after the other within 30 s (or 75 % of the run).
    """
    return max(1, min(students, math.ceil(students * _share_at(after, shape, seconds))))


def _share_at(after: float, shape: Shape, seconds: float) -> float:
    if shape is Shape.STEADY:
        return after / min(_STEADY_ARRIVAL, seconds * _SHARE)
    window = min(_BELL_ARRIVAL, seconds * _SHARE)
    decay = math.log(2) / _BELL_HALF
    return (1 - math.exp(-decay * after)) / (1 - math.exp(-decay * window))
