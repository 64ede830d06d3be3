"""The door: uvicorn's WebSocket protocol class. A handshake of a plain Engine.IO session begins a Session of our own;
all else (an upgrade from polling, another path, a foreign origin, a strange handshake) takes the stock way."""

import asyncio
import base64
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec
from websockets.frames import Opcode

from shard_node.contract.events import MAX_PAYLOAD_BYTES
from shard_node.fanout import websocket
from shard_node.fanout.heartbeat import Heartbeat
from shard_node.fanout.inbound import Gateway
from shard_node.fanout.session import Session
from shard_node.fanout.transport import FindableWebSocketProtocol

BEAT_EVERY = 0.1


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
    ) -> None:
        self.gateway = gateway
        self._path = path.encode()
        self._origins = frozenset(origin.encode() for origin in origins)
        self._now = now
        self._heartbeat = Heartbeat(interval=ping_interval, timeout=ping_timeout)
        self._pings = {"pingInterval": ping_interval * 1000, "pingTimeout": ping_timeout * 1000}
        self._open: set[Any] = set()
        self._admissions: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keep the heartbeat until cancelled."""
        while True:
            await asyncio.sleep(BEAT_EVERY)
            self._heartbeat.beat(self._now())

    def takes(self, target: bytes, headers: dict[bytes, bytes]) -> bool:
        """Whether a request for an upgrade begins a session here."""
        path, _, query = target.partition(b"?")
        if path != self._path or not websocket.accepts(headers):
            return False
        asked = parse_qs(query)
        if asked.get(b"EIO") != [b"4"] or asked.get(b"transport") != [b"websocket"] or b"sid" in asked:
            return False
        origin = headers.get(b"origin")
        return origin is None or origin in self._origins

    def begin(self, transport: asyncio.Transport, headers: dict[bytes, bytes], *, listed: set[Any]) -> Session:
        """Shake hands and open the Engine.IO session; the transport is the session's from now on, and while it is open
        it stands in uvicorn's list."""
        session = Session(self, transport)
        opening = {"sid": self.new_sid(), "upgrades": [], **self._pings, "maxPayload": MAX_PAYLOAD_BYTES}
        opened = websocket.frame_of(Opcode.TEXT, b"0" + msgspec.json.encode(opening))
        transport.write(websocket.handshake_of(headers) + opened)
        self._open = listed
        listed.add(session)
        self._heartbeat.add(session, self._now())
        return session

    def new_sid(self) -> str:
        """As unguessable as python-engineio's."""
        return base64.urlsafe_b64encode(secrets.token_bytes(15)).decode()

    def spawn(self, admission: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(admission)
        self._admissions.add(task)
        task.add_done_callback(self._admissions.discard)

    def watch_joining(self, session: Session) -> None:
        self._heartbeat.watch_joining(session, self._now())

    def gone(self, session: Session) -> None:
        self._open.discard(session)


class Door(asyncio.Protocol):
    """What uvicorn makes for each request for an upgrade. Give it a subclass of `door_to` as `ws=`."""

    sessions: Sessions

    def __init__(self, config: Any, server_state: Any, app_state: Any) -> None:
        self._stock: Callable[[], Any] = lambda: FindableWebSocketProtocol(config, server_state, app_state)
        self._listed: set[Any] = server_state.connections
        self._inner: Any = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """uvicorn's httptools protocol gives the request, written anew with header names in lower case, and then sets
        this object as the transport's protocol; in the loop's next step it makes way."""
        request, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        _, target, _ = request.split(b" ", 2)
        if len(headers) == len(lines) and self.sessions.takes(target, headers):
            self._inner = self.sessions.begin(self._transport, headers, listed=self._listed)
        else:
            self._inner = self._stock()
            self._inner.connection_made(self._transport)
            self._inner.data_received(data)
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, self._inner)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)


def door_to(sessions: Sessions) -> type[Door]:
    """The class for uvicorn's `ws=`."""
    return type("DoorToSessions", (Door,), {"sessions": sessions})
