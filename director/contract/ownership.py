"""Room ownership as Redis records it: who should own a room. The store decides whose word counts (design, section 2).

Every change is one atomic compare-and-set that compares what its caller believes, raises the version and publishes a
notice. Epochs come from one fleet-wide counter, so no removal of a record can ever lower an epoch.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import NodeLease


class RoomRecord(msgspec.Struct, frozen=True):
    """Who should own a room and why. `version` numbers the change that wrote it; `peak` is the most members seen.

    While the owner is asked to move the room, `target` is where to, and `is_warm` tells that the target is ready for
    it. Until it has handed the room over the owner owns it as before."""

    room: RoomId
    owner: NodeName
    incarnation: Incarnation
    epoch: Epoch
    why: str
    version: int
    members: int = 0
    peak: int = 0
    moves: int = 0
    target: NodeName | None = None
    target_incarnation: Incarnation | None = None
    target_why: str = ""
    is_warm: bool = False


class PastMove(msgspec.Struct, frozen=True):
    """A change of owner as it was recorded: the room's first owner has no `source`. `at_ms` is Redis' Unix time."""

    at_ms: int
    source: NodeName | None
    target: NodeName
    epoch: Epoch
    why: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claim stands."""

    record: RoomRecord


@dataclass(frozen=True, slots=True)
class Outrun:
    """Somebody changed the room first, or the grounds do not hold: what stands now, None if nobody owns the room."""

    record: RoomRecord | None


@dataclass(frozen=True, slots=True)
class Asked:
    """The record stands as it was asked for; its owner is the same, and so is its epoch."""

    record: RoomRecord


@dataclass(frozen=True, slots=True)
class Unfit:
    """The node that was to own the room holds no lease with that incarnation."""


@dataclass(frozen=True, slots=True)
class Settling:
    """Redis was away or lost data a moment ago, and who owns what is being told anew: ask again in `remaining` s."""

    remaining: float


class RoomChanged(msgspec.Struct, frozen=True, tag="room"):
    """A room has a new record. `replaced` tells its new owner to open it at once. A record with a `target` asks the
    target to get ready, and the owner, once `is_warm`, to hand the room over."""

    generation: str
    number: int
    record: RoomRecord
    replaced: bool = False


class RoomGone(msgspec.Struct, frozen=True, tag="room_gone"):
    """A room's record was removed: it is empty, its history stays in the store."""

    generation: str
    number: int
    room: RoomId


class NodeChanged(msgspec.Struct, frozen=True, tag="node"):
    """A node took its lease, or changed its state."""

    generation: str
    number: int
    lease: NodeLease


class NodeGone(msgspec.Struct, frozen=True, tag="node_gone"):
    """An incarnation of a node is dead: it gave its lease up, was declared dead or lost its name to another.

    Told once. A lease that merely lapses publishes nothing."""

    generation: str
    number: int
    node: NodeName
    incarnation: Incarnation
    why: str


class OrdersChanged(msgspec.Struct, frozen=True, tag="orders"):
    """The operators' orders have changed: read them anew (`Orders.orders`)."""

    generation: str
    number: int


class MembersCounted(msgspec.Struct, frozen=True, tag="members"):
    """Members of rooms, as their node counts them; without a number: the newest is good enough."""

    node: NodeName
    members: dict[RoomId, int]


Notice = RoomChanged | RoomGone | NodeChanged | NodeGone | OrdersChanged | MembersCounted


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Notices may have been missed (the connection broke or was made anew): read a snapshot."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All records. Notices of the same generation with a higher number than `number` are to be applied on top;
    a record's own `version` tells which of two is newer."""

    generation: str
    number: int
    rooms: Sequence[RoomRecord]


class RoomOwners(Protocol):
    """The records. Every call raises ControlPathUnavailable when Redis does not answer; a claim that was not
    answered may have happened, and repeating it gives Outrun with the caller's own record."""

    async def claim(
        self, room: RoomId, *, node: NodeName, incarnation: Incarnation, replacing: RoomRecord | None, why: str
    ) -> Claimed | Outrun | Unfit | Settling:
        """Make `node` the owner with the next epoch, if the room's (owner, incarnation, epoch) are still those of
        `replacing` (None: nobody). An owner is only replaced if its incarnation is dead (NodeLeases says when): the
        script checks, and answers Outrun with the owner if it is not. Nothing is claimed in the settle time."""
        ...

    async def renew_claim(
        self, room: RoomId, *, node: NodeName, incarnation: Incarnation, epoch: Epoch, floor: Epoch
    ) -> Claimed | Outrun:
        """For an owner that found a higher epoch in the store: raise the counter to `floor` at least and give the same
        owner the next epoch."""
        ...

    async def assert_owned(self, records: Sequence[RoomRecord]) -> Sequence[Claimed | Outrun]:
        """For an owner whose Redis forgot: write the records again where none or one of a lower epoch stands, and raise
        the counter to the highest epoch at least. One answer for each record, in order."""
        ...

    async def release(self, room: RoomId, *, node: NodeName, incarnation: Incarnation, epoch: Epoch) -> bool:
        """Remove the record if it is exactly this one; idempotent, answers whether it did."""
        ...

    async def ask_move(
        self, record: RoomRecord, *, to: NodeName, incarnation: Incarnation, why: str
    ) -> Asked | Outrun | Unfit:
        """Ask the owner of `record` to move the room to `to`: sets the target, if (owner, incarnation, epoch) still
        stand and no other target does. Unfit if `to` holds no lease with that incarnation, or owns the room."""
        ...

    async def note_warm(self, record: RoomRecord) -> Asked | Outrun:
        """For the target of `record`: it is ready to take the room over."""
        ...

    async def cancel_move(self, record: RoomRecord) -> Asked | Outrun:
        """Take the target away, if (owner, incarnation, epoch) still stand and the target is that of `record`;
        idempotent. What has been handed over stays so."""
        ...

    async def hand_over(self, record: RoomRecord) -> Claimed | Outrun | Unfit:
        """For the owner: make the target the owner with the next epoch, if owner, epoch and target of `record` still
        stand. Unfit if the target has lost its lease: the room stays, without a target. Its notice says `replaced`.
        After ControlPathUnavailable it may have happened: `room_record` says."""
        ...

    async def take_back(self, record: RoomRecord, *, node: NodeName, incarnation: Incarnation) -> Claimed | Outrun:
        """For the former owner, where the new one does not open the room: make `node` the owner again with the next
        epoch, if (owner, incarnation, epoch) are still those of `record`. Whatever the new owner does meanwhile, the
        store judges. Outrun also if `node` holds no lease with that incarnation."""
        ...

    async def past_moves(self, room: RoomId) -> Sequence[PastMove]:
        """The latest changes of owner, 20 at most, the newest first; kept for a day after the last one."""
        ...

    async def room_record(self, room: RoomId) -> RoomRecord | None:
        """The room's record as it stands."""
        ...

    async def snapshot(self) -> Snapshot:
        """All records; those changed while it is read may be of a later number."""
        ...

    def notices(self) -> AsyncIterator[Notice | Interrupted]:
        """What changes from now on, in order; begins with Interrupted once it listens, and gives Interrupted again
        after each reconnection. Reconnects by itself for ever."""
        ...
