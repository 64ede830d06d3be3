"""The AsyncAPI document: all Socket.IO events between clients and a node, as their wire structs say them.

It is AsyncAPI 3.0 from the node's side: what it `receive`s is what clients send. The node serves it at /asyncapi.json,
and docs/asyncapi.json is made by `python -m shard_node.asyncapi`.
"""

import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from director.contract.errors import ErrorShape
from director.contract.wire_schema import Json, schemas_asked, schemas_told
from persistence.contract.messages import Entry
from shard_node.contract.events import (
    PROTOCOL_VERSION,
    Ambient,
    Bye,
    Changed,
    DeleteRequest,
    Done,
    Frame,
    HistoryPage,
    HistoryRequest,
    Joined,
    JoinRequest,
    Members,
    MembersRequest,
    ModeRequest,
    Moved,
    NoticeRequest,
    ReactRequest,
    SendRequest,
)
from shard_node.requests import REQUESTS, Request

_ABOUT = (
    "A client asks the director (GET /route, see its /openapi.json) where a room is, and connects there, to the "
    "default namespace, by Socket.IO protocol 5 over Engine.IO 4, WebSocket or long-polling. Every event of a client "
    "that carries an ack id is answered; PROTOCOL.md says what holds beyond shapes."
)


class JoinRefused(msgspec.Struct, frozen=True):
    """What a CONNECT_ERROR packet holds: the code, and what to do about it."""

    message: str
    data: ErrorShape


ACKS: Mapping[type[Request], Any] = {
    SendRequest: Changed,
    DeleteRequest: Changed,
    NoticeRequest: Changed,
    ModeRequest: Changed,
    HistoryRequest: HistoryPage,
    ReactRequest: Done,
    MembersRequest: Members,
}
"""What a request is answered with if it is not refused."""

EVENTS: Mapping[str, tuple[type[msgspec.Struct], str]] = {
    "joined": (Joined, "The first event of every connection: the room as it is at `pos`."),
    "frame": (Frame, "Entries from..to, without a hole; `from` is the client's last + 1."),
    "gap": (Frame, "Entries from..to are not given: they are there by `history`; `entries` are those of staff."),
    "ambient": (Ambient, "Newest counts, at most every 2 s."),
    "moved": (Moved, "The room is another node's: join there after `after_ms`, and stay until then."),
    "bye": (Bye, "Before every orderly close: what to do next."),
}
"""What a node sends, by event."""


def asyncapi() -> Json:
    """The document."""
    asked = schemas_asked([JoinRequest, *REQUESTS.values()])
    answers = [ErrorShape, JoinRefused, Entry, *ACKS.values(), *(shape for shape, _ in EVENTS.values())]
    told = schemas_told(list(dict.fromkeys(answers)))
    schemas = {**asked.named, **told.named}
    for name in ("Joined", "Frame"):  # their entries are encoded beforehand: the structs do not say of what
        entries = {"type": "array", "items": told.of[Entry]}
        schemas[name] = {**schemas[name], "properties": {**schemas[name]["properties"], "entries": entries}}

    error = told.of[ErrorShape]
    messages = {
        "connect": _message("CONNECT", asked.of[JoinRequest], "The auth of the CONNECT packet."),
        "connect_error": _message("CONNECT_ERROR", told.of[JoinRefused], "The client is not let in."),
        **{name: _message(name, told.of[shape], about) for name, (shape, about) in EVENTS.items()},
    }
    operations = {"connect": _operation("receive", "connect", answered_by=("joined", "connect_error"))}
    for name, shape in REQUESTS.items():
        ack = f"{name}_ack"
        messages[name] = _message(name, asked.of[shape], _about(shape))
        messages[ack] = _message(ack, {"oneOf": [told.of[ACKS[shape]], error]}, f"The ack of `{name}`.")
        operations[name] = _operation("receive", name, answered_by=(ack,))
    operations |= {name: _operation("send", name) for name in EVENTS if name != "joined"}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "lecturehall: a room's events", "version": str(PROTOCOL_VERSION), "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {"node": _SERVER},
        "channels": {
            "room": {
                "address": "/",
                "description": "The default namespace. The ticket says which room the connection is for.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


_SERVER = {
    "host": "{host}",
    "pathname": "{path}",
    "protocol": "wss",
    "description": "`url` and `path` of the director's answer to GET /route; they differ from node to node.",
    "variables": {"host": {"default": "127.0.0.1:9001"}, "path": {"default": "/socket.io/"}},
}


def _message(name: str, payload: Json, about: str) -> Json:
    return {"name": name, "summary": about, "payload": payload}


def _operation(action: str, name: str, answered_by: tuple[str, ...] = ()) -> Json:
    channel = {"$ref": "#/channels/room"}
    operation: Json = {"action": action, "channel": channel, "messages": [_in_room(name)]}
    if answered_by:
        operation["reply"] = {"channel": channel, "messages": [_in_room(answer) for answer in answered_by]}
    return operation


def _in_room(name: str) -> Json:
    return {"$ref": f"#/channels/room/messages/{name}"}


def _about(shape: type) -> str:
    """The first sentence after the event's name: "`send`: add a message" tells "add a message"."""
    return " ".join((shape.__doc__ or "").partition(": ")[2].split())


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(asyncapi()), indent=1) + b"\n")
