"""Overload: what a node does when it has more to do than it can (design, section 4).

normal    each room goes at its own pace
batched   messages of all rooms are gathered for a tenth of a second at least
calm      for a second; counts are told less often

1. A mode is entered when one of its levels has been reached for `enter_after`, left when all have been below
   `leave_at` of its levels for `leave_after`: what made things better must not make them worse again at once.
2. Members that do not read are no load: what waits for them is bounded, and nobody else is slowed down for them.
"""

from dataclasses import dataclass, field

from shard_node.contract.events import NodeMode


@dataclass(frozen=True, slots=True)
class Strain:
    """What is measured: seconds by which the event loop was late, bytes that wait for members that keep up, seconds of
    the slowest transaction."""

    lag: float = 0.0
    outgoing: int = 0
    commit: float = 0.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a mode is called for, and when it is entered and left. Spans in seconds."""

    batched: Strain = field(default_factory=lambda: Strain(lag=0.1, outgoing=64 << 20, commit=0.25))
    calm: Strain = field(default_factory=lambda: Strain(lag=0.5, outgoing=256 << 20, commit=1.0))
    enter_after: float = 1.0
    leave_at: float = 0.5
    leave_after: float = 5.0


_RANKS = {NodeMode.NORMAL: 0, NodeMode.BATCHED: 1, NodeMode.CALM: 2}


class Overload:
    """The node's mode, and the strain that it was last judged by. Instants are monotonic."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.mode = NodeMode.NORMAL
        self.strain = Strain()
        self._thresholds = thresholds or Thresholds()
        self._worse_since: float | None = None
        self._better_since: float | None = None

    def judge(self, strain: Strain, now: float) -> NodeMode:
        """Take in what was measured since the last call, and give the mode from now on."""
        self.strain = strain
        limits = self._thresholds
        called_for, holding = self._mode_of(strain, 1.0), self._mode_of(strain, limits.leave_at)
        if _RANKS[called_for] > _RANKS[self.mode]:
            self._better_since = None
            if self._worse_since is None:
                self._worse_since = now
            if now - self._worse_since >= limits.enter_after:
                self._enter(called_for)
        elif _RANKS[holding] < _RANKS[self.mode]:
            self._worse_since = None
            if self._better_since is None:
                self._better_since = now
            if now - self._better_since >= limits.leave_after:
                self._enter(holding)
        else:
            self._worse_since = self._better_since = None
        return self.mode

    def _enter(self, mode: NodeMode) -> None:
        self.mode = mode
        self._worse_since = self._better_since = None

    def _mode_of(self, strain: Strain, share: float) -> NodeMode:
        """The mode whose levels, taken at this share, are reached."""
        limits = self._thresholds
        for mode, level in ((NodeMode.CALM, limits.calm), (NodeMode.BATCHED, limits.batched)):
            reached = (
                strain.lag >= share * level.lag,
                strain.outgoing >= share * level.outgoing,
                strain.commit >= share * level.commit,
            )
            if any(reached):
                return mode
        return NodeMode.NORMAL
