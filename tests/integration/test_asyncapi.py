"""What a running node sends has the shapes of its AsyncAPI document, and no field besides."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from director.shared_secret import ADMIN_TOKEN
from shard_node.asyncapi import EVENTS, asyncapi
from shard_node.requests import REQUESTS
from tests.support.fleet import Fleet
from tests.support.raw_client import RawClient, fresh_cid, fresh_room, member, raw_client, route

pytestmark = pytest.mark.timeout(180)

BYE_WITHIN = 60.0


def strict_document() -> dict[str, Any]:
    """The document as we mean it: what it does not name is not there. (To clients it says that more may come.)"""
    document: dict[str, Any] = json.loads(json.dumps(asyncapi()))
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return document


STRICT = strict_document()


def is_as_told(message: str, body: object) -> None:
    """Raises jsonschema_rs.ValidationError unless the body is what the document says of the message."""
    payload = STRICT["components"]["messages"][message]["payload"]
    jsonschema_rs.validate({**payload, "components": STRICT["components"]}, body)


async def asked(client: RawClient, event: str, body: dict[str, Any], *, ok: bool = True) -> Any:
    """The ack, which is as told; so is the request."""
    if ok:
        is_as_told(event, body)
    ack = await client.ask(event, body)
    assert ack["ok"] is ok, ack
    is_as_told(f"{event}_ack", ack)
    return ack


async def heard(client: RawClient, event: str, *, within: float = 20.0) -> Any:
    """The next event of that name, which is as told; so are all that come before."""
    async with asyncio.timeout(within):
        while True:
            name, body = await client.packet()
            if name in EVENTS:
                is_as_told(name, body)
            if name == event:
                return body


async def test_joined_frames_acks_and_counts_are_as_told(fleet: Fleet) -> None:
    async with member(fleet, fresh_room(), role="lecturer") as (client, joined):
        is_as_told("joined", joined)
        sent = await asked(client, "send", {"cid": fresh_cid(), "text": "words", "kind": "question"})
        await asked(client, "send", {"cid": fresh_cid(), "text": "reply", "reply_to": sent["seq"]})
        await asked(client, "delete", {"cid": fresh_cid(), "target": sent["seq"]})
        await asked(client, "notice", {"cid": fresh_cid(), "text": "a notice"})
        await asked(client, "notice", {"cid": fresh_cid(), "text": None})
        last = await asked(client, "mode", {"cid": fresh_cid(), "mode": "staff", "slow_ms": 1000})
        await asked(client, "react", {"emoji": joined["limits"]["reactions"][0]})
        await asked(client, "history", {"limit": 200})
        await asked(client, "members", {"limit": 10})
        for event in REQUESTS:
            await asked(client, event, {"cid": 7, "limit": "x"}, ok=False)
        while (await heard(client, "frame"))["to"] < last["seq"]:
            pass
        assert (await heard(client, "ambient"))["reactions"]

    async with member(fleet, joined["room"], user="bob", since=joined["pos"]) as (_, resumed):
        assert resumed["recovered"]
        assert len(resumed["entries"]) == last["seq"]
        is_as_told("joined", resumed)


async def test_a_refusal_to_join_is_as_told(fleet: Fleet) -> None:
    place = await route(fleet, fresh_room())
    for auth in ({"v": 1, "ticket": "forged"}, {"v": 2}, {"v": 1, "ticket": place.ticket, "tail": -1}):
        async with raw_client(place) as client:
            await client.say("40" + json.dumps(auth))
            name, body = await client.packet()
            assert name == "refused"
            is_as_told("connect_error", body)


async def test_moved_and_bye_are_as_told(fleet: Fleet) -> None:
    async with member(fleet, fresh_room()) as (client, joined):
        place = await route(fleet, joined["room"])
        other = next(name for name in fleet.node_urls if name != place.node)
        token = (Path(fleet.data) / ADMIN_TOKEN).read_text().strip()
        async with httpx.AsyncClient(base_url=fleet.director_url, trust_env=False, timeout=20) as http:
            answer = await http.post(
                f"/admin/rooms/{joined['room']}/move",
                json={"to": other},
                headers={"Authorization": f"Bearer {token}"},
            )
        assert answer.status_code == 200, answer.text
        moved = await heard(client, "moved")
        assert moved["node"] == other
        # who stays is sent away in the end
        assert (await heard(client, "bye", within=BYE_WITHIN))["code"] == "MOVED"


async def test_every_node_serves_its_documents(fleet: Fleet) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        for url in fleet.node_urls.values():
            assert (await http.get(f"{url}/asyncapi.json")).json() == json.loads(json.dumps(asyncapi()))
            assert (await http.get(f"{url}/openapi.json")).json()["openapi"] == "3.1.0"
