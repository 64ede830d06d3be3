"""The door: what reads first from each connection. The handshake of a plain Engine.IO session begins a Session; the
rest (HTTP, an upgrade from polling, another path, a foreign origin, a strange handshake) takes the stock way."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import httptools
from websockets.frames import Opcode

from shard_node.contract.events import MAX_PAYLOAD_BYTES
from shard_node.fanout import websocket
from shard_node.fanout.bounded_http import MAX_HEAD
from shard_node.fanout.heartbeat import Heartbeat, Pinged
from shard_node.fanout.inbound import Gateway
from shard_node.fanout.session import Session
from shard_node.fanout.session_host import Transport
from shard_node.fanout.session_ids import SessionIds
from shard_node.fanout.turnstile import Admit, Turnstile
from shard_node.fanout.wire import Wire

BEAT_EVERY = 0.1
HEAD_WITHIN = 15.0
Take = Callable[[socket.socket, object], None]
"""Takes a connection that was accepted, and the address of its other end."""

_BEGINS = frozenset({b"EIO=4", b"transport=websocket"})
# what decides; whatever else a proxy adds, once or many times, does not
_READ_HEADERS = frozenset({b"connection", b"upgrade", b"origin", b"sec-websocket-key", b"sec-websocket-version"})
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Sessions:
    """All sessions of a node: what they share, and what keeps them alive. `path` has its slashes."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        path: str,
        origins: Sequence[str],
        ping_interval: int,
        ping_timeout: int,
        now: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.gateway = gateway
        self._path = path.encode()
        self._origins = frozenset(origin.encode() for origin in origins)
        self._now = now
        self._heartbeat = Heartbeat(interval=ping_interval, timeout=ping_timeout)
        self._opening = b',"upgrades":[],"pingInterval":%d,"pingTimeout":%d,"maxPayload":%d}' % (
            ping_interval * 1000,
            ping_timeout * 1000,
            MAX_PAYLOAD_BYTES,
        )
        self._ids = SessionIds(random_bytes)
        self._open: set[Any] = set()
        self._turnstile = Turnstile()

    async def run(self) -> None:
        """Keep the heartbeat until cancelled."""
        try:
            while True:
                await asyncio.sleep(BEAT_EVERY)
                self._heartbeat.beat(self._now())
        finally:
            self._turnstile.close()

    def takes(self, target: bytes, headers: dict[bytes, bytes]) -> bool:
        """Whether a request for an upgrade begins a session here."""
        path, _, query = target.partition(b"?")
        if path != self._path or not websocket.accepts(headers):
            return False
        asked = query.split(b"&")
        if not _BEGINS.issubset(asked) or any(it.startswith((b"sid=", b"j=")) for it in asked):
            return False
        origin = headers.get(b"origin")
        return origin is None or origin in self._origins

    def begin(self, transport: Transport, headers: dict[bytes, bytes], *, listed: set[Any]) -> Session:
        """Shake hands and open the Engine.IO session; the transport is the session's from now on, and while it is open
        it stands in uvicorn's list."""
        session = Session(self, transport)
        opened = websocket.frame_of(Opcode.TEXT, b'0{"sid":"%b"%b' % (self.new_sid().encode(), self._opening))
        transport.write(websocket.handshake_of(headers) + opened)
        self._open = listed
        listed.add(session)
        self._heartbeat.add(session, self._now())
        return session

    def new_sid(self) -> str:
        return self._ids.new()

    def queue(self, admit: Admit) -> None:
        self._turnstile.queue(admit)

    def watch_joining(self, session: Pinged) -> None:
        self._heartbeat.watch_joining(session, self._now())

    def gone(self, session: object) -> None:
        self._open.discard(session)


class Door:
    """Reads the head of a connection's first request, and makes way. `make_stock` makes uvicorn's own protocol;
    `listed` is uvicorn's list of what is open. Who has not said in `head_within` seconds what they want is cut."""

    def __init__(
        self,
        sessions: Sessions,
        connection: socket.socket,
        address: object,
        *,
        make_stock: Callable[[], asyncio.Protocol],
        listed: set[Any],
        head_within: float = HEAD_WITHIN,
    ) -> None:
        self._sessions = sessions
        self._address = address
        self._make_stock = make_stock
        self._listed = listed
        self._parser: Any = httptools.HttpRequestParser(self)
        self._received = b""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._is_read = False
        self._wire = Wire(connection)
        self._wire.receiver = self
        self._deadline = asyncio.get_running_loop().call_later(head_within, self._wire.abort)
        listed.add(self)

    # the wire's side

    def received(self, data: bytes) -> None:
        self._received += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            headers = dict(self._headers)
            if len(headers) == len(self._headers) and self._begins_session(headers):
                self._begin_session(headers, data[upgrade.args[0] :])
                return
        except httptools.HttpParserError:
            pass  # uvicorn says so
        else:
            if not self._is_read:
                if len(self._received) > MAX_HEAD:
                    self._wire.write(_TOO_LARGE)
                    self._wire.close()
                return
        self._make_way()

    def eof_received(self) -> None:
        pass

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._retire()

    # uvicorn's side

    def shutdown(self) -> None:
        """uvicorn ends before the request is read."""
        self._wire.close()

    # httptools' side

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _READ_HEADERS:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._is_read = True

    # which way

    def _begins_session(self, headers: dict[bytes, bytes]) -> bool:
        return (
            self._parser.get_method() == b"GET"
            and self._parser.get_http_version() == "1.1"
            and headers.get(b"upgrade", b"").lower() == b"websocket"
            and self._sessions.takes(self._target, headers)
        )

    def _begin_session(self, headers: dict[bytes, bytes], rest: bytes) -> None:
        self._retire()
        session = self._wire.receiver = self._sessions.begin(self._wire, headers, listed=self._listed)
        if rest:
            session.received(rest)

    def _make_way(self) -> None:
        self._retire()
        stock = self._make_stock()
        connection = self._wire.detach()
        loop: Any = asyncio.get_running_loop()
        transport = loop._make_socket_transport(connection, stock, extra={"peername": self._address})
        # behind connection_made, and before what is read from now on
        loop.call_soon(_read_on, stock, transport, self._received)

    def _retire(self) -> None:
        self._deadline.cancel()
        self._listed.discard(self)
        self._parser = None  # it holds the door: a circle that would wait for the collector


def _read_on(stock: Any, transport: asyncio.Transport, received: bytes) -> None:
    """Give uvicorn's protocol what the door has read, as asyncio would."""
    try:
        stock.data_received(received)
    except BaseException:
        transport.abort()  # it would stay open, and nobody would answer
        raise


def doorway(sessions: Sessions, *, make_stock: Callable[[], asyncio.Protocol], listed: set[Any]) -> Take:
    """What takes connections that were accepted."""

    def take(connection: socket.socket, address: object) -> None:
        Door(sessions, connection, address, make_stock=make_stock, listed=listed)

    return take
