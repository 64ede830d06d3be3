"""The AsyncAPI document: it lists all events, and what is printed of it is what the code says now."""

import re
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest

from shard_node.asyncapi import ACKS, EVENTS, asyncapi
from shard_node.requests import REQUESTS

ROOT = Path(__file__).parents[2]


def test_the_printed_document_is_that_of_the_code() -> None:
    printed = msgspec.json.decode((ROOT / "docs" / "asyncapi.json").read_bytes())
    assert printed == msgspec.json.decode(msgspec.json.encode(asyncapi())), (
        "run: python -m shard_node.asyncapi > docs/asyncapi.json"
    )


def test_every_event_that_a_node_sends_is_in_it() -> None:
    sent = {
        name
        for module in (ROOT / "shard_node").rglob("*.py")
        for name in re.findall(r'event_packet\(\s*"(\w+)"', module.read_text())
    }
    assert sent == set(EVENTS)


def test_every_request_is_in_it_with_its_ack() -> None:
    assert set(ACKS) == set(REQUESTS.values())
    made = asyncapi()
    received = {name for name, it in made["operations"].items() if it["action"] == "receive"}
    assert received == {"connect", *REQUESTS}
    replies = {name: it["reply"]["messages"] for name, it in made["operations"].items() if "reply" in it}
    assert replies["send"] == [{"$ref": "#/channels/room/messages/send_ack"}]
    assert set(replies) == received


@pytest.mark.parametrize("name", list(asyncapi()["components"]["messages"]))
def test_every_message_says_what_it_is(name: str) -> None:
    made = asyncapi()
    message = made["components"]["messages"][name]
    assert message["summary"][0].isupper() or message["summary"][0].islower()
    jsonschema_rs.validator_for({**message["payload"], "components": made["components"]})
    assert made["channels"]["room"]["messages"][name] == {"$ref": f"#/components/messages/{name}"}
