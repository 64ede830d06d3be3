"""Writing behind the room: drafts go in, settled batches come out in order (design, section 4)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from director.contract.ids import Epoch, Incarnation, RoomId, Seq
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


class DraftWriter(Protocol):
    """One task a node that commits the drafts of all its rooms.

    `put` keeps the order in which it is called, per room. A room's next batch is cut when its former one is settled and
    its pace has passed; a draft into a room that was idle for that long waits for the transaction under way alone. Each
    draft taken gets exactly one outcome, by the callback, in order.
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
