"""director/route_door by raw sockets: whatever is asked of a connection, `GET /route` at the door or the rest behind
it, is answered as by uvicorn and the ASGI endpoint alone; and what becomes of those that break the rules."""

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator

import pytest
import structlog

from director.route_door import MAX_REQUEST, RouteDoor
from tests.support.route_site import (
    FOREIGN,
    ORIGIN,
    ROUTE,
    WITHIN,
    Answer,
    Line,
    Site,
    ToldAnswers,
    Wire,
    asking,
    site_of,
    until,
    wire_to,
)
from tests.support.virtual_time import in_virtual_time


@pytest.fixture(name="site")
async def running_site() -> AsyncIterator[Site]:
    async with site_of() as site:
        yield site


async def conversation(port: int, said: str, *, answers: int = 1) -> list[Answer]:
    """What a client is told who says all that in one go; then it asks again, unless the connection has ended."""
    async with wire_to(port) as wire:
        wire.say(said)
        told = [await wire.answer(to_head=said.startswith("HEAD")) for _ in range(answers)]
        if told[-1].is_last:
            assert await wire.rest() == b""
        else:
            wire.say(ROUTE)
            again = await wire.answer()
            assert b'"query":"room=a"' in again.body, "the connection is not kept in order"
        return told


# which way


