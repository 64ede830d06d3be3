"""The endpoints of a director for clients and probes, as its OpenAPI document lists them (protocol, section 2)."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from director.contract.errors import ErrorCode
from director.contract.http_document import Asked, Endpoint, Told
from director.contract.ids import Role
from director.route_answers import RouteAnswer
from director.routes import RoomAnswer

PLATFORM, ADMIN, SESSION = "platform_token", "admin_token", "admin_session"

RoomName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:~-]{1,128}$")]
NodeNamed = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$")]

HTML = "text/html; charset=utf-8"


class Alive(msgspec.Struct, frozen=True):
    """What `/healthz` and `/readyz` answer."""

    ok: bool = True


_IDENTITY = (
    Asked("user", "demo mode: who is asking; a guest unless it is given"),
    Asked("name", "demo mode: the name to be shown"),
    Asked("role", "demo mode: the role", Role),
)
_WHO_IS_REFUSED = (ErrorCode.BAD_REQUEST, ErrorCode.UNAUTHENTICATED, ErrorCode.FORBIDDEN, ErrorCode.OWNER_UNCONFIRMED)
_PLACED = {"Location": "The node's origin."}

ENDPOINTS = (
    Endpoint(
        "GET",
        "/route",
        "Where a room is, and a ticket to join it with.",
        (
            Told("The room's node, and the ticket.", (RouteAnswer,)),
            Told("With `redirect=1`, for people: there is no ticket in it.", (), None, 307, _PLACED),
        ),
        asked=(
            Asked("room", "the room", RoomName, is_required=True),
            Asked("failed", "the node that was lost without a `bye` or `moved`", NodeNamed),
            Asked("redirect", "1: answer with a redirect to the node", Literal["1"]),
            *_IDENTITY,
        ),
        refusals=(*_WHO_IS_REFUSED, ErrorCode.NO_NODES),
        who=(PLATFORM,),
        is_open_too=True,
    ),
    Endpoint(
        "GET",
        "/rooms/{room}",
        "Who owns a room and why, for its staff and for operators.",
        (Told("The room; one without an owner has nulls.", (RoomAnswer,)),),
        asked=_IDENTITY,
        refusals=_WHO_IS_REFUSED,
        who=(PLATFORM, ADMIN),
        is_open_too=True,
    ),
    Endpoint("GET", "/healthz", "Whether the process is alive; it asks nobody.", (Told("It is.", (Alive,)),)),
    Endpoint(
        "GET",
        "/readyz",
        "Whether this director can route.",
        (Told("It can.", (Alive,)),),
        refusals=(ErrorCode.NO_NODES, ErrorCode.OWNER_UNCONFIRMED),
    ),
    Endpoint(
        "GET",
        "/metrics",
        "Figures for Prometheus.",
        (Told("The text format.", media_type=CONTENT_TYPE_LATEST),),
    ),
    Endpoint("GET", "/openapi.json", "This document.", (Told("OpenAPI 3.1.", (dict,)),)),
    Endpoint("GET", "/", "The classroom page.", (Told("A page.", media_type=HTML),)),
    Endpoint("GET", "/operations", "The operators' page.", (Told("A page.", media_type=HTML),)),
)
