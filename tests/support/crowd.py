"""A crowd on bare sockets: members by the hundred in one process, some of which stop reading.

Each takes its WebSocket frames apart by hand (RFC 6455, section 5.2) and checks that what it is shown follows what it
has been shown; nothing is kept but its position.
"""

import asyncio
import itertools
import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from director.contract.ids import UserId
from tests.support.fleet import Fleet
from tests.support.raw_client import WITHIN, Place, fresh_cid, signed_ticket

SMALL_BUFFER = 4_096
SMALL_SEGMENT = 536


class _Shown(msgspec.Struct):
    from_: int = msgspec.field(name="from")
    to: int = msgspec.field()
    entries: list[msgspec.Raw] = msgspec.field()


class _Position(msgspec.Struct):
    seq: int


class _Joined(msgspec.Struct):
    pos: _Position


_read_shown = msgspec.json.Decoder(tuple[str, _Shown]).decode
_read_joined = msgspec.json.Decoder(tuple[str, _Joined]).decode

OnEntries = Callable[[Sequence[msgspec.Raw]], None]


@dataclass(eq=False, slots=True)
class Listener(asyncio.Protocol):
    """One member. `faults` says what was not as it should be; `gaps` counts what it was skipped for."""

    place: Place
    ticket: str
    on_entries: OnEntries | None = None
    position: int = 0
    gaps: int = 0
    bye: str | None = None
    is_closed: bool = False
    faults: list[str] = field(default_factory=list)
    joined: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _acks: dict[int, "asyncio.Future[Any]"] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=itertools.count)
    _transport: asyncio.Transport | None = None
    _got: bytearray = field(default_factory=bytearray)
    _is_upgraded: bool = False

    # what a test does with it

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def stop_reading(self) -> None:
        self.transport.pause_reading()

    def read_on(self) -> None:
        self.transport.resume_reading()

    async def send(self, text: str) -> Any:
        """Post a message; its ack."""
        ack_id = next(self._ids)
        answer = self._acks[ack_id] = asyncio.get_running_loop().create_future()
        self._say(f"42{ack_id}{json.dumps(['send', {'cid': fresh_cid(), 'text': text}])}")
        return await asyncio.wait_for(answer, WITHIN)

    # the wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host = self.place.url.removeprefix("http://")
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        path = f"{self.place.path}?EIO=4&transport=websocket"
        transport.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if not self.joined.done():
            self.joined.set_exception(exc or ConnectionError("closed before it had joined"))

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._is_upgraded:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            if b" 101 " not in self._got[:40]:
                self.faults.append(bytes(self._got[:80]).decode(errors="replace"))
            del self._got[: end + 4]
            self._is_upgraded = True
        at = 0
        while (message := _message_at(self._got, at)) is not None:
            opcode, start, at = message
            if opcode == 1:
                self._take(bytes(self._got[start:at]))
        del self._got[:at]

    def _take(self, text: bytes) -> None:
        if text.startswith((b'42["frame"', b'42["gap"')):
            self._show(*_read_shown(text[2:]))
        elif text.startswith(b'42["joined"'):
            self.position = _read_joined(text[2:])[1].pos.seq
            self.joined.set_result(None)
        elif text == b"2":
            self._say("3")
        elif text.startswith(b"43"):
            start = text.index(b"[")
            self._acks.pop(int(text[2:start])).set_result(json.loads(text[start:])[0])
        elif text.startswith(b"0"):
            self._say("40" + json.dumps({"v": 1, "ticket": self.ticket}))
        elif text.startswith(b'42["bye"'):
            self.bye = json.loads(text[2:])[1]["code"]
        elif text.startswith(b"44"):
            self.joined.set_exception(ConnectionError(text.decode()))

    def _show(self, name: str, body: _Shown) -> None:
        if body.from_ != self.position + 1:
            self.faults.append(f"{name} {body.from_} to {body.to} after {self.position}")
        if name == "gap":
            self.gaps += 1
        elif len(body.entries) != body.to - body.from_ + 1:
            self.faults.append(f"{len(body.entries)} entries from {body.from_} to {body.to}")
        self.position = body.to
        if self.on_entries is not None:
            self.on_entries(body.entries)

    def _say(self, text: str) -> None:
        data = text.encode()
        size = bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        self.transport.write(b"\x81" + size + b"\0\0\0\0" + data)  # a mask of zeros changes nothing


def _message_at(data: bytearray, at: int) -> tuple[int, int, int] | None:
    """Opcode, start and end of the message whose header is at `at`, if it is all there."""
    if len(data) < at + 2:
        return None
    size, start = data[at + 1], at + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(data) < start + width:
            return None
        size, start = int.from_bytes(data[start : start + width], "big"), start + width
    return (data[at] & 0x0F, start, start + size) if len(data) >= start + size else None


async def small_socket(place: Place) -> socket.socket:
    """A connected socket for which the kernel holds little: segments on loopback are so large that it takes a megabyte
    and more before the sender notices that nobody reads."""
    host, port = place.url.removeprefix("http://").split(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, (host, int(port)))
    return made


async def join_crowd(
    fleet: Fleet, place: Place, names: Sequence[str], *, small: bool = False, on_entries: OnEntries | None = None
) -> list[Listener]:
    """Members of these names, joined. With `small`, their kernel buffers hold next to nothing for them."""
    host, port = place.url.removeprefix("http://").split(":")

    async def one(name: str) -> Listener:
        loop = asyncio.get_running_loop()
        made = await small_socket(place) if small else None
        ticket = signed_ticket(fleet, place, user=UserId(name), name=name)
        where: dict[str, Any] = {"host": host, "port": int(port)} if made is None else {"sock": made}
        _, listener = await loop.create_connection(lambda: Listener(place, ticket, on_entries), **where)
        await asyncio.wait_for(listener.joined, WITHIN)
        return listener

    crowd: list[Listener] = []
    for some in _batched(names, 50):
        crowd += await asyncio.gather(*map(one, some))
    return crowd


def _batched(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))


async def gauge(place: Place, name: str) -> float:
    """What a node says about itself."""
    async with httpx.AsyncClient() as http:
        told = (await http.get(f"{place.url}/metrics", timeout=WITHIN)).text
    found = re.search(rf"^{re.escape(name)} (\S+)", told, re.MULTILINE)
    assert found, told
    return float(found[1])


def rss_mb(pid: int) -> float:
    """Memory of a process that is in RAM, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found, status
    return int(found[1]) / 1024
