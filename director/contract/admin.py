"""The admin interface's shapes: what operators ask of a director over HTTP, and what it answers (protocol, section 2).

Instants end in `_at_ms` (or are called `at_ms`) and are Unix milliseconds by Redis' clock; spans end in `_ms`. Every
answer has `ok: true`; a refusal is the error shape of contract/errors.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.operations import Operation, OperationPlan
from director.contract.ownership import PastMove

MAX_ROOM_AREAS = 5_000
MAX_ROOMS_LISTED = 1_000

Rate = Annotated[float, Meta(gt=0, le=1_000_000)]
AtATime = Annotated[int, Meta(ge=1, le=1_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]

# -- what is asked


class DrainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /admin/nodes/{node}/drain`; `plan` only shows what would be moved."""

    plan: bool = False
    rooms_at_a_time: AtATime = 4
    members_per_second: Rate = 500.0
    within_s: Seconds = 300.0


class MoveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /admin/rooms/{room}/move`."""

    to: str
    plan: bool = False


class PinBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`PUT /admin/rooms/{room}/pin`."""

    node: str


class CapacityBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`PUT /admin/nodes/{node}/capacity`; 1.0 is what a node has of whom nothing was said."""

    share: Annotated[float, Meta(gt=0, le=1_000)]


class ChosenMove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A move as a former plan said it."""

    room: str
    source: str
    target: str


class RebalanceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /admin/rebalance`: `plan: true` shows, `false` runs. `moves` are those of a plan that was shown: exactly
    these are run, or none: BAD_REQUEST is answered if one of them no longer fits, which another plan mends, and BUSY
    while a room of them is being moved."""

    plan: bool
    bound: Annotated[float, Meta(gt=1, le=10)] = 1.25
    rooms_at_a_time: AtATime = 4
    members_per_second: Rate = 500.0
    moves: tuple[ChosenMove, ...] | None = None


class ReserveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`PUT /admin/rooms/{room}/reservations`: so many members are expected from `at_ms` on for `minutes`."""

    members: int
    at_ms: int
    minutes: int


class SessionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /admin/session`."""

    token: str


# -- what is answered


class NodeAnswer(msgspec.Struct, frozen=True):
    """A node. `state` is the more of what its lease says and what was ordered (`order`, null: nothing was).

    `rooms` and `members` are those that its records count, `load` is what they count for, reservations included;
    `limit` is what several rooms may count for there, null where it is given none. `has_lapsed`: its lease does not
    stand and nobody has declared it dead; else it stands for `lapses_in_ms` at least."""

    node: NodeName
    incarnation: Incarnation
    url: str
    path: str
    probe_url: str
    state: NodeState
    order: NodeState | None
    members: int
    rooms: int
    load: int
    limit: int | None
    capacity: float
    store_ok: bool
    joins_per_second: float
    lapses_in_ms: int
    has_lapsed: bool = False


class NodesAnswer(msgspec.Struct, frozen=True):
    """`GET /admin/nodes`, in the order of names."""

    nodes: tuple[NodeAnswer, ...]
    ok: bool = True


class RoomEntry(msgspec.Struct, frozen=True):
    """A room with an owner. `load` is what it counts for, `target` where it is being moved to, `pinned` where it
    belongs by order, `reserved` how many members are announced for now or soon (0: none)."""

    room: RoomId
    owner: NodeName
    incarnation: Incarnation
    owner_lives: bool
    epoch: Epoch
    why: str
    members: int
    peak: int
    moves: int
    load: int
    target: NodeName | None
    pinned: NodeName | None
    reserved: int


class RoomsAnswer(msgspec.Struct, frozen=True):
    """`GET /admin/rooms`, in the order of names; `more`: ask again with `after` the last one."""

    rooms: tuple[RoomEntry, ...]
    more: bool
    ok: bool = True


class Preference(msgspec.Struct, frozen=True):
    """Where a room would be placed and why: `pinned`, `ring`, `bounded` or `least_loaded`."""

    node: NodeName
    why: str


class Explanation(msgspec.Struct, frozen=True):
    """`GET /admin/rooms/{room}`: all that is known of a room; one without an owner has nulls and zeros.

    `owner_state` is `serving`, `cordoned`, `draining`, `lapsed` or `dead`. `ring` are the nodes that the room prefers,
    in order. `past` are its latest changes of owner, the newest first, null if Redis did not answer. `would_go_to` is
    where it would be placed now if it had no owner, null: nowhere."""

    room: RoomId
    load: int
    pinned: NodeName | None
    reserved: int
    ring: tuple[NodeName, ...]
    past: tuple[PastMove, ...] | None
    would_go_to: Preference | None
    owner: NodeName | None = None
    incarnation: Incarnation | None = None
    owner_state: str | None = None
    owner_lives: bool = False
    lease_left_ms: int | None = None
    epoch: Epoch | None = None
    why: str | None = None
    members: int = 0
    peak: int = 0
    moves: int = 0
    target: NodeName | None = None
    target_why: str | None = None
    is_warm: bool = False
    ok: bool = True


class NodeOrdered(msgspec.Struct, frozen=True):
    """What cordon and uncordon, and the end of a drain, answer: the node's state from now on."""

    node: NodeName
    state: NodeState
    ok: bool = True


class CapacityAnswer(msgspec.Struct, frozen=True):
    """`PUT /admin/nodes/{node}/capacity`."""

    node: NodeName
    share: float
    ok: bool = True


class PinAnswer(msgspec.Struct, frozen=True):
    """`PUT|DELETE /admin/rooms/{room}/pin`: where the room belongs from now on, null: where it is put. A pin moves
    nothing by itself; `owner` is where the room is."""

    room: RoomId
    node: NodeName | None
    owner: NodeName | None
    ok: bool = True


class ReservationAnswer(msgspec.Struct, frozen=True):
    """An announced lecture; `counts` if its room counts for it now."""

    room: RoomId
    members: int
    at_ms: int
    minutes: int
    ends_at_ms: int
    counts: bool
    owner: NodeName | None


class ReservationsAnswer(msgspec.Struct, frozen=True):
    """`GET /admin/reservations`, the next first; `PUT` and `DELETE` answer those of their room that stand then."""

    reservations: tuple[ReservationAnswer, ...]
    ok: bool = True


class PlanAnswer(msgspec.Struct, frozen=True):
    """What `plan: true` answers."""

    plan: OperationPlan
    ok: bool = True


class Started(msgspec.Struct, frozen=True):
    """What starts an operation, or asks for its end, answers: its id, for `GET /admin/operations/{id}`."""

    operation: str
    ok: bool = True


class OperationAnswer(msgspec.Struct, frozen=True):
    """`GET /admin/operations/{id}`."""

    operation: Operation
    ok: bool = True


class OperationsAnswer(msgspec.Struct, frozen=True):
    """`GET /admin/operations`, the newest first."""

    operations: tuple[Operation, ...]
    ok: bool = True


class SessionAnswer(msgspec.Struct, frozen=True):
    """`POST|GET|DELETE /admin/session`: whether there is a session, and for how long (0: there is none)."""

    expires_in_ms: int
    ok: bool = True


class ResumeAnswer(msgspec.Struct, frozen=True):
    """What `POST /admin/failover/resume` answers: how many lapsed nodes wait, and how long nothing is held back."""

    waiting: int
    lifted_for_ms: int
    ok: bool = True


# -- what `GET /admin/events` tells


class RoomArea(msgspec.Struct, frozen=True, array_like=True):
    """A room as `[room, node, members, load]`."""

    room: RoomId
    node: NodeName
    members: int
    load: int


class MoveUnderWay(msgspec.Struct, frozen=True):
    """A room that is asked to move; `is_warm`: its target is ready for it."""

    room: RoomId
    source: NodeName
    target: NodeName
    why: str
    is_warm: bool


class FleetPicture(msgspec.Struct, frozen=True):
    """`event: fleet`: the whole fleet. `rooms` are the 5,000 largest, the largest first; `room_count` and `members` are
    of all."""

    at_ms: int
    nodes: tuple[NodeAnswer, ...]
    rooms: tuple[RoomArea, ...]
    room_count: int
    members: int
    moving: tuple[MoveUnderWay, ...]


class Note(msgspec.Struct, frozen=True):
    """`event: note`: something that happened. `kind` is one of `room_claimed`, `move_asked`, `room_moved`,
    `move_given_up`, `room_gone`, `node_changed`, `node_gone`, `orders_changed`, `notes_skipped` (`count` of them: more
    happened than is told). `source` is where a room was, `node` where it is or goes, `state` a node's."""

    at_ms: int
    kind: str
    room: RoomId | None = None
    node: NodeName | None = None
    source: NodeName | None = None
    state: NodeState | None = None
    why: str = ""
    epoch: Epoch | None = None
    count: int = 1
