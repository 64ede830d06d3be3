"""What a client receives, as it reads it (protocol, sections 2, 3 and 5): what director and node write, mirrored."""

from typing import Literal

import msgspec

from director.contract.errors import ErrorDetail
from director.contract.ids import Epoch, LogId, NodeName, RoomId, Seq
from persistence.contract.messages import Author, Entry
from shard_node.contract.events import Limits, Position, RoomSnapshot


class Route(msgspec.Struct, frozen=True):
    """The director's answer: where to join, and the permission to."""

    room: RoomId
    node: NodeName
    url: str
    path: str
    epoch: Epoch
    ticket: str
    ticket_expires_in_ms: int
    connect_after_ms: int = 0


class Joined(msgspec.Struct, frozen=True):
    """`joined`: the first event of every connection."""

    room: RoomId
    you: Author
    pos: Position
    recovered: bool
    reason: Literal["too_far", "new_log"] | None
    entries: tuple[Entry, ...]
    snapshot: RoomSnapshot
    reconnect_window_ms: int
    limits: Limits = Limits()


class Frame(msgspec.Struct, frozen=True):
    """`frame`: entries `from_` to `to` without a hole; as a `gap` only those of staff."""

    log: LogId
    epoch: Epoch
    from_: Seq = msgspec.field(name="from")
    to: Seq = msgspec.field()
    entries: tuple[Entry, ...] = msgspec.field()


class Moved(msgspec.Struct, frozen=True):
    """`moved`: the room goes to another node; stay for `after_ms`, then join there."""

    url: str
    path: str
    node: NodeName
    epoch: Epoch
    ticket: str
    after_ms: int


class Bye(msgspec.Struct, frozen=True):
    """`bye`: the node is about to close this connection."""

    code: str
    action: str
    retry_after_ms: int = 0
    message: str = ""


class Refused(msgspec.Struct, frozen=True):
    """The error shape, wherever it stands."""

    error: ErrorDetail


def refusal_of(answer: object) -> ErrorDetail | None:
    """The error in an ack, an HTTP body or a refused connection's data; None if it holds none of this shape."""
    try:
        return msgspec.convert(answer, Refused).error
    except msgspec.ValidationError:
        return None
