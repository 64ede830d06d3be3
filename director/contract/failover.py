"""Failover as directors share it: verdicts on nodes whose leases lapsed, and who is steward (design, section 3)."""

from dataclasses import dataclass
from typing import Protocol

from director.contract.ids import Incarnation, NodeName
from director.contract.ownership import Settling

# An outage that takes many nodes' leases at once is an outage of Redis or the network, rather than of the nodes.
VERDICT_WINDOW = 60.0
MAX_DEATHS_PERCENT = 30
STEWARD_TTL = 3.0


@dataclass(frozen=True, slots=True)
class Departed:
    """The incarnation is dead, by this verdict or a former one: its rooms can be claimed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The incarnation holds its lease."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Too many nodes have been declared dead of late. It stays so until an operator lifts the limit (`hall failover
    resume`) or `remaining` seconds have passed."""

    remaining: float


class Verdicts(Protocol):
    """Verdicts on lapsed leases, and the steward's office. Every call raises ControlPathUnavailable when Redis does not
    answer; all are idempotent."""

    async def judge(self, node: NodeName, incarnation: Incarnation) -> Departed | Standing | Settling | HeldBack:
        """Declare an incarnation without a lease dead, if it is not yet.

        At most max(1, 30 % of the nodes that are known) are declared dead in 60 s, counted in Redis over all directors;
        deaths that were proven, releases and names that were taken over do not count. None is in the settle time."""
        ...

    async def resume(self) -> int:
        """Lift the limit for 60 s, at an operator's word; answers how many lapsed nodes wait for a verdict."""
        ...

    async def stand(self, name: str, *, ttl: float) -> bool:
        """Be steward for `ttl` seconds more, if nobody else is; answers whether `name` is steward."""
        ...

    async def resign(self, name: str) -> None:
        """Let another be steward at once."""
        ...