AT_THE_DOOR = [
    asking(),
    asking("/route"),
    asking("/route?"),
    asking("/route?a?b=/route"),
    asking("/route?name=%00%0d%0aX:%20y"),
    "\r\n\r\n" + asking(),
    asking(first="GET {} HTTP/1.0"),
    asking("/route?room=a", "Connection: keep-alive", first="GET {} HTTP/1.0"),
    asking("/route?room=a", "Connection: close"),
    asking("/route?room=a", "connection: CLOSE"),
    asking("/route?room=a", "Connection: keep-alive"),
    asking("/route?room=a", "Upgrade: h2c"),
    asking("/route?room=a", f"Origin: {ORIGIN}"),
    asking("/route?room=a", f"ORIGIN: {ORIGIN}", f"Origin: {FOREIGN}"),
    asking("/route?room=a", "Authorization: Bearer one", "Authorization: Bearer two"),
    asking("/route?room=a", "Authorization: Bearer \xe9\xff"),
    asking("/route?room=a", "Authorization:", "X-Folded: a", " b"),
    asking("/route?room=a", f"X-Padding: {'x' * 20_000}"),
    asking("/route?room=late"),
    asking("/route?room=late", "Connection: close", f"Origin: {ORIGIN}"),
    asking("/route?room=late", first="GET {} HTTP/1.0"),
    asking("/route?room=late", "Connection: keep-alive", first="GET {} HTTP/1.0"),
]
BEHIND_IT = [
    asking(first="HEAD {} HTTP/1.1"),
    asking(first="POST {} HTTP/1.1"),
    asking(first="OPTIONS {} HTTP/1.1"),
    asking("/route", f"Origin: {ORIGIN}", "Access-Control-Request-Method: GET", first="OPTIONS {} HTTP/1.1"),
    asking("/"),
    asking("/route/"),
    asking("//route"),
    asking("/routes?room=a"),
    asking("/%72oute?room=a"),
    asking("http://x/route?room=a"),
    asking("/route?room=a#there"),
    asking("/route#there"),
    asking("/route?room=a", f"Origin: {FOREIGN}"),
    asking("/route?room=a", f"Origin: {FOREIGN}", f"Origin: {ORIGIN}"),
    asking("/route?room=a", f"Origin: {ORIGIN}/"),
    asking("/route?room=a", "Origin: null"),
    asking("/route?room=a", "Origin:"),
    asking("/route?room=a", "Expect: 100-continue"),
    asking("/route?room=a", "Content-Length: 0"),
    asking("/route?room=a", "Content-Length: 5") + "hello",
    asking("/route?room=a", "Transfer-Encoding: chunked") + "2\r\nab\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
    asking("/route?room=a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    asking("/route?room=a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ"),
    asking("/echo", "Content-Length: 5", first="POST {} HTTP/1.1") + "hello",
]


@pytest.mark.parametrize(("requests", "have_door"), [(AT_THE_DOOR, True), (BEHIND_IT, False)])
async def test_the_answer_is_the_one_that_uvicorn_alone_would_give(requests: list[str], have_door: bool) -> None:
    """Also to clients of HTTP/1.0: the door kept the connection of one that asked for keep-alive without saying so, and
    it waited until its end."""
    async with site_of() as site, site_of(has_door=False) as stock:
        for it in (site, stock):
            it.answers.is_decided.set()
        for asked in requests:
            told = await conversation(site.port, asked)
            assert told == await conversation(stock.port, asked), asked
            assert site.answers.asked == stock.answers.asked, asked
            assert (site.paths == []) is have_door, asked
            site.paths.clear()
        assert site.server.server_state.total_requests == stock.server.server_state.total_requests


@pytest.mark.parametrize(
    "nonsense",
    [
        "\x16\x03\x01\x02\x00\r\n\r\n",
        "GET /route HTTP/9.9\r\n\r\n",
        "GET /route\xff HTTP/1.1\r\n\r\n",
        "get /route HTTP/1.1\r\n\r\n",
        "GET /route?a b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /route HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "GET /route HTTP/1.1\r\nHost: x\r\nA: b\nX: \x00\r\n\r\n",
        asking("/route?room=a", "Content-Length: 4", "Transfer-Encoding: chunked"),
    ],
)
async def test_what_is_no_request_is_refused_in_uvicorns_words(site: Site, nonsense: str) -> None:
    (answer,) = await conversation(site.port, nonsense)
    assert answer.status == b"HTTP/1.1 400 Bad Request"
    assert answer.body == b"Invalid HTTP request received."


@pytest.mark.parametrize("target", ["/route?room=a", "/echo"])
async def test_a_body_is_not_waited_for_by_the_door(site: Site, target: str) -> None:
    """Whoever says `Expect: 100-continue` sends no body before it is told to: the door waited for it, and said
    nothing."""
    method = "POST" if target == "/echo" else "GET"
    async with wire_to(site.port) as wire:
        wire.say(asking(target, "Content-Length: 5", "Expect: 100-continue", first=method + " {} HTTP/1.1"))
        if target == "/echo":
            assert (await wire.answer()).status == b"HTTP/1.1 100 Continue"
            wire.say("hello")
            assert (await wire.answer()).body == b"hello"
        else:
            assert (await wire.answer()).status == b"HTTP/1.1 200 OK"


async def test_who_asks_for_a_route_may_ask_for_more_on_the_same_connection(site: Site) -> None:
    async with wire_to(site.port) as wire:
        for number in range(3):
            wire.say(asking(f"/route?room={number}"))
            assert f"room={number}".encode() in (await wire.answer()).body
        assert site.paths == []
        wire.say(asking("/echo", "Content-Length: 2", first="POST {} HTTP/1.1") + "hi")
        assert (await wire.answer()).body == b"hi"
        wire.say(ROUTE)
        assert (await wire.answer()).header("date") == "some day"
    assert site.paths == ["/echo", "/route"]
    assert site.server.server_state.total_requests == 5


async def test_a_page_s_origin_is_forgotten_with_its_answer(site: Site) -> None:
    site.answers.is_decided.set()
    async with wire_to(site.port) as wire:
        wire.say(asking("/route?room=late", f"Origin: {ORIGIN}"))
        assert (await wire.answer()).header("access-control-allow-origin") == ORIGIN
        wire.say(ROUTE)
        assert "access-control-allow-origin" not in (await wire.answer()).names


@pytest.mark.parametrize("first", ["/route?room=1", "/route?room=late", "/echo"])
async def test_requests_that_come_together_are_answered_in_their_order(site: Site, first: str) -> None:
    site.answers.is_decided.set()
    told = await conversation(
        site.port,
        asking(first) + asking("/route?room=2") + asking("/nowhere") + asking("/route?room=late-3"),
        answers=4,
    )
    assert [answer.status.split()[1] for answer in told[1:]] == [b"200", b"404", b"200"]
    assert b"room=2" in told[1].body
    assert b"room=late-3" in told[3].body


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ([asking("/route?room=1")], ["room=1"]),
        ([asking("/route?room=late-1"), asking("/route?room=2")], ["room=late-1", "room=2"]),
        ([asking("/echo", "Content-Length: 2", first="POST {} HTTP/1.1") + "hi", ROUTE], ["hi", "room=a"]),
        ([asking("/route?room=1")[:20], asking("/route?room=1")[20:] + ROUTE], ["room=1", "room=a"]),
        (["\r\n", asking("/route?room=1", "Connection: close"), ROUTE], ["room=1"]),
        (["nonsense\r\n\r\n"], ["Invalid HTTP request received."]),
    ],
)
async def test_what_is_asked_while_an_answer_is_awaited_has_its_turn(pieces: list[str], told: list[str]) -> None:
    answers = ToldAnswers()
    line = Line(answers)
    line.receive(asking("/route?room=late"))
    for piece in pieces:
        line.receive(piece)
    assert (line.sent, answers.asked) == (b"", [(b"room=late", None)])
    answers.is_decided.set()
    await line.until_idle()
    bodies = [answer.partition("\r\n\r\n")[2] for answer in line.sent.decode().split("HTTP/1.1 ")[1:]]
    assert len(bodies) == 1 + len(told)
    for body, words in zip(bodies, ["room=late", *told], strict=True):
        assert words in body


