"""The logs of real processes: JSON, one form, and nothing of what people hold or say, however much is logged."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fleet import Fleet, running_fleet
from tests.support.raw_client import WITHIN, RawClient, fresh_cid, fresh_room, member, raw_client, route, signed_ticket

SAID = "a remark that nobody else is to read"
GUESS = "a-guess-at-the-operators-token"


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet that logs all that it can."""
    env = {"HALL_LOG_LEVEL": "debug", "HALL_LOG_FORMAT": "json"}
    with running_fleet(nodes=1, data=tmp_path_factory.mktemp("hall") / "data", env=env) as fleet:
        yield fleet


def logged(data: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in [data / "up.out", *sorted((data / "logs").iterdir())])


async def test_no_ticket_token_or_text_is_ever_logged_and_every_line_says_whose_it_is(talkative: Fleet) -> None:
    fleet = talkative
    room = fresh_room()
    place = await route(fleet, room)
    stale = signed_ticket(fleet, place, expires_at_ms=1)
    forged = signed_ticket(fleet, place, key="x" * 32)
    secrets = [place.ticket, stale, forged, SAID, GUESS]
    secrets += [path.read_text().strip() for path in (fleet.data / "ticket.key", fleet.data / "admin.token")]
    await everything_that_may_go_wrong(fleet, room, [stale, forged])
    async with httpx.AsyncClient(base_url=fleet.director_url, trust_env=False) as http:
        for token in (GUESS, secrets[-1]):
            await http.get("/admin/nodes", headers={"Authorization": f"Bearer {token}"}, timeout=WITHIN)
        await http.get(f"/route?room={room}&user=ann&ticket={place.ticket}", timeout=WITHIN)
    fleet.kill("node-1")  # members, tickets and messages at hand
    fleet.wait_until(lambda: "node-1" in logged(fleet.data), "the death is logged")

    told = logged(fleet.data)
    for secret in secrets:
        assert secret
        assert secret not in told
    lines = lines_of(fleet.data / "logs")
    assert {line["process"] for line in lines} == {"director", "node-1"}
    started = [line for line in lines if line["event"] in ("room_opened", "room_claimed")]
    assert started
    assert all(line["process_incarnation"] and line["room"] for line in started)


async def everything_that_may_go_wrong(fleet: Fleet, room: str, tickets: list[str]) -> None:
    """Refused tickets, events that are no such, requests that are none, and messages among them."""
    place = await route(fleet, room)
    for ticket in tickets:
        async with raw_client(place) as client:
            await client.join({"v": 1, "ticket": ticket, "since": {"log": SAID, "epoch": 1, "seq": 1}})
    async with member(fleet, room) as (client, _):
        assert (await client.ask("send", {"cid": fresh_cid(), "text": SAID}))["ok"]
        for name, body in (
            ("send", {"cid": fresh_cid(), "text": SAID, "reply_to": SAID}),
            ("send", {"cid": SAID + "\ud800", "text": SAID}),
            (SAID, {"text": SAID}),
            ("history", {"before": 2, "after": 1, "limit": 10}),
        ):
            assert not (await client.ask(name, body))["ok"]
        await ask_in_vain(place.url, client)


async def ask_in_vain(url: str, client: RawClient) -> None:
    """What is no HTTP at all, and a WebSocket that is asked for with secrets in its query."""
    host, port = url.removeprefix("http://").split(":")
    for request in (f"{SAID}\r\n\r\n", f"GET /nowhere?ticket={SAID.replace(' ', '-')} HTTP/1.1\r\nHost: x\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request.encode())
        async with asyncio.timeout(WITHIN):
            assert await reader.read(100)
        writer.close()


def lines_of(logs: Path) -> list[dict[str, Any]]:
    """What directors and nodes have logged; a database beside them writes as it likes."""
    paths = [path for path in logs.iterdir() if path.name.startswith(("director", "node"))]
    return [json.loads(line) for path in sorted(paths) for line in path.read_text().splitlines()]
