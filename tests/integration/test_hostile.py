"""What a hostile client may try: each once brought a node down, filled its memory, or left a ghost behind."""

import asyncio
import json
import time

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.fleet import Fleet
from tests.support.raw_client import Place, RawClient, fresh_cid, fresh_room, member, raw_client, route


def address(place: Place, transport: str, sid: str | None = None) -> str:
    url = place.url if transport == "polling" else place.url.replace("http", "ws", 1)
    return f"{url}{place.path}?EIO=4&transport={transport}" + (f"&sid={sid}" if sid else "")


async def people_in(lee: RawClient) -> list[str]:
    return [person["id"] for person in (await lee.ask("members", {}))["members"]]


async def test_a_pile_of_combining_marks_is_refused_and_not_sorted(fleet: Fleet) -> None:
    """8,000 marks took 125 ms of the event loop to compose; twenty a second would have cost the node its lease."""
    async with member(fleet, fresh_room()) as (ann, _):
        for text in ("a" + "\u0301\u0323" * 20, "\u0301" * 4_000 + "\u0323" * 3_900):
            asked = json.dumps(["send", {"cid": fresh_cid(), "text": text}], ensure_ascii=False)
            assert (await ann.ask_raw(asked))["error"]["code"] == "BAD_REQUEST"
        korean = json.dumps(["send", {"cid": fresh_cid(), "text": "\u1112\u1161\u11ab" * 600}], ensure_ascii=False)
        assert (await ann.ask_raw(korean))["ok"], "decomposed Hangul composes"


@pytest.mark.parametrize(
    "body", ['{"cid":"a","mode":"\\ud800"}', '{"cid":"a","mode":"open","\\ud800":1}', '{"cid":"\\udfff","mode":"open"}']
)
async def test_half_a_character_is_answered_and_holds_nothing_up(fleet: Fleet, body: str) -> None:
    """The decoder raised what nobody caught: no ack, and after eight the connection was busy for ever."""
    async with member(fleet, fresh_room(), role="lecturer") as (lee, _):
        for _ in range(10):
            assert (await lee.ask_raw(f'["mode",{body}]'))["error"]["code"] == "BAD_REQUEST"
        assert (await lee.ask("send", {"cid": fresh_cid(), "text": "still here"}))["seq"] == 1


async def test_a_flood_of_pings_that_reads_no_pongs_is_cut(fleet: Fleet) -> None:
    """60 MB of pings left 54 MB in the node's buffer, and needed no ticket."""
    place = await route(fleet, fresh_room())
    host, port = place.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1_024)
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13"
    writer.write(f"GET {place.path}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    pings = (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 8_000
    sent = 0
    with pytest.raises(ConnectionError):
        sent = await _write_for_ever(writer, pings, at_most=64)
    assert sent == 0, "it took 64 MB without an end"
    writer.close()


async def _write_for_ever(writer: asyncio.StreamWriter, block: bytes, *, at_most: int) -> int:
    async with asyncio.timeout(60):
        for _ in range(at_most):
            writer.write(block)
            await writer.drain()
    return at_most


async def test_a_request_to_connect_behind_a_close_makes_no_ghost(fleet: Fleet) -> None:
    room = fresh_room()
    place = await route(fleet, room, user="ghost")
    async with member(fleet, room, user="lee", role="lecturer") as (lee, _), httpx.AsyncClient() as http:
        opened = await http.get(address(place, "polling"))
        sid = json.loads(opened.text[1:])["sid"]
        asked = "1\x1e40" + json.dumps({"v": 1, "ticket": place.ticket})
        await http.post(address(place, "polling", sid), content=asked)
        async with raw_client(place) as client:
            await client.say("1")
            await client.say("40" + json.dumps({"v": 1, "ticket": place.ticket}))
        assert await people_in(lee) == ["lee"]


@pytest.mark.parametrize("garbage", ["x", "7", "hello"])
async def test_what_is_no_packet_at_all_is_ignored_and_the_member_stays(fleet: Fleet, garbage: str) -> None:
    async with member(fleet, fresh_room()) as (ann, _):
        await ann.say(garbage)
        assert (await ann.ask("send", {"cid": fresh_cid(), "text": "still here"}))["seq"] == 1


async def test_a_second_upgrade_at_once_is_refused_and_the_first_goes_on(fleet: Fleet) -> None:
    """It stole the lane: stock packets went one way and frames the other, and neither could be cut."""
    place = await route(fleet, fresh_room())
    async with httpx.AsyncClient() as http:
        sid = json.loads((await http.get(address(place, "polling"))).text[1:])["sid"]
        await http.post(address(place, "polling", sid), content="40" + json.dumps({"v": 1, "ticket": place.ticket}))
        async with connect(address(place, "websocket", sid)) as first:
            await first.send("2probe")
            assert await asyncio.wait_for(first.recv(), 10) == "3probe"
            with pytest.raises(InvalidStatus):
                await connect(address(place, "websocket", sid))
            await first.send("5")
            client = RawClient(first, {})
            assert (await client.until("joined"))["room"] == place.room
            assert (await client.ask("send", {"cid": fresh_cid(), "text": "upgraded"}))["seq"] == 1


async def test_a_probe_that_breaks_off_leaves_the_client_polling(fleet: Fleet) -> None:
    """It left the session half upgraded: every poll was answered at once, with nothing."""
    place = await route(fleet, fresh_room())
    async with httpx.AsyncClient(timeout=20) as http:
        sid = json.loads((await http.get(address(place, "polling"))).text[1:])["sid"]
        async with connect(address(place, "websocket", sid)):
            pass
        await http.post(address(place, "polling", sid), content="40" + json.dumps({"v": 1, "ticket": place.ticket}))
        seen = ""
        deadline = time.monotonic() + 10
        while "joined" not in seen:
            assert time.monotonic() < deadline
            seen += (await http.get(address(place, "polling", sid))).text


async def test_a_flood_of_upgrade_packets_is_cut(fleet: Fleet) -> None:
    place = await route(fleet, fresh_room())
    async with httpx.AsyncClient(timeout=20) as http:
        sid = json.loads((await http.get(address(place, "polling"))).text[1:])["sid"]
        for _ in range(5):
            await http.post(address(place, "polling", sid), content="\x1e".join(["5"] * 250))
        answer = await http.post(address(place, "polling", sid), content="3")
        assert answer.status_code == 400, "the session is gone"


async def test_one_person_has_a_bounded_number_of_connections(fleet: Fleet) -> None:
    room = fresh_room()
    place = await route(fleet, room)
    clients = []
    try:
        for number in range(51):
            context = raw_client(place)
            client = await context.__aenter__()
            clients.append(context)
            answer = await client.join({"v": 1, "ticket": place.ticket})
            assert ("pos" in answer) == (number < 50)
        assert answer["error"]["code"] == "RATE_LIMITED"
    finally:
        for context in clients:
            await context.__aexit__(None, None, None)
