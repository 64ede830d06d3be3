"""Socket.IO events between clients and a node, in their wire shapes (protocol, sections 3 to 5)."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from director.contract.ids import Epoch, LogId, NodeName, RoomId, Seq
from persistence.contract.messages import Author, Entry, Mode

PROTOCOL_VERSION = 1

MAX_TEXT_LENGTH = 2_000
MAX_CID_LENGTH = 64
MAX_EVENT_BYTES = 16 * 1024
MAX_PAYLOAD_BYTES = 64 * 1024
MAX_IN_FLIGHT = 8
MAX_TAIL = 200
MAX_PAGE = 200
MAX_RECOVERED = 500
MAX_ANSWER_BYTES = 256 * 1024
MAX_SLOW_MS = 60 * 60 * 1000
MAX_REASON_LENGTH = 200
MAX_MEMBERS_PAGE = 500
REACTIONS = ("👍", "👏", "❤️", "😂", "😮", "❓", "✅", "🎉")

# integers that every JSON reader and every database holds exactly
Whole = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Number = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Cid = Annotated[str, Meta(min_length=1, max_length=MAX_CID_LENGTH)]


class Position(msgspec.Struct, frozen=True):
    """The last entry that a client has applied, and the highest epoch that has served it."""

    log: LogId
    epoch: Epoch
    seq: Seq


class Since(msgspec.Struct, frozen=True):
    """A position as a client presents it."""

    log: Annotated[str, Meta(max_length=64)]
    epoch: Whole
    seq: Whole

    @property
    def position(self) -> Position:
        return Position(LogId(self.log), Epoch(self.epoch), Seq(self.seq))


class JoinRequest(msgspec.Struct, frozen=True):
    """What a client presents when it connects. `room`, if given, must be the ticket's."""

    v: int = PROTOCOL_VERSION
    ticket: str | None = None
    since: Since | None = None
    tail: Annotated[int, Meta(ge=0, le=MAX_TAIL)] = 50
    room: str | None = None


class SendRequest(msgspec.Struct, frozen=True):
    """`send`: add a message or a question."""

    cid: Cid
    text: str
    reply_to: Number | None = None
    kind: Literal["message", "question"] = "message"


class HistoryRequest(msgspec.Struct, frozen=True):
    """`history`: entries before or after a number; the newest if neither is given."""

    before: Whole | None = None
    after: Whole | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class DeleteRequest(msgspec.Struct, frozen=True):
    """`delete`: take an entry's text away."""

    cid: Cid
    target: Number


class NoticeRequest(msgspec.Struct, frozen=True):
    """`notice`: put up a notice, or take it down (null)."""

    cid: Cid
    text: str | None


class ModeRequest(msgspec.Struct, frozen=True):
    """`mode`: who may send, and how often a student may."""

    cid: Cid
    mode: Mode
    slow_ms: Annotated[int, Meta(ge=0, le=MAX_SLOW_MS)] = 0


class ReactRequest(msgspec.Struct, frozen=True):
    """`react`: show an emoji of the room's set to everybody, without a trace."""

    emoji: Annotated[str, Meta(min_length=1, max_length=16)]


class MembersRequest(msgspec.Struct, frozen=True):
    """`members`: people by ascending id, above `after`."""

    after: Annotated[str, Meta(max_length=128)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_MEMBERS_PAGE)] = 100


class Changed(msgspec.Struct, frozen=True):
    """Ack of an event that added an entry: where it stands. `dup` tells that an earlier try had added it."""

    seq: Seq
    epoch: Epoch
    at: int
    dup: bool
    ok: bool = True


class HistoryPage(msgspec.Struct, frozen=True):
    """Ack of `history`, by ascending number; `more` tells whether there are others beyond."""

    entries: tuple[Entry, ...]
    more: bool
    ok: bool = True


class RoomSnapshot(msgspec.Struct, frozen=True):
    """The room's standing state, valid exactly at the head."""

    mode: Mode
    slow_ms: int
    notice: str | None
    members: int


class Limits(msgspec.Struct, frozen=True):
    """What this node accepts."""

    max_text_length: int = MAX_TEXT_LENGTH
    max_event_bytes: int = MAX_EVENT_BYTES
    max_in_flight: int = MAX_IN_FLIGHT
    max_page: int = MAX_PAGE
    max_tail: int = MAX_TAIL
    reactions: tuple[str, ...] = REACTIONS


class Joined(msgspec.Struct, frozen=True):
    """`joined`: the first event of every connection."""

    room: RoomId
    you: Author
    pos: Position
    recovered: bool
    reason: Literal["too_far", "new_log"] | None
    entries: msgspec.Raw
    snapshot: RoomSnapshot
    limits: Limits
    reconnect_window_ms: int


class Frame(msgspec.Struct, frozen=True):
    """`frame`, and `gap`: entries from..to; a `gap` carries those of staff and deletions alone."""

    log: LogId
    epoch: Epoch
    from_: Seq = msgspec.field(name="from")
    to: Seq = msgspec.field()
    entries: tuple[msgspec.Raw, ...] = msgspec.field()


class NodeMode(StrEnum):
    """How a node that has much to do goes on: `batched` and `calm` gather messages for longer."""

    NORMAL = "normal"
    BATCHED = "batched"
    CALM = "calm"


class Ambient(msgspec.Struct, frozen=True):
    """`ambient`: newest counts, at most every 2 s, and how much the node has to do."""

    members: int
    reactions: dict[str, int]
    node_mode: NodeMode = NodeMode.NORMAL


class Bye(msgspec.Struct, frozen=True):
    """`bye`: before every orderly close."""

    code: str
    action: str
    retry_after_ms: int
    message: str | UnsetType = UNSET


class Moved(msgspec.Struct, frozen=True):
    """`moved`: the room is another node's; stay for `after_ms`, then join there with your position. The ticket is good
    for 30 s more at least."""

    url: str
    path: str
    node: NodeName
    epoch: Epoch
    ticket: str
    after_ms: int


class Members(msgspec.Struct, frozen=True):
    """Ack of `members`, by ascending user id; `more` tells whether there are others beyond."""

    members: tuple[Author, ...]
    more: bool
    ok: bool = True


class Done(msgspec.Struct, frozen=True):
    """Ack of an event that changes no log."""

    ok: bool = True
