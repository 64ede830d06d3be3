"""The door in a real uvicorn, by raw sockets: which requests begin a session, which take the stock way, and what
becomes of those that break the rules."""

import asyncio
import gc
import json
import socket
import struct
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

import httpx
import pytest
import socketio
import uvicorn
from starlette.applications import Starlette
from websockets.frames import Opcode

from director.entrance import open_entrances, protocol_of
from shard_node.contract.events import MAX_PAYLOAD_BYTES
from shard_node.fanout.bounded_http import MAX_HEAD, MAX_REQUEST, BoundedHttpProtocol
from shard_node.fanout.connection import Connection
from shard_node.fanout.door import Door, Sessions, doorway
from shard_node.fanout.server import HallServer
from shard_node.fanout.session import Session
from shard_node.fanout.transport import FindableWebSocketProtocol
from shard_node.health import OriginCheck
from tests.support.session_twins import ToldGateway
from tests.support.ws_frames import frames_in, masked, text

WITHIN = 20.0
ORIGIN = "http://page.example"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TARGET = "/socket.io/?EIO=4&transport=websocket"


@dataclass(slots=True)
class Node:
    """A listener with sessions and the stock server behind one door."""

    gateway: ToldGateway
    sessions: Sessions
    server: uvicorn.Server
    now: float = 0.0
    paths: list[str] = field(default_factory=list)
    trouble: list[OSError] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    @property
    def open(self) -> set[Any]:
        return self.server.server_state.connections

    async def until_open(self, number: int) -> None:
        """Wait until so many connections are open."""
        async with asyncio.timeout(WITHIN):
            while len(self.open) != number:  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0)


