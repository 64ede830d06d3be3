"""An ask: one thing that a writing transaction wants of its database, in rows and without any technology.

A transaction is a generator of asks (persistence.transactions); it is handed the rows of each, is committed when it
returns and rolled back when it raises. What runs it (sqlite_transact, postgres_transact) knows its database's words for
each ask, and throws RoomFault into it where one room's own rows or words are at fault.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from director.contract.ids import Epoch, Incarnation, RoomId, Seq, UserId
from persistence.contract.store import StoreUnavailable
from persistence.rows import EntryValues, RoomValues

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LockRooms:
    """Lock these rooms' rows, in the order of their ids, until the transaction ends. Rows of `STATE_COLUMNS`."""

    rooms: Sequence[RoomId]


@dataclass(frozen=True, slots=True)
class FindCids:
    """The entries of these rooms, authors and cids. Rows of the key, then seq, epoch, at, digest."""

    keys: Sequence[tuple[RoomId, UserId, str]]


@dataclass(frozen=True, slots=True)
class FindTargets:
    """The entries of these numbers. Rows of the key, then author, kind, deleted."""

    keys: Sequence[tuple[RoomId, Seq]]


@dataclass(frozen=True, slots=True)
class AddEntries:
    """New rows of `entries`."""

    rows: Sequence[EntryValues]


@dataclass(frozen=True, slots=True)
class MoveRooms:
    """What rows of `rooms` say after a batch: room, last_seq, last_at, mode, slow_ms, notice."""

    rows: Sequence[tuple[RoomId, Seq, int, str, int, str | None]]


@dataclass(frozen=True, slots=True)
class TakeTexts:
    """Take the text of these entries away."""

    keys: Sequence[tuple[RoomId, Seq]]


@dataclass(frozen=True, slots=True)
class AddRoom:
    """A new row of `rooms`. One row if it was added, none if another transaction has added that room before."""

    row: RoomValues


@dataclass(frozen=True, slots=True)
class HandOver:
    """A room's row names another owner from now on."""

    room: RoomId
    epoch: Epoch
    incarnation: Incarnation


@dataclass(frozen=True, slots=True)
class AddOwner:
    """A new row of `owners`."""

    room: RoomId
    epoch: Epoch
    incarnation: Incarnation
    first_seq: Seq


@dataclass(frozen=True, slots=True)
class SetMark:
    """Remember this point of the transaction, in the place of any former one."""


@dataclass(frozen=True, slots=True)
class BackToMark:
    """Undo what was done since the mark."""


Ask = (
    LockRooms
    | FindCids
    | FindTargets
    | AddEntries
    | MoveRooms
    | TakeTexts
    | AddRoom
    | HandOver
    | AddOwner
    | SetMark
    | BackToMark
)

Steps = Generator[Ask, Sequence[Sequence[Any]], T]


class RoomFault(Exception):
    """One room's own rows or words cannot be written: its numbers stand in the way, its text is no Unicode, a number
    does not fit its column. The other rooms of a batch can be."""


class TryAgain(StoreUnavailable):
    """Nothing was committed, and it may pass within moments: somebody else holds what is to be locked, or the
    connection is gone."""


class Transact(Protocol):
    """Runs one writing transaction."""

    async def __call__(self, steps: Steps[T]) -> T:
        """What `steps` returned, when it is committed. Raises StoreUnavailable, of which TryAgain may pass by itself
        and OutcomeUnknown may have been committed; RoomFault; and what `steps` raises. Cancelled, it may have been
        committed."""
        ...