@pytest.mark.parametrize("asked", [asking("/route?room=a", f"Origin: {ORIGIN}", "Authorization: b"), BEHIND_IT[0]])
async def test_a_request_may_come_in_any_pieces(asked: str) -> None:
    whole = Line(ToldAnswers())
    whole.receive(asked)
    await whole.until_idle()
    for at in range(1, len(asked)):
        line = Line(ToldAnswers())
        line.receive(asked[:at])
        assert line.sent == b""
        line.receive(asked[at:])
        await line.until_idle()
        assert line.sent == whole.sent
        assert line.paths == whole.paths
    by_byte = Line(ToldAnswers())
    for character in asked:
        by_byte.receive(character)
    await by_byte.until_idle()
    assert by_byte.sent == whole.sent


@in_virtual_time
async def test_a_connection_is_kept_for_five_seconds_after_an_answer_and_not_while_one_is_awaited() -> None:
    answers = ToldAnswers()
    line = Line(answers)
    line.receive(ROUTE)
    await asyncio.sleep(4.9)
    line.receive(asking("/route?room=late"))
    await asyncio.sleep(60)
    assert line.transport.ended is None
    answers.is_decided.set()
    await line.until_idle()
    await asyncio.sleep(4.9)
    assert line.transport.ended is None
    await asyncio.sleep(0.2)
    assert line.transport.ended == "aborted", "`close` would wait for a client that does not read"
    assert line.state.connections == set()


@in_virtual_time
async def test_no_timer_goes_on_for_a_connection_that_is_lost() -> None:
    line = Line(ToldAnswers())
    line.receive(ROUTE)
    line.transport.protocol.connection_lost(None)
    await asyncio.sleep(60)
    assert line.transport.ended is None


@in_virtual_time
async def test_no_timer_of_the_door_ends_what_has_made_way() -> None:
    answers = ToldAnswers()
    line = Line(answers)
    line.receive(ROUTE)
    await asyncio.sleep(4)
    line.receive(asking("/route?room=late", first="HEAD {} HTTP/1.1"))
    await asyncio.sleep(60)
    assert line.transport.ended is None
    answers.is_decided.set()
    await line.until_idle()
    assert line.sent.count(b"HTTP/1.1 200 OK") == 2


# those that break the rules


async def test_a_head_without_end_makes_way(site: Site) -> None:
    async with wire_to(site.port) as wire:
        wire.say(asking("/route?room=a", f"X-Padding: {'x' * 2 * MAX_REQUEST}")[:-4])
        await wire.writer.drain()
        await until(lambda: not any(isinstance(it, RouteDoor) for it in site.open))
        wire.say("\r\n\r\n")
        assert (await wire.answer()).status == b"HTTP/1.1 200 OK"


