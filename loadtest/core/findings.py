"""Findings: what a history proves to be wrong, and what was counted on the way (design, section 2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from director.contract.ids import RoomId
from loadtest.contract.history import Seen
from persistence.contract.store import OwnerRecord


class Promise(StrEnum):
    """A promise that was broken."""

    ACK_NOT_STORED = "an acked entry is not in the log"
    ACK_ELSEWHERE = "an entry stands at another number than the ack said"
    ACK_OF_WRONG_EPOCH = "an ack names another epoch than the store's owner record"
    DOUBLED = "one cid stands in the log twice"
    LOG_HOLE = "the log's numbers have a hole"
    LOG_UNREAD = "a room's log is missing"
    AT_FELL = "the log's time goes back"
    UNREPORTED = "a member was not given a range and not told"
    REPEATED = "a member was given an entry again"
    REORDERED = "a member was given entries out of order"
    MALFORMED = "an event does not hold the range that it claims"
    BEFORE_JOINED = "a frame came without a join before it"
    MISREMEMBERED = "a member came back with a position that is not its own"
    MISSED_END = "a member that was live did not get the end of the log"
    EPOCH_FELL = "a member was served by an older epoch after a newer one"
    LOG_CHANGED = "a room has two logs"
    HEAD_FELL = "a join's head lies before what the member was shown"
    FORGOTTEN = "a position that the log holds was refused"
    SHOWN_NOT_STORED = "something was shown that is not in the log"
    SHOWN_OTHERWISE = "an entry was shown with another content"
    SHOWN_BEFORE_OWNED = "an entry was shown by an epoch before the one that wrote it"
    DELETED_SHOWN = "a text was shown after its deletion"
    TWO_OWNERS = "two nodes served one epoch"
    UNKNOWN_OWNER = "an epoch served that the store never took"
    OWNERS_DISAGREE = "the store's owner records contradict each other"
    ADMITTED_BY_STALE = "a member was admitted by an owner that had been replaced"
    SHOWN_BY_STALE = "a frame came from an owner that had been replaced"
    ROW_OF_STALE = "the store took an entry from an owner that had been replaced"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: where, for whom (None: for nobody in particular), and a sentence for people."""

    promise: Promise
    room: RoomId
    seq: int | None
    client: str | None
    sentence: str


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as the store has it."""

    seen: Seen
    at: int


@dataclass(frozen=True, slots=True)
class StoredLog:
    """A room's whole log by ascending number. `owners` is None where only members were asked. Entries up to number
    `pruned` were let go for their age: nothing is known of them but that they were there."""

    entries: Sequence[StoredEntry]
    owners: Sequence[OwnerRecord] | None
    pruned: int = 0


@dataclass(slots=True)
class Tally:
    """What was counted in one room. `shown` counts entries once for each member that was given them, `pruned` those
    acked that were let go for their age before anybody looked for them."""

    members: int = 0
    nodes: set[str] = field(default_factory=set)
    asked: int = 0
    acked: int = 0
    refused: int = 0
    unanswered: int = 0
    frames: int = 0
    gaps: int = 0
    shown: int = 0
    not_given: int = 0
    drops: int = 0
    resumed: int = 0
    restarted: int = 0
    stored: int = 0
    pruned: int = 0
    epochs: int = 0


@dataclass(frozen=True, slots=True)
class Findings:
    """The verdict: `violations` is empty if all promises were kept."""

    violations: tuple[Violation, ...]
    rooms: dict[RoomId, Tally]
    events: int
