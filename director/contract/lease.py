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
    origin for the director's probes; `store_ok` tells whether its openings succeed (`GET {probe_url}/healthz` answers `{"ok": true, "node", "incarnation"}`).
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


@dataclass(frozen=True, slots=True)
class Renewed:
    """The lease stands. `generation` names this life of the Redis data, `server_at_ms` is Redis' time at renewal."""

    generation: str
    server_at_ms: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease lapsed, was taken by a newer incarnation or was declared dead: drop all rooms now."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Redis came back as another generation that does not know the lease: nothing was lost, assert again."""

    generation: str


class NodeLeases(Protocol):
    """The leases, as a node keeps its own. Every call raises ControlPathUnavailable when Redis does not answer."""

    async def acquire(self, lease: NodeLease, *, expire: float) -> Renewed:
        """Take the name `lease.node`, also from a former incarnation (which is thereby dead)."""
        ...

    async def renew(
        self, lease: NodeLease, *, expire: float, generation: str, members: Mapping[RoomId, int]
    ) -> Renewed | Lost | Forgotten:
        """Extend the lease if this incarnation still holds it; report the members of rooms where the number changed."""
        ...

    async def release(self, node: NodeName, incarnation: Incarnation) -> bool:
        """Give the lease up if this incarnation holds it; idempotent, answers whether it did."""
        ...

    async def declare_dead(self, node: NodeName, incarnation: Incarnation, *, why: str) -> bool:
        """Take the lease from an incarnation proven dead; False if another incarnation or nobody holds it."""
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
    """One read of all leases: count `remaining` from when the request was *sent*.

    `number` is that of the last change then: a listener that has not heard it a while later has missed notices.
    """

    generation: str
    server_at_ms: int
    nodes: Sequence[LiveNode]
    number: int = 0
