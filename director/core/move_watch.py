"""Move watch: what a room's record says about a move that was asked for (contract/ownership, `ask_move`).

1. A record older than the one that was answered says nothing yet.
2. The move is over once the room has another owner, or its owner has another epoch or another target.
3. It came about if the owner is the target. An owner that took the room back, or gave the move up, has no target.
4. A room without a record was closed by its owner: nobody is in it, and nothing is left to move.
5. An owner that is dead moves nothing any more; its rooms are placed anew.
"""

from dataclasses import dataclass

from director.contract.ownership import RoomRecord


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Nothing is settled yet."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The target owns the room."""


@dataclass(frozen=True, slots=True)
class NotMoved:
    """The move came to nothing; `problem` says why, for people."""

    problem: str


@dataclass(frozen=True, slots=True)
class NobodyThere:
    """The room was closed: nobody is in it."""


Outcome = Moved | NotMoved | NobodyThere


def seen_of(asked: RoomRecord, standing: RoomRecord | None, *, owner_died: bool) -> UnderWay | Outcome:
    """What has come of the move that the record `asked` tells of, given the record that stands. `owner_died` is about
    the owner that was asked."""
    if standing is None:
        return NobodyThere()
    if (standing.epoch, standing.version) < (asked.epoch, asked.version):
        return UnderWay()
    if standing.owner == asked.target:
        return Moved()
    if standing.owner != asked.owner:
        return NotMoved(f"{standing.owner} owns the room meanwhile ({standing.why})")
    if owner_died:
        return NotMoved(f"{asked.owner} died before it had handed the room over")
    if standing.target == asked.target:
        return UnderWay()
    if standing.epoch > asked.epoch:
        return NotMoved(f"{asked.target} did not open the room, and {asked.owner} took it back")
    return NotMoved(f"{asked.owner} gave the move up: {asked.target} was not ready in time, or could not take the room")
