"""The endpoints of the admin interface, as the director's OpenAPI document lists them (protocol, section 2)."""

from typing import Annotated, Any

from msgspec import Meta

from director.contract.admin import (
    MAX_ROOMS_LISTED,
    CapacityAnswer,
    CapacityBody,
    DrainBody,
    Explanation,
    MoveBody,
    NodeOrdered,
    NodesAnswer,
    OperationAnswer,
    OperationsAnswer,
    PinAnswer,
    PinBody,
    PlanAnswer,
    RebalanceBody,
    ReservationsAnswer,
    ReserveBody,
    ResumeAnswer,
    RoomsAnswer,
    SessionAnswer,
    SessionBody,
    Started,
)
from director.contract.errors import ErrorCode
from director.contract.http_document import Asked, Endpoint, Told
from director.endpoints import ADMIN, SESSION

_REFUSED = (ErrorCode.BAD_REQUEST, ErrorCode.UNAUTHENTICATED, ErrorCode.FORBIDDEN, ErrorCode.BUSY)
_RUN = "With `plan`, what would be moved; else the operation that does it."


def _for_operators(
    method: str, path: str, about: str, told: Told, *, asked: tuple[Asked, ...] = (), body: Any = None
) -> Endpoint:
    may_lack_body = body is not None and not body.__struct_fields__[: -len(body.__struct_defaults__) or None]
    refusals = _REFUSED if body is None else (*_REFUSED, ErrorCode.TOO_LARGE)
    return Endpoint(method, path, about, (told,), asked, body, may_lack_body, refusals, (ADMIN, SESSION))


ENDPOINTS = (
    _for_operators("GET", "/admin/nodes", "All nodes.", Told("In the order of names.", (NodesAnswer,))),
    _for_operators(
        "POST", "/admin/nodes/{node}/cordon", "Give a node no rooms.", Told("Its state from now on.", (NodeOrdered,))
    ),
    _for_operators(
        "POST",
        "/admin/nodes/{node}/uncordon",
        "Take back a cordon or a drain.",
        Told("Its state from now on.", (NodeOrdered,)),
    ),
    _for_operators(
        "POST",
        "/admin/nodes/{node}/drain",
        "Give a node no rooms, and move away those that it has.",
        Told(_RUN, (PlanAnswer, Started)),
        body=DrainBody,
    ),
    _for_operators(
        "DELETE", "/admin/nodes/{node}/drain", "Cancel a drain.", Told("Its state from now on.", (NodeOrdered,))
    ),
    _for_operators(
        "PUT",
        "/admin/nodes/{node}/capacity",
        "Say what share of the load a node takes.",
        Told("The share from now on.", (CapacityAnswer,)),
        body=CapacityBody,
    ),
    _for_operators(
        "GET",
        "/admin/rooms",
        "Rooms that have an owner.",
        Told("In the order of names.", (RoomsAnswer,)),
        asked=(
            Asked("node", "only those of this node"),
            Asked("prefix", "only those whose name begins so"),
            Asked("after", "only those after this name"),
            Asked("limit", "how many at most", Annotated[int, Meta(ge=0, le=MAX_ROOMS_LISTED)]),
        ),
    ),
    _for_operators(
        "GET", "/admin/rooms/{room}", "All that is known of a room.", Told("The explanation.", (Explanation,))
    ),
    _for_operators(
        "POST", "/admin/rooms/{room}/move", "Move a room.", Told(_RUN, (PlanAnswer, Started)), body=MoveBody
    ),
    _for_operators(
        "PUT", "/admin/rooms/{room}/pin", "Say where a room belongs.", Told("The pin.", (PinAnswer,)), body=PinBody
    ),
    _for_operators("DELETE", "/admin/rooms/{room}/pin", "Take a pin back.", Told("No pin.", (PinAnswer,))),
    _for_operators(
        "PUT",
        "/admin/rooms/{room}/reservations",
        "Announce a lecture.",
        Told("The room's reservations.", (ReservationsAnswer,)),
        body=ReserveBody,
    ),
    _for_operators(
        "DELETE",
        "/admin/rooms/{room}/reservations",
        "Take announcements back.",
        Told("Those that are left.", (ReservationsAnswer,)),
        asked=(Asked("at_ms", "only the one that begins then", Annotated[int, Meta(ge=0, le=10**14)]),),
    ),
    _for_operators(
        "GET", "/admin/reservations", "All announced lectures.", Told("The next first.", (ReservationsAnswer,))
    ),
    _for_operators(
        "POST",
        "/admin/rebalance",
        "Move rooms so that no node has much more than its share.",
        Told(_RUN, (PlanAnswer, Started)),
        body=RebalanceBody,
    ),
    _for_operators(
        "GET", "/admin/operations", "What runs and has run.", Told("The newest first.", (OperationsAnswer,))
    ),
    _for_operators(
        "GET", "/admin/operations/{operation}", "One operation.", Told("As it was told last.", (OperationAnswer,))
    ),
    _for_operators(
        "DELETE",
        "/admin/operations/{operation}",
        "End an operation after the moves that are under way.",
        Told("It has been asked.", (Started,)),
    ),
    _for_operators(
        "POST", "/admin/failover/resume", "Lift the limit of verdicts.", Told("What was lifted.", (ResumeAnswer,))
    ),
    _for_operators(
        "GET",
        "/admin/events",
        "What happens, as it happens.",
        Told(
            "Server-sent events: `fleet` (FleetPicture), `operation` (Operation), `note` (Note).",
            media_type="text/event-stream; charset=utf-8",
        ),
    ),
    Endpoint(
        "POST",
        "/admin/session",
        "Open a session with the token: a cookie for pages.",
        (Told("For how long.", (SessionAnswer,), headers={"Set-Cookie": "The session."}),),
        body=SessionBody,
        refusals=(*_REFUSED, ErrorCode.TOO_LARGE),
    ),
    Endpoint(
        "GET",
        "/admin/session",
        "Whether there is one.",
        (Told("For how long.", (SessionAnswer,)),),
        who=(SESSION,),
        refusals=(ErrorCode.BUSY,),
        is_open_too=True,
    ),
    Endpoint("DELETE", "/admin/session", "End it.", (Told("There is none.", (SessionAnswer,)),)),
)
