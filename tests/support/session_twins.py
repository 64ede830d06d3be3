"""What stands around a Session in tests without sockets: a transport that records, and a gateway that does as told."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

from websockets.frames import Opcode

from director.contract.errors import ErrorCode, ErrorShape, Refusal
from shard_node.fanout.connection import Connection
from shard_node.fanout.door import Sessions
from shard_node.fanout.inbound import Reply
from shard_node.fanout.packets import event_packet
from shard_node.fanout.session import Session
from tests.support.ws_frames import frames_in, text

HIGH_WATER, LOW_WATER = 64 * 1024, 16 * 1024


class RecordingTransport(asyncio.Transport):
    """A transport whose peer reads all at once, or nothing. Buffers, pauses and closes as asyncio's own does."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.peer_reads = True
        self.aborted = False
        self.lost = False
        self._protocol: Any = None
        self._buffer = bytearray()
        self._closing = False
        self._paused = False

    @property
    def sent(self) -> bytes:
        """All that the peer has got."""
        return b"".join(self.writes)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def write(self, data: Any) -> None:
        if self._closing and not self._buffer:
            return
        if self.peer_reads:
            self.writes.append(bytes(data))
            return
        self._buffer += data
        if not self._paused and len(self._buffer) > HIGH_WATER:
            self._paused = True
            self._protocol.pause_writing()

    def read_all(self) -> None:
        """The peer reads again, all that waits for it."""
        self.peer_reads = True
        self.writes.append(bytes(self._buffer))
        self._buffer.clear()
        if self._paused:
            self._paused = False
            self._protocol.resume_writing()
        if self._closing:
            self._lose()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self._buffer:
                self._lose()

    def abort(self) -> None:
        self._closing = self.aborted = True
        self._buffer.clear()
        self._lose()

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


@dataclass(slots=True)
class ToldGateway:
    """A Gateway that admits who asks, unless `refusal` is set, at once, unless `doors` are closed; and that answers
    events at once, unless `is_slow`. It notes what it is told."""

    refusal: Exception | None = None
    doors: asyncio.Event = field(default_factory=asyncio.Event)
    asking: asyncio.Event = field(default_factory=asyncio.Event)
    joined: asyncio.Event = field(default_factory=asyncio.Event)
    is_slow: bool = False
    on_connected: Callable[[Connection], None] | None = None
    asked: list[object] = field(default_factory=list)
    members: list[Connection] = field(default_factory=list)
    left: list[Connection] = field(default_factory=list)
    events: list[tuple[str, list[object]]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.doors.set()

    def connecting_at_once(self, auth: object) -> object | None:
        if not self.doors.is_set() or auth is None:
            return None
        self.asked.append(auth)
        self.asking.set()
        if self.refusal is not None:
            raise self.refusal
        return auth

    async def connecting(self, auth: object) -> object:
        self.asked.append(auth)
        self.asking.set()
        await self.doors.wait()
        if self.refusal is not None:
            raise self.refusal
        return auth

    def connected(self, connection: Connection) -> None:
        self.members.append(connection)
        self.joined.set()
        if self.on_connected is not None:
            self.on_connected(connection)
            return
        connection.write(event_packet("joined", {"as": connection.admission}))

    def event(self, connection: Connection, name: str, args: Sequence[object], reply: Reply) -> None:
        self.events.append((name, list(args)))
        self.replies.append(reply)
        if not self.is_slow:
            reply({"ok": True, "name": name})

    def malformed(self, name: object, *, binary: bool, oversized: bool) -> ErrorShape:
        code = ErrorCode.TOO_LARGE if oversized else ErrorCode.BAD_REQUEST
        return Refusal(code, f"{name} binary={binary}").shape

    def disconnected(self, connection: Connection) -> None:
        self.left.append(connection)


@dataclass(slots=True)
class Seat:
    """A Session, and the client's end of it."""

    sessions: Sessions
    session: Session
    transport: RecordingTransport
    listed: set[Any]
    taken: int = 0

    def say(self, *packets: str) -> None:
        """The client sends Engine.IO packets, all in one segment."""
        self.session.received(b"".join(map(text, packets)))

    def frames(self) -> list[tuple[int, bytes]]:
        """What the client has got since the last look."""
        new = self.transport.sent[self.taken :]
        self.taken += len(new)
        return frames_in(new)

    def heard(self) -> list[str]:
        """The texts that the client has got since the last look; there must be nothing else."""
        frames = self.frames()
        assert {opcode for opcode, _ in frames} <= {Opcode.TEXT}, frames
        return [payload.decode() for _, payload in frames]

    async def settled(self) -> None:
        """Let everything that can run, run."""
        for _ in range(5):
            await asyncio.sleep(0)


HEADERS = {b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==", b"sec-websocket-version": b"13"}


def sessions_of(gateway: ToldGateway) -> Sessions:
    """All sessions of a node with the protocol's heartbeat, by the loop's clock."""
    return Sessions(
        gateway,
        path="/socket.io/",
        origins=["http://page"],
        ping_interval=10,
        ping_timeout=5,
        now=asyncio.get_running_loop().time,
        random_bytes=token_bytes,
    )


def seat_of(gateway: ToldGateway, sessions: Sessions | None = None) -> Seat:
    """A client that has shaken hands; what it has got so far is taken."""
    transport, listed = RecordingTransport(), set[Any]()
    sessions = sessions or sessions_of(gateway)
    session = sessions.begin(transport, HEADERS, listed=listed)
    transport.set_protocol(session)
    return Seat(sessions, session, transport, listed, taken=len(transport.sent))
