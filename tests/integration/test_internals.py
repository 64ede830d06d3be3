"""Internals of uvicorn, httptools, python-engineio and python-socketio that shard_node/fanout relies on, and those of
uvicorn and httptools that director/route_door does.

A test that fails here names what has moved, and where it is used: look there before raising a pinned version. Until it
is mended, `HALL_FANOUT=stock` uses fewer of them.
"""

# the stubs of python-socketio leave its internals out
# mypy: disable-error-code="attr-defined,misc"

import asyncio
import inspect
import math
import socket
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import engineio
import httptools
import pytest
import socketio
import uvicorn
from engineio import async_socket, payload
from engineio import packet as eio_packet
from engineio.async_drivers import asgi as eio_asgi
from engineio.exceptions import QueueEmpty
from packaging.requirements import Requirement
from socketio import packet as sio_packet
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Close, Opcode
from websockets.protocol import Protocol as WebSocketProtocol
from websockets.protocol import Side, State

from shard_node.fanout.inbound import read_packet

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def parameters_of(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def source_has(function: Callable[..., Any], *parts: str) -> bool:
    """Whether a function's source has these parts in this order. For what cannot be seen from outside."""
    source, at = inspect.getsource(function), 0
    for part in parts:
        at = source.find(part, at)
        if at < 0:
            return False
    return True


# versions


@pytest.mark.parametrize(
    ("name", "minor"),
    [("python-socketio", "5.18"), ("python-engineio", "4.15"), ("uvicorn", "0.54")],
)
def test_the_versions_are_those_that_were_read(name: str, minor: str) -> None:
    """pyproject pins the minor version, and it is what is installed."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    (required,) = [need for text in project["dependencies"] if (need := Requirement(text)).name == name]
    major, small = minor.split(".")
    assert version(name).startswith(f"{minor}."), (
        f"{name} {version(name)} is installed: shard_node/fanout knows {minor}"
    )
    for other in (f"{major}.{int(small) + 1}.0", f"{int(major) + 1}.0.0"):
        assert not required.specifier.contains(other), f"{required} admits {other}: pin {name}~={minor}.x"


@pytest.mark.parametrize("name", ["httptools", "websockets"])
def test_what_frames_and_parses_is_as_pyproject_has_it(name: str) -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    (required,) = [need for text in project["dependencies"] if (need := Requirement(text)).name == name]
    assert required.specifier.contains(version(name)), f"{name} {version(name)} is not {required}"
    assert any(it.operator == "<" for it in required.specifier), f"{required} has no upper bound"


# uvicorn


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def config_of(**changes: Any) -> uvicorn.Config:
    settings: dict[str, Any] = {"port": 0, "lifespan": "off", "log_config": None}
    return uvicorn.Config(app, **{**settings, **changes})


async def test_uvicorn_makes_our_class_for_each_connection_lists_it_and_shuts_it_down() -> None:
    """entrance.protocol_of does as it: by keyword with config, server_state and app_state; what stands in
    server_state.connections is told `shutdown()` and waited for."""
    told: list[str] = []

    class Made(asyncio.Protocol):
        def __init__(self, **kwargs: Any) -> None:
            assert set(kwargs) == {"config", "server_state", "app_state", "_loop"}, (
                f"uvicorn calls its HTTP protocol class with {sorted(kwargs)}: RouteDoor.__init__"
            )
            self.listed = kwargs["server_state"].connections

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.listed.add(self)
            made.set()

        def connection_lost(self, exc: Exception | None) -> None:
            self.listed.discard(self)
            told.append("lost")

        def shutdown(self) -> None:
            told.append("shutdown")
            self.transport.close()

    made = asyncio.Event()
    config = config_of(http=Made)
    server = uvicorn.Server(config)
    config.load()
    assert config.http_protocol_class is Made, "uvicorn.Config.http takes no class any more: listener.Listener"
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    _, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
    async with asyncio.timeout(20):
        await made.wait()
        await server.shutdown()
    writer.close()
    assert told == ["shutdown", "lost"], (
        "uvicorn does not end what stands in server_state.connections: Session.shutdown"
    )


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0


async def stock_http(**changes: Any) -> tuple[HttpToolsProtocol, Wire, ServerState]:
    config, state = config_of(http="httptools", **changes), ServerState()
    config.load()
    stock, wire = HttpToolsProtocol(config, state, {}), Wire()
    stock.connection_made(wire)
    assert state.connections == {stock}, "HttpToolsProtocol does not list itself: Door._make_way, RouteDoor._make_way"
    return stock, wire, state


async def test_uvicorns_http_protocol_takes_over_a_connection_that_another_has_begun() -> None:
    """Door._make_way and RouteDoor._make_way: made with three arguments, told connection_made and then all that was
    received, at once."""
    stock, wire, state = await stock_http()
    stock.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.gather(*state.tasks)
    assert wire.sent.startswith(b"HTTP/1.1 204 ")
    stock.data_received(b"\x16garbage\r\n\r\n")
    assert b"HTTP/1.1 400 " in wire.sent, "HttpToolsProtocol answers garbage otherwise: Door.received"


async def test_uvicorns_http_protocol_answers_with_what_the_director_s_door_takes_from_it() -> None:
    """director/route_door.RouteDoor: the status lines, the headers of every answer, what is counted and listed, and how
    long a connection is kept. What stands in server_state.tasks is waited for, and then cancelled."""
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n", "STATUS_LINE: RouteDoor._write"
    assert {307, 400, 401, 403, 429, 500, 503} <= STATUS_LINE.keys(), "STATUS_LINE: RouteDoor._write"
    stock, wire, state = await stock_http(timeout_keep_alive=7)
    assert stock.config.timeout_keep_alive == 7, "Config.timeout_keep_alive: RouteDoor.__init__"
    state.default_headers = [(b"date", b"today")]
    stock.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert len(state.tasks) == 1, "server_state.tasks: RouteDoor._answer"
    await asyncio.gather(*state.tasks)
    assert wire.sent.startswith(b"HTTP/1.1 204 No Content\r\ndate: today\r\n"), "default_headers: RouteDoor._write"
    assert state.total_requests == 1, "server_state.total_requests: RouteDoor._write"
    assert state.tasks == set()
    stock.connection_lost(None)
    assert state.connections == set(), "server_state.connections: RouteDoor._retire"
    assert source_has(
        uvicorn.Server.shutdown,
        "connection.shutdown()",
        "_wait_tasks_to_complete()",
        "timeout=self.config.timeout_graceful_shutdown",
        "for t in self.server_state.tasks:",
        "t.cancel(",
    ), "uvicorn ends otherwise: RouteDoor.shutdown, RouteDoor._write_later"
    assert source_has(uvicorn.Server.on_tick, "self.server_state.default_headers = "), "the date: RouteDoor._write"


async def test_uvicorns_http_protocol_keeps_no_connection_alive_for_http_1_0() -> None:
    """director/route_door.RouteDoor.on_headers_complete does as it does."""
    for http, headers, is_kept in (
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", False),
    ):
        stock, wire, state = await stock_http()
        stock.data_received(b"GET / HTTP/%b\r\nHost: x\r\n%b\r\n" % (http, headers))
        await asyncio.gather(*state.tasks)
        assert (b"connection: close" not in wire.sent) is is_kept, (http, headers)


async def test_uvicorns_http_protocol_says_when_a_request_begins() -> None:
    """bounded_http: counts what arrives since on_message_begin."""
    begun: list[int] = []

    class Counting(HttpToolsProtocol):
        def on_message_begin(self) -> None:
            begun.append(1)
            super().on_message_begin()

    config, state = config_of(http="httptools"), ServerState()
    config.load()
    stock = Counting(config, state, {})
    stock.connection_made(Wire())
    stock.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n")
    assert len(begun) == 1, "httptools calls on_message_begin otherwise: bounded_http.BoundedHttpProtocol"
    stock.data_received(b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert len(begun) == 2
    await asyncio.gather(*state.tasks)


async def test_uvicorns_websocket_protocol_can_be_found_from_the_scope() -> None:
    """transport.FindableWebSocketProtocol and lane.Lane: attributes of the sans-I/O class."""
    assert parameters_of(WebSocketsSansIOProtocol.handle_connect) == ["event"], "transport: handle_connect"
    assert parameters_of(WebSocketsSansIOProtocol.handle_ping) == [], "transport: handle_ping"
    assert parameters_of(WebSocketsSansIOProtocol.shutdown) == [], "transport: shutdown"
    assert callable(WebSocketsSansIOProtocol.stop_keepalive), "transport: stop_keepalive"
    config = config_of(ws="websockets-sansio")
    config.load()
    stock = WebSocketsSansIOProtocol(config, ServerState(), {})
    stock.connection_made(Wire())
    for name in ("transport", "conn", "writable", "handshake_complete", "scope"):
        assert hasattr(stock, name) or name == "scope", f"WebSocketsSansIOProtocol.{name} is gone: transport, lane"
    assert stock.writable.is_set(), "`writable` is set while the transport is drained: lane.Lane.is_drained"
    stock.pause_writing()
    assert not stock.writable.is_set(), "`writable` is set while the transport is drained: lane.Lane.is_drained"
    assert stock.conn.state is State.CONNECTING, "conn.state: lane.Lane.is_open"
    assert list(stock.conn.extensions) == [], "conn.extensions: lane.Lane.is_open"
    stock.data_received(
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert isinstance(stock.scope["extensions"], dict), "scope['extensions']: transport.handle_connect"
    for task in stock.tasks:
        task.cancel()
    await asyncio.gather(*stock.tasks, return_exceptions=True)


# httptools and websockets


class Heard:
    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.complete = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete += 1


UPGRADE = b"GET /x?y HTTP/1.1\r\nHost: x\r\nConnection: a, Upgrade\r\nUPGRADE: websocket\r\n\r\n"


@pytest.mark.parametrize("cut", range(1, len(UPGRADE), 7))
def test_httptools_says_where_the_head_of_an_upgrade_ends(cut: int) -> None:
    """door.Door.received: HttpParserUpgrade is raised, with the offset in the data of that call."""
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    parser.feed_data(UPGRADE[:cut])
    with pytest.raises(httptools.HttpParserUpgrade) as upgrade:
        parser.feed_data(UPGRADE[cut:] + b"\x81\x80")
    assert upgrade.value.args == (len(UPGRADE) - cut,)
    assert (heard.url, heard.complete) == (b"/x?y", 1)
    assert heard.headers == [(b"Host", b"x"), (b"Connection", b"a, Upgrade"), (b"UPGRADE", b"websocket")]
    assert (parser.get_method(), parser.get_http_version(), parser.should_upgrade()) == (b"GET", "1.1", True)


@pytest.mark.parametrize("missing", [b"Connection: a, Upgrade\r\n", b"UPGRADE: websocket\r\n"])
def test_httptools_takes_half_an_upgrade_for_none(missing: bytes) -> None:
    """door.Door.received: such a request takes the stock way when its head is complete."""
    heard = Heard()
    httptools.HttpRequestParser(heard).feed_data(UPGRADE.replace(missing, b""))
    assert heard.complete == 1


class Order(Heard):
    """Notes which callback comes when, and what the parser knows at the end of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.order.append("begin")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self.order.append("header")

    def on_headers_complete(self) -> None:
        kept = "kept" if self.parser.should_keep_alive() else "last"
        self.order.append(f"head {self.parser.get_method().decode()} {self.parser.get_http_version()} {kept}")

    def on_message_complete(self) -> None:
        self.order.append("whole")


def test_httptools_knows_at_the_end_of_a_head_whether_the_connection_is_kept() -> None:
    """director/route_door.RouteDoor: on_message_begin, on_url, on_header, on_headers_complete, in this order; a request
    without a body is whole with its head, and then the method is known still."""
    heard = Order()
    heard.parser.feed_data(b"\r\nGET /a HTTP/1.1\r\nHost: x\r\nEmpty:\r\n\r")
    assert heard.order == ["begin", "header"], "a header is told when the next begins: RouteDoor.on_header"
    heard.parser.feed_data(b"\n")
    assert heard.order == ["begin", "header", "header", "head GET 1.1 kept", "whole"]
    assert (heard.url, heard.headers) == (b"/a", [(b"Host", b"x"), (b"Empty", b"")])
    assert heard.parser.get_method() == b"GET", "get_method after the request: RouteDoor._is_for_us"
    heard.order.clear()
    heard.parser.feed_data(b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert heard.order == ["begin", "header", "head GET 1.1 last", "whole"]
    for http, said, kept in (
        ("1.0", "keep-alive", "kept"),
        ("1.0", "other", "last"),
        ("1.1", "other", "kept"),
    ):
        heard = Order()
        heard.parser.feed_data(f"GET / HTTP/{http}\r\nConnection: {said}\r\n\r\n".encode())
        assert heard.order == ["begin", "header", f"head GET {http} {kept}", "whole"]


@pytest.mark.parametrize("head", [b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_httptools_ends_a_head_before_a_body_comes(head: bytes) -> None:
    """director/route_door.RouteDoor.data_received makes way without waiting for it."""
    heard = Order()
    heard.parser.feed_data(b"GET / HTTP/1.1\r\n" + head + b"\r\n")
    assert heard.order == ["begin", "header", "head GET 1.1 kept"]


def test_httptools_says_when_one_read_holds_the_beginning_of_another_request() -> None:
    """director/route_door.RouteDoor.data_received makes way then."""
    heard = Order()
    heard.parser.feed_data(b"GET / HTTP/1.1\r\n\r\nG")
    assert heard.order == ["begin", "head GET 1.1 kept", "whole", "begin"]


@pytest.mark.parametrize("wire", [b"\x16\x03", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_httptools_errors_have_one_ancestor(wire: bytes) -> None:
    with pytest.raises(httptools.HttpParserError) as error:
        httptools.HttpRequestParser(Heard()).feed_data(wire)
    assert not isinstance(error.value, httptools.HttpParserUpgrade), "door.Door.received catches both apart"


def test_websockets_parses_closes_and_keeps_its_protocols_state() -> None:
    """websocket.answer_to_close, lane.Lane."""
    assert Close.parse(b"\x03\xe8").code == 1000
    conn = WebSocketProtocol(Side.SERVER, state=State.OPEN)
    assert (conn.state, conn.extensions) == (State.OPEN, [])
    assert (Opcode.TEXT, Opcode.CLOSE, Opcode.CONT) == (1, 8, 0)


# python-engineio


class Engine(engineio.AsyncServer):
    """With a queue that can be told from another."""

    def create_queue(self, *args: Any, **kwargs: Any) -> Any:
        queue: Any = asyncio.Queue()
        queue.ours = True
        return queue


def engine() -> Engine:
    return Engine(async_mode="asgi", ping_interval=10, ping_timeout=5, monitor_clients=False)


async def test_an_engine_socket_has_what_lanes_and_connections_look_at() -> None:
    """lane.Lane, lane.LaneQueue, one_poll.OnePoll, stock_connection.StockConnection."""
    server = engine()
    socket = async_socket.AsyncSocket(server, "sid")
    assert socket.queue.ours, "sockets do not ask create_queue: server._Engine.create_queue"
    for name in ("connected", "upgrading", "upgraded", "closing", "closed"):
        assert getattr(socket, name) is False, f"AsyncSocket.{name} moved: lane, one_poll, stock_connection"
    assert (socket.sid, socket.server) == ("sid", server)
    socket.lane = None  # it has no slots: lane.Lane
    one, two = (eio_packet.Packet(eio_packet.MESSAGE, words) for words in "ab")
    socket.queue.put_nowait(one)
    socket.queue.put_nowait(two)
    assert await socket.poll() == [one, two], "poll gives all that waits: lane.Lane._ask_for_more"
    socket.queue.put_nowait(None)
    assert await socket.poll() == [], "None in the queue ends the writer: stock_connection._close_polling"
    assert parameters_of(socket.close) == ["wait", "abort", "reason"]


def test_an_engine_socket_is_polled_by_its_attribute_and_closed_at_an_empty_queue() -> None:
    """lane.Lane and one_poll.OnePoll put themselves in the place of `poll`."""
    assert source_has(async_socket.AsyncSocket._websocket_handler, "await self.poll()"), "the writer task: lane.Lane"
    assert source_has(
        async_socket.AsyncSocket.handle_get_request, "await self.poll()", "except exceptions.QueueEmpty", "self.close("
    ), "a poll that finds nothing closes the session: one_poll.OnePoll"
    assert issubclass(QueueEmpty, Exception)
    assert source_has(
        async_socket.AsyncSocket._websocket_handler,
        "if self.connected:",
        "self.upgrading = True",
        "PONG, data='probe'",
        "self.upgraded = True",
        "self.upgrading = False",
        "async def writer",
    ), "the steps of an upgrade: lane.Lane, server._WebSocket"


def test_the_engine_takes_its_websocket_class_from_its_driver() -> None:
    """server._Engine, server._WebSocket."""
    server = engine()
    assert server._async["websocket"] is eio_asgi.WebSocket, "_async: server._Engine.__init__"
    assert isinstance(server.sockets, dict), "sockets: server.HallServer._cut_idle"
    handler = async_socket.AsyncSocket(server, "sid")._websocket_handler
    assert eio_asgi.WebSocket(handler, server).handler.__self__.sid == "sid", "handler: server._WebSocket.__call__"
    assert parameters_of(eio_asgi.WebSocket.__call__) == ["environ"]
    assert parameters_of(eio_asgi.WebSocket.wait) == []
    assert parameters_of(engineio.AsyncServer._handle_connect) == ["environ", "transport", "jsonp_index"]
    assert server._bad_request("why")["status"].startswith("400 "), "_bad_request: server._Engine._handle_connect"
    assert source_has(eio_asgi.translate_request, "'asgi.scope': scope"), "environ['asgi.scope']: transport.protocol_of"


def test_the_engine_limits_the_packets_of_a_post() -> None:
    """server.MAX_PACKETS_A_POST."""
    limit = payload.Payload.max_decode_packets
    payload.Payload(encoded_payload="\x1e".join(["2"] * limit))
    with pytest.raises(ValueError, match="packets"):
        payload.Payload(encoded_payload="\x1e".join(["2"] * (limit + 1)))


# python-socketio


def test_the_servers_own_hooks_are_where_we_hold_on() -> None:
    """server.HallServer overrides these."""
    server = socketio.AsyncServer
    assert parameters_of(server._handle_eio_connect) == ["eio_sid", "environ"]
    assert parameters_of(server._handle_eio_message) == ["eio_sid", "data"]
    assert parameters_of(server._handle_eio_disconnect) == ["eio_sid", "reason"]
    assert parameters_of(server._handle_connect) == ["eio_sid", "namespace", "data"]
    assert parameters_of(server._handle_disconnect) == ["eio_sid", "namespace", "reason"]
    assert parameters_of(server._engineio_server_class) == []
    running = server(async_mode="asgi", namespaces=["/"])
    assert running.eio.handlers["message"] == running._handle_eio_message, "messages go elsewhere: HallServer"
    assert running.eio.async_handlers is False, "one client's packets may overtake each other: HallServer"
    assert running.environ == {}
    assert running.reason.PING_TIMEOUT == "ping timeout"


def test_connect_leaves_before_the_manager_is_told_and_refusals_before_it_forgets() -> None:
    """server._Members.connect: `joined` follows CONNECT because nothing is awaited between."""
    assert source_has(
        socketio.AsyncServer._handle_connect,
        "await self.manager.pre_connect(",
        "await self._trigger_event(",
        "except exceptions.ConnectionRefusedError",
        "packet.CONNECT_ERROR",
        "await self.manager.disconnect(sid, namespace, ignore_queue=True)",
        "elif not self.always_connect",
        "packet.CONNECT, {'sid': sid}",
        "await self.manager.connect(sid, namespace)",
    )


async def test_the_managers_lists_are_those_that_we_clear() -> None:
    """server._Members.basic_disconnect: rooms, callbacks, pending_connect and pending_disconnect, and nothing else."""
    server = socketio.AsyncServer(async_mode="asgi", namespaces=["/"])
    manager = server.manager
    manager.set_server(server)
    lists = {name for name, value in vars(manager).items() if isinstance(value, dict)}
    assert lists == {"rooms", "eio_to_sid", "callbacks", "pending_connect", "pending_disconnect"}
    sid = await manager.pre_connect("eio", "/")
    assert manager.pending_connect == {"/": [sid]}
    assert set(manager.rooms["/"]) == {None, sid}, "a sid is in other rooms as well: _Members.basic_disconnect"
    assert not manager.is_connected(sid, "/"), "a pending one counts as connected: HallServer._handle_eio_message"
    assert await manager.connect(sid, "/") == sid
    assert manager.pending_connect == {}
    assert (manager.sid_from_eio_sid("eio", "/"), manager.eio_sid_from_sid(sid, "/")) == (sid, "eio")
    manager.pre_disconnect(sid, "/")
    assert manager.pending_disconnect == {"/": [sid]}
    assert parameters_of(manager.basic_disconnect) == ["sid", "namespace", "kwargs"]
    manager.basic_disconnect(sid, "/")
    assert (manager.rooms, manager.pending_disconnect, manager.eio_to_sid) == ({}, {}, {})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('0{"v":1}', (0, None, None, {"v": 1})),
        ("0/admin,", (0, "/admin", None, None)),
        ("1", (1, None, None, None)),
        ("0", (0, None, None, None)),
        ('2["send",{}]', (2, None, None, ["send", {}])),
        ('20["send",{}]', (2, None, 0, ["send", {}])),
        ('2/admin,7["send",{}]', (2, "/admin", 7, ["send", {}])),
        ('27["send",NaN]', (2, None, 7, ["send", None])),
        ('27["send",{}]', (2, None, 7, ["send", {}])),
        ('51-7["send",{"_placeholder":true,"num":0}]', (5, None, 7, ["send", {"_placeholder": True, "num": 0}])),
    ],
)
def test_packets_are_decoded_alike_by_stock_and_by_us(text: str, read: tuple[Any, ...]) -> None:
    """inbound.read_packet: what it reads by itself it reads as stock does."""
    stock = sio_packet.Packet(encoded_packet=text)  # type: ignore[arg-type]
    ours = read_packet(text)
    assert ours is not None
    for packet in (stock, ours):
        said: Any = packet.data
        data = ["send", None] if "NaN" in text and math.isnan(said[1]) else said
        assert (packet.packet_type, packet.namespace, packet.id, data) == read
    assert (sio_packet.CONNECT, sio_packet.DISCONNECT, sio_packet.EVENT, sio_packet.BINARY_EVENT) == (0, 1, 2, 5)


# the entrance (director/entrance.py)


def test_asyncios_selector_loop_makes_a_transport_of_an_accepted_socket() -> None:
    make = asyncio.SelectorEventLoop._make_socket_transport
    assert parameters_of(make) == ["sock", "protocol", "waiter", "extra", "server"]
    assert source_has(make, "_SelectorSocketTransport(self, sock, protocol, waiter,", "extra, server)")


async def test_asyncios_transport_tells_of_the_connection_before_it_reads_and_leaves_a_place_between() -> None:
    """door.Door._make_way: connection_made, then what the door has read, then what comes; and a descriptor that had a
    reader of its own may have a transport when that is removed."""
    loop: Any = asyncio.get_running_loop()
    told: list[Any] = []
    done = asyncio.Event()

    class Noting(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            told.append(transport.get_extra_info("peername"))

        def data_received(self, data: bytes) -> None:
            told.append(data)
            done.set()

    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        loop.add_reader(ours.fileno(), lambda: told.append("its own reader"))
        theirs.send(b"more")
        loop.remove_reader(ours.fileno())
        transport = loop._make_socket_transport(ours, Noting(), extra={"peername": "them"})
        loop.call_soon(told.append, "what was read before")
        async with asyncio.timeout(20):
            await done.wait()
        transport.abort()
    assert told == ["them", "what was read before", b"more"]


async def test_a_reader_that_was_removed_in_the_same_turn_is_not_called() -> None:
    """wire.Wire: a connection that is lost is not read, though it was ready."""
    loop = asyncio.get_running_loop()
    called: list[int] = []
    pairs = [socket.socketpair() for _ in range(2)]
    ends = [ours for ours, _ in pairs]

    def call(number: int) -> None:
        called.append(number)
        for end in ends:
            loop.remove_reader(end.fileno())

    for number, (ours, theirs) in enumerate(pairs):
        theirs.send(b"x")
        loop.add_reader(ours.fileno(), call, number)
    async with asyncio.timeout(20):
        while not called:  # noqa: ASYNC110 - the loop itself is what is waited for
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(called) == 1
    for pair in pairs:
        for end in pair:
            end.close()


async def test_a_listening_socket_of_asyncios_server_is_read_by_whoever_reads_it_and_closed_by_the_server() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    (listening,) = server.sockets
    assert listening._sock.fileno() == listening.fileno()
    assert loop.remove_reader(listening.fileno()), "the server has read it"
    loop.add_reader(listening.fileno(), lambda: None)
    server.close()
    assert listening._sock.fileno() == -1


def test_uvicorns_server_has_its_servers_and_makes_protocols_as_we_do() -> None:
    assert source_has(
        uvicorn.Server.startup, "config.http_protocol_class(", "server_state=", "app_state=self.lifespan.state"
    )
    assert source_has(uvicorn.Server.startup, "self.servers = [server]", "self.started = True")
