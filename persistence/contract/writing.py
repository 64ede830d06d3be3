"""Writing behind the room: drafts go in, settled batches come out in order (design, section 4)."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from director.contract.ids import Epoch, Incarnation, RoomId, Seq
from director.contract.spread import QUICK, Spread
from persistence.contract.messages import Draft
from persistence.contract.store import Outcome


@dataclass(frozen=True, slots=True)
class Settled:
    """The drafts of one room that one transaction settled, in order, each with its outcome."""

    room: RoomId
    epoch: Epoch
    results: tuple[tuple[Draft, Outcome], ...]


OnSettled = Callable[[Settled], None]

PaceOf = Callable[[RoomId], float]
"""How far apart the batches of a room start at least, in seconds."""


ENTRIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


@dataclass(frozen=True, slots=True)
class WriterTally:
    """What a writer has counted since it began: transactions by how they ended (`committed`, `unclear`, `unavailable`),
    the seconds and the drafts of each, and the seconds from each draft's `put` to the store's word."""

    ended: Counter[str] = field(default_factory=Counter)
    seconds: Spread = field(default_factory=lambda: Spread(QUICK))
    drafts: Spread = field(default_factory=lambda: Spread(ENTRIES))
    settle_seconds: Spread = field(default_factory=lambda: Spread(QUICK))


class DraftWriter(Protocol):
    """One task a node that commits the drafts of all its rooms.

    `put` keeps the order in which it is called, per room. A room's next batch is cut when its former one is settled and
    its pace has passed; a draft into a room that was idle for that long waits for the transaction under way alone. Each
    draft taken gets exactly one outcome, by the callback, in order; but while it is unclear what a commit did, those
    that wait behind it may be told Unsettled before what was in it is told anything.
    """

    def put(self, room: RoomId, draft: Draft, *, epoch: Epoch, incarnation: Incarnation, head: Seq) -> bool:
        """Take a draft; False, and nothing is taken, if as many as the bound allows are waiting.

        `head` is the last number of the room that the caller knows, from its opening or from what was settled since: of
        an unclear commit it tells what that commit made from what was there before."""
        ...

    def forget(self, room: RoomId, *, epoch: Epoch) -> None:
        """Let go of a room that is closed or lost: what waits and is not on its way to the store gets Fenced(epoch).
        Of drafts whose commit is unclear this says nothing but that the room has moved on."""
        ...

    def hurry(self, room: RoomId) -> None:
        """Let what waits of the room go into the next transaction, whatever its pace."""
        ...