@asynccontextmanager
async def listening() -> AsyncIterator[Node]:
    gateway = ToldGateway()
    server = HallServer(gateway, origins=[ORIGIN], ping_interval=10, ping_timeout=5)
    sessions = Sessions(
        gateway,
        path="/socket.io/",
        origins=[ORIGIN],
        ping_interval=10,
        ping_timeout=5,
        now=lambda: node.now,
        random_bytes=token_bytes,
    )

    checked = OriginCheck(socketio.ASGIApp(server, other_asgi_app=Starlette()), [ORIGIN])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        node.paths.append(scope["path"])
        await checked(scope, receive, send)

    config = uvicorn.Config(
        app,
        port=0,
        http=BoundedHttpProtocol,
        ws=FindableWebSocketProtocol,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        ws_max_size=MAX_PAYLOAD_BYTES,
        lifespan="off",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    node = Node(gateway, sessions, uvicorn.Server(config))
    config.load()
    node.server.lifespan = config.lifespan_class(config)
    await node.server.startup()
    take = doorway(sessions, make_stock=lambda: protocol_of(node.server), listed=node.open)
    open_entrances(node.server, node.trouble.append, take)
    try:
        yield node
    finally:
        async with asyncio.timeout(WITHIN):
            await node.server.shutdown()


@pytest.fixture(name="node")
async def running_node() -> AsyncIterator[Node]:
    async with listening() as running:
        yield running


@dataclass(slots=True)
class Wire:
    """A client's end of a TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, data: str | bytes) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def head(self) -> bytes:
        """The head of the answer."""
        async with asyncio.timeout(WITHIN):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def frame(self) -> tuple[int, bytes]:
        """The next frame."""
        async with asyncio.timeout(WITHIN):
            start = await self.reader.readexactly(2)
            size = {126: 2, 127: 8}.get(start[1], 0)
            more = await self.reader.readexactly(size)
            length = int.from_bytes(more, "big") if size else start[1]
            ((opcode, payload),) = frames_in(start + more + await self.reader.readexactly(length))
            return opcode, payload

    async def packet(self) -> str:
        opcode, payload = await self.frame()
        assert opcode == Opcode.TEXT, (opcode, payload)
        return payload.decode()

    async def rest(self) -> bytes:
        """All until the end of the connection, however it ends."""
        async with asyncio.timeout(WITHIN):
            got = b""
            try:
                while more := await self.reader.read(65_536):
                    got += more
            except ConnectionError:
                pass
            return got

    async def joined(self) -> None:
        """The handshake is answered; join."""
        assert (await self.packet()).startswith("0{")
        self.say(text("40{}"))
        assert (await self.packet()).startswith("40{")
        assert (await self.packet()).startswith('42["joined"')


@asynccontextmanager
async def wire_to(node: Node) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def request(target: str = TARGET, *, first: str = "GET {} HTTP/1.1", **headers: str | None) -> str:
    """A handshake; a header is changed by its name with underscores, and left out with None."""
    asked: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in asked.items() if value is not None]
    return "\r\n".join([first.format(target), *lines, "", ""])


# who begins a session


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request("/socket.io/?transport=websocket&t=abc&EIO=4"),
        request(Origin=ORIGIN),
        request(Upgrade="WebSocket", Connection="keep-alive, Upgrade"),
        request().replace("Sec-WebSocket-", "SEC-websocket-").replace("Upgrade: ", "UPGRADE: "),
        request(X_Forwarded_For="a\r\nX-Forwarded-For: b\r\nCookie: c\r\nCookie: d"),
        request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"),
        request(X_Padding="x" * 30_000),
        "\r\n" + request(),
    ],
)
async def test_a_plain_handshake_begins_a_session(node: Node, asked: str) -> None:
    async with wire_to(node) as wire:
        wire.say(asked)
        head = await wire.head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert b"xtensions" not in head
        await wire.joined()
        assert node.paths == []
        assert {type(connection) for connection in node.open} == {Session}


async def test_a_head_in_pieces_of_a_byte_begins_a_session(node: Node) -> None:
    async with wire_to(node) as wire:
        for byte in request().encode():
            wire.say(bytes([byte]))
            await asyncio.sleep(0)
        await wire.head()
        await wire.joined()


async def test_frames_right_behind_the_head_are_read(node: Node) -> None:
    async with wire_to(node) as wire:
        wire.say(request().encode() + text("40{}") + text('427["send",{}]')[:9])
        await wire.head()
        assert (await wire.packet())[0] == "0"
        assert (await wire.packet()).startswith("40{")
        assert (await wire.packet()).startswith('42["joined"')
        wire.say(text('427["send",{}]')[9:])
        assert await wire.packet() == '437[{"ok":true,"name":"send"}]'


async def test_a_flood_before_the_answer_is_taken_in_pieces(node: Node) -> None:
    """256 KiB of small events in one step of the loop held everybody up for a third of a second."""
    async with wire_to(node) as wire:
        wire.say(request().encode() + text('42["send",{}]') * 20_000 + text("40{}"))
        await wire.head()
        await wire.packet()
        async with asyncio.timeout(WITHIN):
            turns = 0
            while not node.gateway.asked:
                turns += 1
                await asyncio.sleep(0)
        assert turns > 20, "others have their turn in between"
        assert (await wire.packet()).startswith("40{")
    assert node.gateway.events == [], "what is said before asking to be connected is nobody's"


# who takes the stock way


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(first="GET http://127.0.0.1{} HTTP/1.1"), 403),
        (request("/socket.io/?EIO=4&transport=websocket&j=0"), 101),
        (request("/socket.io/?EIO=%34&transport=websocket"), 101),
        (request(Sec_WebSocket_Protocol="x\r\nSec-WebSocket-Version: 13"), 400),
        (request(Sec_WebSocket_Key="short"), 400),
        (request(Sec_WebSocket_Key=None), 400),
        (request(Sec_WebSocket_Version="12"), 400),
        (request(Connection=None), 400),
        (request(Upgrade=None), 400),
        (request(Origin="http://foreign.example"), 403),
        (request(Origin="null"), 403),
        (request(Origin="http://foreign.example", Connection=None, Upgrade=None), 403),
        (request("/socket.io/?EIO=3&transport=websocket"), 403),
        (request("/socket.io/?EIO=4&transport=websocket&sid=unknown"), 403),
        (request("/socket.io?EIO=4&transport=websocket"), 101),
        (request("/elsewhere/?EIO=4&transport=websocket"), 403),
        (request("/elsewhere/", Connection=None, Upgrade=None), 404),
        (request("/socket.io/?EIO=4&transport=polling", Connection=None, Upgrade=None), 200),
        (request(first="POST {} HTTP/1.1", Connection=None, Upgrade=None, Content_Length="2") + "40", 400),
    ],
)
async def test_what_is_strange_takes_the_stock_way(node: Node, asked: str, status: int) -> None:
    async with wire_to(node) as wire:
        wire.say(asked)
        head = await wire.head()
        assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
        assert not any(type(connection) is Session for connection in node.open)


@pytest.mark.parametrize("first", ["GET {} HTTP/1.0", "POST {} HTTP/1.1", "CONNECT {} HTTP/1.1"])
async def test_only_a_get_of_http_1_1_begins_a_session(node: Node, first: str) -> None:
    async with wire_to(node) as wire:
        wire.say(request(first=first))
        await wire.head()
        assert not any(type(connection) is Session for connection in node.open)


@pytest.mark.parametrize("size", [1, 10, 100_000])
async def test_a_stock_request_in_pieces_and_the_next_one_on_the_same_connection_are_answered(
    node: Node, size: int
) -> None:
    asked = request("/elsewhere/", Connection=None, Upgrade=None).encode() * 2
    async with wire_to(node) as wire:
        for at in range(0, len(asked), size):
            wire.say(asked[at : at + size])
            await asyncio.sleep(0)
        for _ in range(2):
            assert (await wire.head()).startswith(b"HTTP/1.1 404 ")
            async with asyncio.timeout(WITHIN):
                await wire.reader.readexactly(len("Not Found"))


async def test_an_upgrade_from_polling_takes_the_stock_way_and_keeps_its_session(node: Node) -> None:
    async with wire_to(node) as polling, wire_to(node) as wire:
        polling.say(request("/socket.io/?EIO=4&transport=polling", Connection=None, Upgrade=None))
        await polling.head()
        async with asyncio.timeout(WITHIN):
            opened = await polling.reader.readuntil(b"}")
        sid = json.loads(opened[opened.index(b"{") :])["sid"]
        wire.say(request(f"{TARGET}&sid={sid}"))
        assert (await wire.head()).startswith(b"HTTP/1.1 101 ")
        wire.say(text("2probe"))
        assert await wire.packet() == "3probe"
        wire.say(text("5") + text("40{}"))
        packets = [await wire.packet() for _ in range(3)]
        assert [packet[:3] for packet in packets if packet != "6"][:2] == ["40{", "42["], packets


async def test_who_disconnects_by_polling_while_it_is_admitted_does_not_join(node: Node) -> None:
    node.gateway.doors.clear()
    url = f"http://127.0.0.1:{node.port}/socket.io/?EIO=4&transport=polling"
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN) as http:
        url += "&sid=" + json.loads((await http.get(url)).text[1:])["sid"]
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(http.post(url, content="40{}"))
            await node.gateway.asking.wait()
            assert (await http.post(url, content="41")).status_code == 200
            assert not asking.done()
            node.gateway.doors.set()
        assert node.gateway.members == []
        assert (await http.post(url, content='40{"v":2}')).status_code == 200
    assert [member.admission for member in node.gateway.members] == [{"v": 2}]


async def test_a_fault_of_ours_while_one_joins_by_polling_ends_its_session(node: Node) -> None:
    """It was told that it was connected, and heard no more."""

    def fail(connection: Connection) -> None:
        raise RuntimeError("a fault of ours")

    node.gateway.on_connected = fail
    url = f"http://127.0.0.1:{node.port}/socket.io/?EIO=4&transport=polling"
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN) as http:
        url += "&sid=" + json.loads((await http.get(url)).text[1:])["sid"]
        await http.post(url, content="40{}")
        await http.get(url)
        assert (await http.get(url)).status_code == 400
    assert node.gateway.left == node.gateway.members


@pytest.mark.parametrize(
    "asked", ["GET /soc", request(), request("/elsewhere/", Connection=None, Upgrade=None), "garbage\r\n\r\n"]
)
async def test_a_door_is_freed_as_soon_as_it_has_made_way(node: Node, asked: str) -> None:
    """It waited for the collector, with all that it had read."""
    gc.collect()
    gc.disable()
    try:
        async with wire_to(node) as wire:
            await node.until_open(1)
            (door,) = node.open
            freed = asyncio.Event()
            weakref.finalize(door, freed.set)
            del door
            wire.say(asked)
            if asked == "GET /soc":
                wire.writer.write_eof()
            async with asyncio.timeout(WITHIN):
                await freed.wait()
    finally:
        gc.enable()


async def test_a_fault_of_uvicorns_ends_the_connection_and_is_told_to_the_loop(node: Node) -> None:
    """It stayed open, and nobody would ever answer."""

    class Faulty(BoundedHttpProtocol):
        def data_received(self, data: bytes) -> None:
            raise RuntimeError("a fault of uvicorn's")

    faults = list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    node.server.config.http_protocol_class = Faulty
    async with wire_to(node) as wire:
        wire.say(request("/elsewhere/", Connection=None, Upgrade=None))
        assert await wire.rest() == b""
        await node.until_open(0)
    assert [type(fault) for fault in faults] == [RuntimeError]


async def test_a_connection_that_uvicorn_cannot_take_over_is_closed(node: Node) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("a fault of uvicorn's")

    asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
    node.server.config.http_protocol_class = fail  # type: ignore[assignment]
    async with wire_to(node) as wire:
        wire.say(request("/elsewhere/", Connection=None, Upgrade=None))
        assert await wire.rest() == b""
        await node.until_open(0)


# who breaks the rules


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nUpgrade : websocket\r\n\r\n",
    ],
)
async def test_garbage_gets_400(node: Node, garbage: bytes) -> None:
    async with wire_to(node) as wire:
        wire.say(garbage)
        assert (await wire.rest()).startswith(b"HTTP/1.1 400 ")
        await node.until_open(0)


@pytest.mark.parametrize(
    "head", ["GET / HTTP/1.1\r\nX: ", "GET /", "GET / HTTP/1.1\r\n" + "X: y\r\n" * 20_000], ids=range(3)
)
async def test_a_head_without_end_is_refused_and_not_kept(node: Node, head: str) -> None:
    """Stock kept a head of any size in memory."""
    async with wire_to(node) as wire:
        wire.say(head + "x" * MAX_HEAD)
        answer = await wire.rest()
        assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")), answer[:100]
        await node.until_open(0)


async def test_a_request_without_end_on_a_connection_that_had_one_is_cut(node: Node) -> None:
    async with wire_to(node) as wire:
        wire.say(request("/elsewhere/", Connection=None, Upgrade=None))
        assert (await wire.head()).startswith(b"HTTP/1.1 404 ")
        wire.say("GET / HTTP/1.1\r\nX: " + "x" * MAX_REQUEST + "y" * 300_000)
        await wire.rest()
        await node.until_open(0)


@pytest.mark.parametrize("said", ["", "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n"])
async def test_who_does_not_say_in_time_what_they_want_is_cut(said: str) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    sessions = Sessions(
        ToldGateway(), path="/", origins=[], ping_interval=10, ping_timeout=5, now=loop.time, random_bytes=token_bytes
    )
    listed = set[Any]()
    with theirs:
        theirs.setblocking(False)
        theirs.send(said.encode())
        Door(sessions, ours, None, make_stock=lambda: pytest.fail("for nobody"), listed=listed, head_within=0.05)
        async with asyncio.timeout(WITHIN):
            assert await loop.sock_recv(theirs, 100) == b""
        assert listed == set()


async def test_who_connects_and_leaves_without_a_word_leaves_nothing(node: Node) -> None:
    async with wire_to(node) as wire, wire_to(node) as other:
        wire.say("GET /soc")
        await node.until_open(2)
        other.writer.write_eof()
        await node.until_open(1)
    await node.until_open(0)


async def test_half_a_connection_ends_the_membership(node: Node) -> None:
    async with wire_to(node) as wire:
        wire.say(request())
        await wire.head()
        await wire.joined()
        wire.writer.write_eof()
        await wire.rest()
        await node.until_open(0)
        assert len(node.gateway.left) == 1


async def test_half_a_connection_that_reads_nothing_ends_as_well(node: Node) -> None:
    """It stayed a member for ever: its transport waited for a buffer that never emptied."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    with raw:
        await loop.sock_connect(raw, ("127.0.0.1", node.port))
        await loop.sock_sendall(raw, request().encode() + text("40{}"))
        async with asyncio.timeout(WITHIN):
            await node.gateway.joined.wait()
            (member,) = node.gateway.members
            while not member.unsent:
                await loop.sock_sendall(raw, masked(Opcode.PING, b"x" * 125) * 1_000)
        raw.shutdown(socket.SHUT_WR)
        await node.until_open(0)
    assert node.gateway.left == [member]


async def test_a_reset_ends_the_membership(node: Node) -> None:
    async with wire_to(node) as wire:
        wire.say(request())
        await wire.head()
        await wire.joined()
        raw = wire.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.writer.transport.abort()
        await node.until_open(0)
        assert len(node.gateway.left) == 1


async def test_who_never_joins_is_cut(node: Node) -> None:
    async with wire_to(node) as wire:
        wire.say(request())
        await wire.head()
        await node.until_open(1)
        beating = asyncio.create_task(node.sessions.run())
        node.now = 16.0
        await wire.rest()
        beating.cancel()
        await node.until_open(0)


async def test_shutdown_closes_sessions_and_doors_and_waits_for_nobody_who_does_not_read() -> None:
    async with listening() as node, wire_to(node) as wire, wire_to(node) as silent, wire_to(node) as stuck:
        for one in (wire, stuck):
            one.say(request())
            await one.head()
            await one.joined()
        (_, member) = node.gateway.members
        stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while member.reads:
            stuck.say(masked(Opcode.PING, b"x" * 125) * 1_000)
            async with asyncio.timeout(WITHIN):
                await stuck.writer.drain()
        silent.say("GET /soc")
        await node.until_open(3)
        assert sum(isinstance(connection, Door) for connection in node.open) == 1
        async with asyncio.timeout(WITHIN):
            await node.server.shutdown()
        assert await wire.frame() == (Opcode.CLOSE, b"\x03\xf4")
        assert node.open == set()
        assert len(node.gateway.left) == 2
