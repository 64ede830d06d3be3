"""A node's lease: its proof, kept in Redis, that it lives (design, section 3)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Protocol

import msgspec

from director.contract.ids import Incarnation, NodeName, RoomId


@dataclass(frozen=True, slots=True)
class LeaseTimings:
    """Spans of the lease ladder in seconds; the same on every process of a fleet.

    Raises ValueError unless 0 < stop_accepting < drop_rooms, both reached before a director may give the rooms to
    another: renew < stop_accepting < drop_rooms <= expire - guard.
    """

    renew: float = 1.0
    stop_accepting: float = 3.0
    drop_rooms: float = 5.0
    expire: float = 6.0
    guard: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.renew < self.stop_accepting < self.drop_rooms <= self.expire - self.guard:
            raise ValueError(
                f"lease timings out of order, need 0 < renew < stop_accepting < drop_rooms <= expire - guard: {self}"
            )

    @property
    def settle(self) -> float:
        """How long nobody is declared dead and nothing is claimed after Redis was away or lost data: each node that
        lives has asked three times by then."""
        return 3 * self.renew

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits: nodes publish it, the director warns when one differs from its own."""
        return hashlib.blake2b(repr(astuple(self)).encode(), digest_size=4).hexdigest()


class NodeState(StrEnum):
    """Whether a node may be given rooms."""

    SERVING = "serving"
    CORDONED = "cordoned"
    DRAINING = "draining"


class NodeLease(msgspec.Struct, frozen=True):
    """What a node says about itself with each renewal.

    `url` is the origin that clients use, `path` the Socket.IO path with its slashes, `probe_url` the node's own
    origin for the director's probes (`GET {probe_url}/healthz` answers `{"ok": true, "node", "incarnation"}`);
    `store_ok` tells whether its openings at the store succeed; `joins_per_second` is the rate at which it admits.
    """

    node: NodeName
    incarnation: Incarnation
    url: str
    path: str
    probe_url: str
    timings: str
    state: NodeState = NodeState.SERVING
    members: int = 0
    rooms: int = 0
    store_ok: bool = True
    joins_per_second: float = 1_000.0


@dataclass(frozen=True, slots=True)
class Renewed:
    """The lease stands. `generation` names this life of the Redis data, `server_at_ms` is Redis' time at renewal."""

    generation: str
    server_at_ms: int


@dataclass(frozen=True, slots=True)
class Lost:
    """This incarnation is dead, by a verdict or because another holds the name: drop all rooms now."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The lease lapsed or Redis lost it, and nobody is known to have declared the node dead: nothing was lost. Acquire
    again and assert the rooms."""

    generation: str


class NodeLeases(Protocol):
    """The leases, as a node keeps its own. Every call raises ControlPathUnavailable when Redis does not answer.

    Death is a verdict and final: it is written down for a day, and an incarnation that is dead holds no lease again.
    An incarnation is dead once it was proven so, has released its lease, another incarnation took its name, or a
    verdict on its lapsed lease said so (`Verdicts`). A lease that merely lapsed is none of these.
    """

    async def acquire(self, lease: NodeLease, *, expire: float) -> Renewed | Lost:
        """Take the name `lease.node`, also from a former incarnation (which is thereby dead)."""
        ...

    async def renew(
        self, lease: NodeLease, *, expire: float, members: Mapping[RoomId, int]
    ) -> Renewed | Lost | Forgotten:
        """Extend the lease if this incarnation still holds it; report the members of rooms where the number changed.

        Renewed in another generation than before says that records may be lost, though the lease is not: assert the
        rooms."""
        ...

    async def release(self, node: NodeName, incarnation: Incarnation) -> bool:
        """End this incarnation in good order; idempotent, answers whether it held the lease."""
        ...

    async def declare_dead(self, node: NodeName, incarnation: Incarnation, *, why: str) -> bool:
        """Write down that an incarnation is proven dead, and take its lease; answers whether it held it."""
        ...

    async def live_nodes(self) -> "LiveNodes":
        """All leases that stand, with what is left of each in seconds, in one consistent read."""
        ...


@dataclass(frozen=True, slots=True)
class LiveNode:
    """A lease that stands and the seconds that were left of it when Redis answered."""

    lease: NodeLease
    remaining: float


@dataclass(frozen=True, slots=True)
class LiveNodes:
    """One read of all leases: count `remaining` and `settles_in` from when the request was *sent*.

    `number` is that of the last change then: a listener that has not heard it a while later has missed notices.
    `lapsed` are the last words of nodes whose lease lapsed and that nobody has declared dead. `settles_in` is what is
    left of the settle time in seconds, 0 if there is none.
    """

    generation: str
    server_at_ms: int
    nodes: Sequence[LiveNode]
    number: int = 0
    lapsed: Sequence[NodeLease] = ()
    settles_in: float = 0.0
