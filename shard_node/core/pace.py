"""Pace: how far apart a room's batches start, so that no room takes more of the processor than its share.

A frame costs by the member it is written to, hardly by its entries. So the larger the room and the busier the node, the
more entries share a frame (design, section 4).
"""

from shard_node.contract.events import NodeMode

SHARE = 1 / 8
"""Of the processor's time, what showing one room's frames should take."""

MOST_SHARE = 0.6
"""What it may take where even the longest pace is too short for that: then the pace is stretched, up to a calm one."""

MIN_PACE = 0.02
MAX_PACE = 0.25
BATCHED_PACE = 0.1
CALM_PACE = 1.0

_MEMORY = 0.7


class Pace:
    """One room's pace, learnt from what its broadcasts have cost for each member; it follows the room's size at once.

    Broadcasts count by their members, and the last three or so most.
    """

    __slots__ = ("_members", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._members = 0.0

    def learn(self, seconds: float, members: int) -> None:
        """Showing one batch to `members` took `seconds` of this process."""
        self._seconds = _MEMORY * self._seconds + seconds
        self._members = _MEMORY * self._members + members

    def seconds_for(self, members: int, mode: NodeMode) -> float:
        """Seconds between the starts of two batches, for a room that is this large now."""
        if mode is NodeMode.CALM:
            return CALM_PACE
        least = BATCHED_PACE if mode is NodeMode.BATCHED else MIN_PACE
        if not self._members:
            return least
        cost = self._seconds / self._members * members
        return max(min(MAX_PACE, max(least, cost / SHARE)), min(CALM_PACE, cost / MOST_SHARE))
