"""WireConnection: a Line without the stock client, so that one process can be thousands of members.

The same protocol (Engine.IO 4 and Socket.IO 5 over WebSocket, no binary) on a bare transport: no task, no queue and no
session for a connection, and what a node writes to a whole room alike is decoded once.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from director.contract.errors import ErrorDetail
from director.contract.ids import NodeName
from loadtest.connection import MAX_ACK_WAIT, MAX_JOIN_WAIT, NoAnswer
from loadtest.contract.received import Bye, Frame, Joined, Moved, Route, refusal_of
from loadtest.core.way_back import Ended, Lost, SentAway
from loadtest.core.websocket_frames import CLOSE, TEXT, FrameReader, UnreadableFrame, frame_of
from loadtest.stay import Transport
from shard_node.contract.events import MAX_IN_FLIGHT, PROTOCOL_VERSION, Position

_HEAD_END = b"\r\n\r\n"
_PONG = frame_of(TEXT, b"3")
_LEAVE = frame_of(TEXT, b"41") + frame_of(CLOSE, b"\x03\xe8")
_encode = msgspec.json.encode


class _Opened(msgspec.Struct, rename="camel"):
    ping_interval: int
    ping_timeout: int


_opened = msgspec.json.Decoder(_Opened)


class WireConnection(asyncio.Protocol):
    """Joins once and lives once, as loadtest.connection's does; WebSocket only, whatever transports are named."""

    def __init__(
        self,
        node: NodeName,
        *,
        on_joined: Callable[[Joined], None],
        on_frame: Callable[[Frame, bool], None],
        on_moved: Callable[[Moved], None],
    ) -> None:
        self.node = node
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ended] = self._loop.create_future()
        self._on_joined, self._on_frame, self._on_moved = on_joined, on_frame, on_moved
        self._joined: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._head: bytes | None = b""
        self._frames = FrameReader()
        self._hello = self._auth = b""
        self._acks: dict[int, asyncio.Future[Any]] = {}
        self._next_id = 0
        self._in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._silence = MAX_JOIN_WAIT
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None

    async def join(self, route: Route, *, since: Position | None, tail: int, transports: Sequence[Transport]) -> None:
        """Connect and wait for `joined`, at most 15 s. How it failed, if it did, stands in `ended`."""
        url = urlsplit(route.url)
        host, port = url.hostname or "", url.port or 80
        self._hello = (
            f"GET {route.path}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: bGVjdHVyZWhhbGwgd2lyZQ==\r\n\r\n"
        ).encode()
        auth = {"v": PROTOCOL_VERSION, "ticket": route.ticket, "since": since, "tail": tail}
        self._auth = frame_of(TEXT, b"40" + _encode(auth))
        try:
            async with asyncio.timeout(MAX_JOIN_WAIT):
                await self._loop.create_connection(lambda: self, host, port)
                await self._joined
        except TimeoutError:
            self.end(Lost(self.node, "no joined in time"))
        except OSError:
            self.end(Lost(self.node, "not reached"))

    async def call(self, event: str, body: dict[str, Any]) -> Any:
        """Emit `event` and return its ack; at most 8 wait for theirs at a time. Raises NoAnswer."""
        try:
            async with self._in_flight, asyncio.timeout(MAX_ACK_WAIT):
                if self.ended.done() or self._transport is None:
                    raise NoAnswer
                self._next_id += 1
                number = self._next_id
                answer = self._acks[number] = self._loop.create_future()
                try:
                    self._transport.write(frame_of(TEXT, b"42%d" % number + _encode([event, body])))
                    return await answer
                finally:
                    del self._acks[number]
        except TimeoutError:
            raise NoAnswer from None

    def end(self, why: Ended) -> None:
        """Say that this connection is of no more use; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(why)
            if not self._joined.done():
                self._joined.set_result(None)
            if self._watch is not None:
                self._watch.cancel()
            for answer in self._acks.values():
                if not answer.done():
                    answer.set_exception(NoAnswer())

    def cut(self) -> None:
        """Break the transport without a word, as a lost network does."""
        if self._transport is not None:
            self._transport.abort()
        self.end(Lost(self.node, "cut"))

    async def close(self) -> None:
        """Disconnect in order, without waiting for the node's answer."""
        self.end(Lost(self.node, "left"))
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(_LEAVE)
            transport.close()
            if transport.get_write_buffer_size():
                transport.abort()

    # --- what arrives

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self.ended.done():
            transport.abort()
            return
        transport.write(self._hello)
        self._heard_at = self._loop.time()
        self._watch = self._loop.call_at(self._heard_at + self._silence, self._listen_again)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.end(Lost(self.node, "transport close" if error is None else "transport error"))

    def data_received(self, data: bytes) -> None:
        if self.ended.done():
            return
        self._heard_at = self._loop.time()
        if self._head is not None:
            head, end, data = (self._head + data).partition(_HEAD_END)
            if not end:
                self._head = head
                return
            self._head = None
            if not head.startswith(b"HTTP/1.1 101"):
                self._break("not reached")
                return
        try:
            for opcode, payload in self._frames.feed(data):
                if opcode == TEXT:
                    self._take(payload)
                elif opcode == CLOSE:
                    self._break("transport close")
        except (UnreadableFrame, msgspec.MsgspecError, ValueError):
            self._break("unreadable")

    def _take(self, packet: bytes) -> None:
        if self.ended.done():
            return
        match packet[:2]:
            case b"42":
                self._take_event(packet)
            case b"43":
                start = packet.index(b"[")
                answer = self._acks.get(int(packet[2:start]))
                if answer is not None and not answer.done():
                    said = msgspec.json.decode(packet[start:])
                    answer.set_result(said[0] if said else None)
            case b"2":
                self._write(_PONG)
            case b"40":
                pass
            case b"44":
                error = refusal_of(msgspec.json.decode(packet[2:]).get("data"))
                self.end(Lost(self.node, "not reached") if error is None else SentAway(error))
            case b"41" | b"1":
                self._break("server disconnect")
            case _ if packet[:1] == b"0":
                opened = _opened.decode(packet[1:])
                self._silence = (opened.ping_interval + opened.ping_timeout) / 1000
                self._write(self._auth)
            case _:
                pass

    def _take_event(self, packet: bytes) -> None:
        match _event_in(packet) if packet.startswith(b'42["frame"') else _event_of(packet):
            case Joined() as joined:
                self._on_joined(joined)
                if not self._joined.done():
                    self._joined.set_result(None)
            case (Frame() as frame, bool() as is_gap):
                self._on_frame(frame, is_gap)
            case Moved() as moved:
                self._on_moved(moved)
            case Bye() as bye:
                self.end(SentAway(ErrorDetail(bye.code, bye.message, bye.action, True, bye.retry_after_ms)))
            case _:
                pass

    def _listen_again(self) -> None:
        """Whether the node has been silent for longer than its heartbeat allows."""
        silent_at = self._heard_at + self._silence
        if self._loop.time() >= silent_at:
            self._break("ping timeout")
        else:
            self._watch = self._loop.call_at(silent_at, self._listen_again)

    def _write(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)

    def _break(self, how: str) -> None:
        self.end(Lost(self.node, how))
        if self._transport is not None:
            self._transport.abort()


_Event = Joined | Moved | Bye | tuple[Frame, bool] | None


def _event_of(packet: bytes) -> _Event:
    name, body = msgspec.json.decode(packet[2:], type=tuple[str, msgspec.Raw])
    match name:
        case "frame" | "gap":
            return msgspec.json.decode(body, type=Frame), name == "gap"
        case "joined":
            return msgspec.json.decode(body, type=Joined)
        case "moved":
            return msgspec.json.decode(body, type=Moved)
        case "bye":
            return msgspec.json.decode(body, type=Bye)
        case _:
            return None


# a frame is the same bytes for every member of its room
_event_in = lru_cache(maxsize=512)(_event_of)
