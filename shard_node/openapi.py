"""A node's documents: what it answers over HTTP, at /openapi.json, and by Socket.IO, at /asyncapi.json."""

import functools
from typing import Annotated

import msgspec
from msgspec import Meta
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from director.contract.errors import ErrorCode
from director.contract.http_document import Asked, Endpoint, HttpDocument, Told
from director.contract.ids import Incarnation, NodeName
from shard_node.asyncapi import asyncapi
from shard_node.contract.events import MAX_PAGE, HistoryPage, Whole
from shard_node.health import json_answer

TICKET = "ticket"

_ABOUT = (
    "One node, at its own address. Behind a proxy only /rooms/ is to be reached, beside the Socket.IO path: where that "
    "is /n/node-2/socket.io/, this is /n/node-2/rooms/. PROTOCOL.md says what holds beyond shapes."
)
_MAY_READ = (
    ErrorCode.BAD_REQUEST,
    ErrorCode.TICKET_INVALID,
    ErrorCode.TICKET_EXPIRED,
    ErrorCode.NOT_OWNER,
    ErrorCode.MOVED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.BUSY,
    ErrorCode.FROZEN,
    ErrorCode.DRAINING,
    ErrorCode.SHUTDOWN,
    ErrorCode.LEASE_LOST,
    ErrorCode.STORE_UNAVAILABLE,
)


class Living(msgspec.Struct, frozen=True):
    """Which process this is: directors compare it with what they know."""

    node: NodeName
    incarnation: Incarnation
    ok: bool = True


DOCUMENT = HttpDocument(
    title="lecturehall: a node",
    version="1",
    about=_ABOUT,
    endpoints=(
        Endpoint(
            "GET",
            "/rooms/{room}/messages",
            "A room's history, with a ticket and without joining.",
            (Told("By ascending number; the newest if neither `before` nor `after` is given.", (HistoryPage,)),),
            asked=(
                Asked("before", "entries before this number", Whole),
                Asked("after", "entries after this number", Whole),
                Asked("limit", "how many at most", Annotated[int, Meta(ge=1, le=MAX_PAGE)]),
            ),
            refusals=_MAY_READ,
            who=(TICKET,),
        ),
        Endpoint("GET", "/healthz", "Whether the process is alive; it asks nobody.", (Told("It is.", (Living,)),)),
        Endpoint(
            "GET",
            "/readyz",
            "Whether it may be given rooms.",
            (Told("It may.", (Living,)),),
            refusals=(ErrorCode.NO_NODES,),
        ),
        Endpoint(
            "GET", "/metrics", "Figures for Prometheus.", (Told("The text format.", media_type=CONTENT_TYPE_LATEST),)
        ),
        Endpoint("GET", "/openapi.json", "This document.", (Told("OpenAPI 3.1.", (dict,)),)),
        Endpoint("GET", "/asyncapi.json", "The Socket.IO events.", (Told("AsyncAPI 3.0.", (dict,)),)),
    ),
    in_paths={"room": Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:~-]{1,128}$")]},
    schemes={TICKET: {"type": "http", "scheme": "bearer", "description": "The ticket of the director's /route."}},
)


def document_routes() -> tuple[Route, ...]:
    """Both documents, which change only with the release."""

    async def openapi(request: Request) -> Response:
        return json_answer(_openapi())

    async def events(request: Request) -> Response:
        return json_answer(_asyncapi())

    return (Route("/openapi.json", openapi), Route("/asyncapi.json", events))


@functools.cache
def _openapi() -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(DOCUMENT.openapi()))


@functools.cache
def _asyncapi() -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(asyncapi()))
