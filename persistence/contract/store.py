"""The store: the judge of who owns a room, and the keeper of its log (design, sections 2 and 3).

StoreUnavailable        the store cannot do it now; nothing of the call was committed
OutcomeUnknown          a commit was sent and its answer is lost: settle it by appending the same batch again
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from director.contract.ids import Epoch, Incarnation, LogId, RoomId, Seq, UserId
from persistence.contract.messages import Draft, Entry, Mode


@dataclass(frozen=True, slots=True)
class RoomState:
    """A room's row: its log, the last number given and the standing mode and notice at that number.

    `last_at` is the `at` of the last entry, 0 if there is none.
    """

    log: LogId
    epoch: Epoch
    incarnation: Incarnation
    last_seq: Seq
    last_at: int
    mode: Mode
    slow_ms: int
    notice: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """The store takes this owner's word from now on, and nobody else's."""

    state: RoomState


@dataclass(frozen=True, slots=True)
class Behind:
    """The store has seen a higher epoch, or this epoch with another incarnation: claim anew above `epoch`."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class RoomBatch:
    """Drafts for one room in their order, from the owner (epoch, incarnation), cut at Unix milliseconds `at`."""

    room: RoomId
    epoch: Epoch
    incarnation: Incarnation
    at: int
    drafts: tuple[Draft, ...]


@dataclass(frozen=True, slots=True)
class Appended:
    """Committed as this entry."""

    entry: Entry
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same author's `cid` was committed before: its first result. `digest` tells whether it asked for the same."""

    seq: Seq
    epoch: Epoch
    at: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Fenced:
    """The row names another owner, of this epoch: nothing of the room's batch was committed."""

    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Unfounded:
    """A draft that its room cannot take: its `reply_to` or `target` is no entry that can be replied to or deleted
    (`no_target`), or a student deletes another's (`not_author`). It got no number."""

    reason: Literal["no_target", "not_author"]


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The store did not take this room's part of the batch; nothing of it was committed."""

    why: str


Outcome = Appended | Duplicate | Fenced | Unfounded | Unsettled


@dataclass(frozen=True, slots=True)
class Page:
    """Entries by ascending number, without a hole among them; `more` tells whether there are others beyond."""

    entries: tuple[Entry, ...]
    more: bool


class StoreUnavailable(Exception):
    """The store cannot do it now; nothing of the call was committed. Repeating it later is harmless."""


class OutcomeUnknown(StoreUnavailable):
    """A commit was sent and its answer is lost. Append the same batch again: it is settled under the row's lock, and
    what was committed comes back as Duplicate."""


class RoomLog(Protocol):
    """What the owner of rooms writes. Calls raise StoreUnavailable; a cancelled call may have been committed."""

    async def open_room(
        self, room: RoomId, *, epoch: Epoch, incarnation: Incarnation, fresh_log: LogId
    ) -> Opened | Behind:
        """Fence: make (epoch, incarnation) the room's owner if its row's epoch is lower, or both are equal, in one
        transaction that also records the change in `owners`. A room not seen before begins with log `fresh_log`.
        Idempotent."""
        ...

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        """Append drafts of many rooms (each room once) in one transaction; outcomes stand in the order of the drafts.

        Checks each room's owner under its row's lock, numbers on from the last number without a hole, keeps `at` from
        falling, moves mode and notice, and applies a `delete` to its target. A room that is fenced or cannot be written
        does not fail the others. Idempotent by (author, cid)."""
        ...

    async def row_states(self, rooms: Sequence[RoomId]) -> Mapping[RoomId, RoomState]:
        """The rows as committed now; rooms without a row are left out."""
        ...


class RoomHistory(Protocol):
    """What anybody reads. Pages keep to `limit` entries and `max_bytes` of JSON, but hold at least one entry if there
    is one. Deleted entries come without their text."""

    async def read_before(self, room: RoomId, *, before: Seq | None, limit: int, max_bytes: int) -> Page:
        """The last entries with a number below `before` (None: of all)."""
        ...

    async def read_after(self, room: RoomId, *, after: Seq, limit: int, max_bytes: int) -> Page:
        """The first entries with a number above `after`."""
        ...

    async def find(self, room: RoomId, *, author: UserId, cid: str) -> Duplicate | None:
        """What became of an author's `cid`."""
        ...


@dataclass(frozen=True, slots=True)
class OwnerRecord:
    """One change of a room's owner as the store judged it: all entries from `first_seq` on, up to the next record's,
    are of this epoch."""

    room: RoomId
    epoch: Epoch
    incarnation: Incarnation
    first_seq: Seq


class StoreAudit(Protocol):
    """What a checker judges by."""

    async def read_owners(self, room: RoomId) -> Sequence[OwnerRecord]:
        """The room's owners by ascending epoch."""
        ...
