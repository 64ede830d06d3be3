"""python-socketio's server, for all that begins with long-polling, with the dispatch of events taken over: each is
answered, in the order in which they came.

What stock does differently, and why not here: it starts a task for each event (order is lost at the first await),
gives no ack for events that nobody handles or that raise, lets clients call its own `connect` and `disconnect`
handlers, waits for attachments, and walks all rooms of the namespace when one member leaves.
"""

# the stubs of python-socketio leave its internals out
# mypy: disable-error-code="misc,attr-defined,has-type,override,arg-type,unused-ignore"

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import engineio
import msgspec
import socketio
import structlog
from engineio import payload
from engineio.async_drivers import asgi as eio_asgi
from socketio import packet as sio_packet
from socketio.exceptions import ConnectionRefusedError as SocketRefused

from director.contract.errors import ErrorCode, Refusal
from shard_node.contract.events import MAX_PAYLOAD_BYTES
from shard_node.fanout.inbound import EarlyEvents, Gateway, is_oversized, pass_on, read_packet
from shard_node.fanout.lane import Lane, LaneQueue
from shard_node.fanout.one_poll import OnePoll
from shard_node.fanout.stock_connection import StockConnection
from shard_node.fanout.transport import protocol_of

MAX_PACKETS_A_POST = 256
CONNECT_WITHIN = 15.0
CUT_AFTER_BYE = 2.0
PROBE_WITHIN = 10.0
_PACKET_TYPES = frozenset("0123456")
NO_ORIGIN = "none:"

_log = structlog.get_logger()


class _WebSocket(eio_asgi.WebSocket):
    """Gives the Engine.IO socket its lane: at the start, or when it upgrades from polling."""

    async def __call__(self, environ: Any) -> Any:
        socket = self.handler.__self__
        protocol = protocol_of(environ["asgi.scope"])
        if protocol is None:
            return await super().__call__(environ)
        if socket.upgrading:
            # a second upgrade at once would part the writer from the lane
            await environ["asgi.send"]({"type": "websocket.close"})
            return ""
        lane = Lane(socket, protocol, direct=socket.server.direct)
        probing = asyncio.get_running_loop().call_later(PROBE_WITHIN, _give_up_probe, socket, lane)
        try:
            return await super().__call__(environ)
        finally:
            probing.cancel()
            if not socket.upgraded:
                lane.withdraw(socket)

    async def wait(self) -> Any:
        while True:
            data = await super().wait()
            if not isinstance(data, str) or data[:1] in _PACKET_TYPES:
                return data
            # stock's reader dies of what is no packet, and leaves the member behind


class _Engine(engineio.AsyncServer):
    direct = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._async = {**self._async, "websocket": _WebSocket}

    async def _handle_connect(self, environ: Any, transport: str, jsonp_index: Any = None) -> Any:
        if transport == "websocket" and environ["asgi.scope"]["type"] != "websocket":
            # an Upgrade header without its Connection header: stock begins a session, and answers 500
            return self._bad_request("Invalid websocket upgrade")
        return await super()._handle_connect(environ, transport, jsonp_index)

    def create_queue(self, *args: Any, **kwargs: Any) -> LaneQueue:
        return LaneQueue()


class _Members(socketio.AsyncManager):
    """Hooks the moment at which CONNECT has been written, and leaves in constant time."""

    def __init__(self, on_connected: Callable[[str], None]) -> None:
        super().__init__()
        self._on_connected = on_connected

    async def connect(self, sid: str, namespace: str) -> str:
        connected: str = await super().connect(sid, namespace)
        self._on_connected(connected)
        return connected

    def basic_disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        # stock looks for the sid in every room; here a sid is in the namespace's own and in that of its name
        for room in (sid, None):
            self.basic_leave_room(sid, namespace, room)
        self.callbacks.pop(sid, None)
        for waiting in (self.pending_connect, self.pending_disconnect):
            if sid in waiting.get(namespace, ()):
                waiting[namespace].remove(sid)
                if not waiting[namespace]:
                    del waiting[namespace]


