"""The director's OpenAPI document: all of its endpoints, served at /openapi.json."""

import functools
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from director import admin_endpoints, endpoints
from director.answers import json_answer
from director.contract.admin import FleetPicture, Note
from director.contract.http_document import HttpDocument
from director.endpoints import ADMIN, PLATFORM, SESSION, NodeNamed, RoomName
from director.operators import COOKIE

_ABOUT = (
    "Where rooms are, and what operators can ask for. PROTOCOL.md says what holds beyond shapes; errors have one shape."
)

DOCUMENT = HttpDocument(
    title="lecturehall: the director",
    version="1",
    about=_ABOUT,
    endpoints=(*endpoints.ENDPOINTS, *admin_endpoints.ENDPOINTS),
    in_paths={
        "room": RoomName,
        "node": NodeNamed,
        "operation": Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]{1,128}$")],
    },
    schemes={
        PLATFORM: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The platform's token; without one in demo mode alone.",
        },
        ADMIN: {"type": "http", "scheme": "bearer", "description": "The operators' token."},
        SESSION: {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A session of POST /admin/session."},
    },
    also=(FleetPicture, Note),
)


def document_routes() -> list[BaseRoute]:
    """`/openapi.json`, which changes only with the release."""

    async def openapi(request: Request) -> Response:
        return json_answer(_encoded())

    return [Route("/openapi.json", openapi)]


@functools.cache
def _encoded() -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(DOCUMENT.openapi()))