async def test_who_says_too_much_while_an_answer_is_awaited_is_cut(site: Site) -> None:
    async with wire_to(site.port) as wire:
        wire.say(asking("/route?room=late"))
        await site.answers.has_asked.wait()
        wire.say(ROUTE * (MAX_REQUEST // len(ROUTE) + 1))
        assert await wire.rest() == b""
    await site.until_open(0)
    site.answers.is_decided.set()
    await until(lambda: not site.server.server_state.tasks)
    assert len(site.answers.asked) == 1


async def test_who_asks_and_asks_and_reads_no_answer_is_cut(site: Site) -> None:
    site.answers.is_large = True
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", site.port))
        await site.until_open(1)
        for _ in range(5_000):
            site.answers.has_asked.clear()
            try:
                await loop.sock_sendall(client, ROUTE.encode())
            except ConnectionError:
                break
            await until(lambda: site.answers.has_asked.is_set() or not site.open)
            if not site.open:
                break
        assert site.open == set()
    assert site.paths == []


async def test_a_client_that_has_gone_before_its_answer_is_forgotten(site: Site) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with wire_to(site.port) as wire:
        wire.say(asking("/route?room=late"))
        await site.answers.has_asked.wait()
        wire.say(ROUTE)
    await site.until_open(0)
    assert len(site.server.server_state.tasks) == 1
    site.answers.is_decided.set()
    await until(lambda: not site.server.server_state.tasks)
    assert complaints == []
    assert site.server.server_state.total_requests == 0


@pytest.mark.parametrize("room", ["broken", "late-broken"])
async def test_a_fault_of_ours_is_an_answer_and_is_logged(site: Site, room: str) -> None:
    site.answers.is_decided.set()
    with structlog.testing.capture_logs() as logs:
        (answer,) = await conversation(site.port, asking(f"/route?room={room}"))
    assert answer.status == b"HTTP/1.1 500 Internal Server Error"
    assert b'"code":"BUSY"' in answer.body
    assert [it["event"] for it in logs] == ["route_failed"]


# the end


async def test_at_the_end_an_answer_that_is_awaited_is_given_and_idle_connections_close() -> None:
    async with site_of() as site, wire_to(site.port) as idle, wire_to(site.port) as waiting, wire_to(site.port) as new:
        idle.say(ROUTE)
        await idle.answer()
        new.say(ROUTE[:20])
        site.answers.has_asked.clear()
        waiting.say(asking("/route?room=late"))
        await site.answers.has_asked.wait()
        ending = asyncio.create_task(site.server.shutdown())
        assert await idle.rest() == b""
        assert await new.rest() == b""
        site.answers.is_decided.set()
        answer = await waiting.answer()
        assert answer.is_last
        assert b"room=late" in answer.body
        assert await waiting.rest() == b""
        await asyncio.wait_for(ending, WITHIN)
        assert (site.open, site.server.server_state.tasks) == (set(), set())


async def test_an_answer_that_never_comes_does_not_hold_up_the_end() -> None:
    """The connection ends without a word, so that a proxy may ask another director."""
    async with site_of(timeout_graceful_shutdown=0) as site, wire_to(site.port) as wire:
        wire.say(asking("/route?room=late"))
        await site.answers.has_asked.wait()
        await asyncio.wait_for(site.server.shutdown(), WITHIN)
        assert await wire.rest() == b""
        await site.until_open(0)


async def test_nothing_of_a_connection_waits_for_the_collector() -> None:
    async def door_of(wire: Wire, said: str) -> "weakref.ref[object]":
        """The connection's door, which has answered or made way."""
        await site.until_open(1)
        (door,) = site.open
        assert isinstance(door, RouteDoor)
        wire.say(said)
        await wire.answer()
        return weakref.ref(door)

    async with site_of(timeout_keep_alive=600) as site:
        site.answers.is_decided.set()
        gc.collect()
        gc.disable()
        try:
            for said in (ROUTE, asking("/route?room=late"), ROUTE + ROUTE, asking("/nowhere"), "nonsense\r\n\r\n"):
                async with wire_to(site.port) as wire:
                    door = await door_of(wire, said)
                    if said not in AT_THE_DOOR:
                        await until(lambda: door() is None)  # noqa: B023 - it is awaited here
                await site.until_open(0)
                await until(lambda: door() is None)  # noqa: B023
        finally:
            gc.enable()