class HallServer(socketio.AsyncServer):
    """The Socket.IO server of a node: one namespace, no binary data, every event with an ack id answered. Unless
    `direct`, all that it sends takes the stock way."""

    def __init__(
        self, gateway: Gateway, *, origins: Sequence[str], ping_interval: int, ping_timeout: int, direct: bool = True
    ) -> None:
        payload.Payload.max_decode_packets = MAX_PACKETS_A_POST
        super().__init__(
            async_mode="asgi",
            client_manager=_Members(self._connected),
            namespaces=["/"],
            # an empty list would switch the check off for WebSocket
            cors_allowed_origins=list(origins) or [NO_ORIGIN],
            cors_credentials=False,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_http_buffer_size=MAX_PAYLOAD_BYTES,
            http_compression=False,
        )
        self.eio.direct = direct
        self._gateway = gateway
        self._connections: dict[str, StockConnection] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.on("connect", self._admit)
        self.on("disconnect", self._leave)

    def _end(self, connection: StockConnection) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self.disconnect(connection.sid), name="orderly close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        loop.call_later(CUT_AFTER_BYE, connection.cut)

    def _engineio_server_class(self) -> type[engineio.AsyncServer]:
        return _Engine

    # connecting and leaving

    async def _handle_eio_connect(self, eio_sid: str, environ: Any) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        socket = self.eio.sockets[eio_sid]
        socket.lane = None  # on long-polling; a WebSocket brings one
        socket.poll = OnePoll(socket)
        socket.queue.on_overflow = StockConnection("", socket).cut
        # stock keeps a session that never asks to be connected
        asyncio.get_running_loop().call_later(CONNECT_WITHIN, self._cut_idle, eio_sid)

    def _cut_idle(self, eio_sid: str) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and self.manager.sid_from_eio_sid(eio_sid, "/") is None:
            StockConnection("", socket).cut()

    async def _admit(self, sid: str, environ: Any, auth: object) -> None:
        socket = self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, "/"))
        connection = StockConnection(sid, socket, end=self._end)
        connection.early = EarlyEvents()
        self._connections[sid] = connection
        try:
            connection.admission = await self._gateway.connecting(auth)
        except Refusal as refusal:
            self._forget(sid)
            raise SocketRefused(refusal.code.value, msgspec.to_builtins(refusal.shape)) from None
        except Exception:  # noqa: BLE001 - stock would leave the client without any answer
            _log.exception("connect_failed")
            self._forget(sid)
            busy = Refusal(ErrorCode.BUSY, "the node failed to admit you; try again", retry_after_ms=1000)
            raise SocketRefused(busy.code.value, msgspec.to_builtins(busy.shape)) from None

    def _connected(self, sid: str) -> None:
        connection = self._connections.get(sid)
        if connection is None or connection.early is None or not connection.is_open:
            # gone, or disconnected, between its request and the answer: stock would keep a ghost
            self._forget(sid)
            self.manager.basic_disconnect(sid, "/")
            return
        connection.joined = True
        early, connection.early = connection.early, None
        try:
            self._gateway.connected(connection)
        except Exception:
            connection.cut()  # it has been told that it is connected, and would hear no more
            raise
        if connection.joined:
            early.pass_on(self._gateway, connection)

    async def _leave(self, sid: str, reason: str) -> None:
        connection = self._forget(sid)
        if connection is not None:
            connection.release_poll()

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, "/")
        await super()._handle_eio_disconnect(eio_sid, reason)
        if sid is not None:
            self._forget(sid)
        socket = self.eio.sockets.get(eio_sid)
        if socket is None:
            return
        if reason == self.reason.PING_TIMEOUT:
            # stock leaves the socket, its queue and its tasks of a client that stopped reading
            StockConnection("", socket).cut()
        elif not socket.upgraded:
            # the client's last poll hangs: its leave-taking must not wait for the next ping
            StockConnection("", socket).release_poll()

    def _forget(self, sid: str) -> StockConnection | None:
        connection = self._connections.pop(sid, None)
        if connection is None:
            return None
        if connection.joined:
            connection.joined = False
            self._gateway.disconnected(connection)
        # a session without a namespace would live on by answering pings
        asyncio.get_running_loop().call_later(CONNECT_WITHIN, self._cut_idle, connection.eio_sid)
        return connection

    # events

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        if not isinstance(data, str):
            return
        packet = read_packet(data)
        if packet is None:
            return
        match packet.packet_type:
            case sio_packet.CONNECT:
                if eio_sid not in self.environ:
                    return  # it has closed: to connect it would make a ghost
                # one request a session: a second would make a ghost
                if self.manager.sid_from_eio_sid(eio_sid, "/") is None or packet.namespace not in (None, "/"):
                    await self._handle_connect(eio_sid, packet.namespace, packet.data)
            case sio_packet.DISCONNECT:
                if packet.namespace in (None, "/"):
                    self._give_up_admission(eio_sid)
                await self._handle_disconnect(eio_sid, packet.namespace, self.reason.CLIENT_DISCONNECT)
            case sio_packet.EVENT | sio_packet.BINARY_EVENT:
                self._take(eio_sid, packet, oversized=is_oversized(data))
            case _:
                pass

    def _give_up_admission(self, eio_sid: str) -> None:
        connection = self._connections.get(self.manager.sid_from_eio_sid(eio_sid, "/"))
        if connection is not None:
            connection.early = None

    def _take(self, eio_sid: str, packet: Any, *, oversized: bool) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, "/")
        if sid is None or packet.namespace not in (None, "/"):
            return
        connection = self._connections.get(sid)
        if connection is None:
            return
        if connection.joined:
            pass_on(self._gateway, connection, packet, oversized=oversized)
        elif connection.early is not None:
            connection.early.keep(packet, oversized=oversized)


def _give_up_probe(socket: Any, lane: Lane) -> None:
    """A WebSocket that asked for an upgrade and never completed it."""
    if not socket.upgraded:
        lane.transport.abort()
