"""Wire: one Socket.IO connection over a plain WebSocket, read and handled inline by the one greenlet that owns it.

The stock protocol (Engine.IO 4, Socket.IO 5, default namespace, no binary) without the stock client's thread per event.
Blocking calls; under locust they block their greenlet alone.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import websocket

from director.contract.errors import ErrorDetail
from loadtest.contract.received import Route, refusal_of

_MAX_WAIT = 15.0
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class LineLost(Exception):
    """The connection ended without a word, was never made, or fell silent."""


class JoinDenied(Exception):
    """The node refused the connection with an error of ours."""

    def __init__(self, error: ErrorDetail) -> None:
        super().__init__(error.code)
        self.error = error


class _Opened(msgspec.Struct, rename="camel"):
    ping_interval: int
    ping_timeout: int


class Wire:
    """A connection that is admitted. `clock` is monotonic."""

    def __init__(self, route: Route, auth: dict[str, Any], *, clock: Callable[[], float]) -> None:
        """Connect and be admitted. Raises LineLost or JoinDenied."""
        self._clock = clock
        self._next_id = 0
        self._line: websocket.WebSocket | None = None
        origin = urlsplit(route.url)
        url = f"{'wss' if origin.scheme == 'https' else 'ws'}://{origin.netloc}{route.path}?EIO=4&transport=websocket"
        try:
            self._line = websocket.create_connection(url, timeout=_MAX_WAIT, suppress_origin=True)
            opened = _decode(self._packet("0"), type=_Opened)
            self._silent_after = (opened.ping_interval + opened.ping_timeout) / 1000
            self._heard_at = clock()
            self._line.send(f"40{_encode(auth).decode()}")
            answer = str(self._line.recv())
        except (websocket.WebSocketException, OSError, msgspec.DecodeError) as error:
            self.cut()
            raise LineLost(str(error)) from None
        if answer.startswith("44"):
            self.cut()
            refusal = refusal_of(_decode(answer[2:]).get("data"))
            raise LineLost(answer) if refusal is None else JoinDenied(refusal)
        if not answer.startswith("40"):
            self.cut()
            raise LineLost(f"instead of an admission: {answer[:40]!r}")

    def emit(self, event: str, body: dict[str, Any]) -> int:
        """Send an event that wants an ack; the id of the ack. Raises LineLost."""
        self._next_id += 1
        self._send(f"42{self._next_id}{_encode([event, body]).decode()}")
        return self._next_id

    def read(self, *, until: float) -> tuple[str, Any] | tuple[int, Any] | None:
        """The next event as (name, body) or ack as (id, body); None when `until` comes first. Answers pings. Raises
        LineLost."""
        while (now := self._clock()) < until:
            silent_at = self._heard_at + self._silent_after
            try:
                assert self._line is not None
                self._line.settimeout(max(0.001, min(until, silent_at) - now))
                packet = str(self._line.recv())
            except websocket.WebSocketTimeoutException:
                if self._clock() >= silent_at:
                    self.cut()
                    raise LineLost("no ping came") from None
                continue
            except (websocket.WebSocketException, OSError, AssertionError) as error:
                self.cut()
                raise LineLost(str(error)) from None
            self._heard_at = self._clock()
            match packet[:2]:
                case "2":
                    self._send("3")
                case "42":
                    name, *rest = _decode(packet[2:])
                    return name, rest[0] if rest else None
                case "43":
                    start = packet.index("[")
                    said = _decode(packet[start:])
                    return int(packet[2:start]), said[0] if said else None
                case "41" | "1" | "":
                    self.cut()
                    raise LineLost("the node closed")
                case _:
                    pass
        return None

    def leave(self) -> None:
        """Disconnect in order, without waiting for an answer."""
        if self._line is not None:
            try:
                self._line.send("41")
                self._line.close(timeout=0)
            except (websocket.WebSocketException, OSError):
                pass
            self.cut()

    def cut(self) -> None:
        """Break the transport without a word."""
        if self._line is not None:
            self._line.shutdown()  # type: ignore[no-untyped-call]
            self._line = None

    def _send(self, packet: str) -> None:
        try:
            if self._line is None:
                raise LineLost("it is closed")
            self._line.send(packet)
        except (websocket.WebSocketException, OSError) as error:
            self.cut()
            raise LineLost(str(error)) from None

    def _packet(self, kind: str) -> str:
        assert self._line is not None
        packet = str(self._line.recv())
        if not packet.startswith(kind):
            raise websocket.WebSocketException(f"instead of packet {kind}: {packet[:40]!r}")
        return packet[1:]
