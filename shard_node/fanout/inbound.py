"""What a client says, read and passed on in the order in which it came; every event with an ack id is answered."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from socketio import packet as sio_packet

from director.contract.errors import ErrorCode, ErrorShape, Refusal
from shard_node.contract.events import MAX_EVENT_BYTES
from shard_node.fanout.connection import Connection
from shard_node.fanout.packets import ack_packet

MAX_EARLY_EVENTS = 16
MAX_EARLY_REFUSALS = 1_000

Reply = Callable[[Any], None]


class Gateway(Protocol):
    """What connections ask and tell. Only `connecting` may wait."""

    def connecting_at_once(self, auth: object) -> object | None:
        """As `connecting`, for whom nothing must be waited for; None, and nothing has happened, for others."""
        ...

    async def connecting(self, auth: object) -> object:
        """Admit a client or raise Refusal. What it returns is kept with the connection as its `admission`."""
        ...

    def connected(self, connection: Connection) -> None:
        """The CONNECT packet has been written: what is written from here on follows it."""
        ...

    def event(self, connection: Connection, name: str, args: Sequence[object], reply: Reply) -> None:
        """Something the client asks for. Call `reply` once, now or later."""
        ...

    def malformed(self, name: object, *, binary: bool, oversized: bool) -> ErrorShape:
        """The error for an event that is not even read."""
        ...

    def disconnected(self, connection: Connection) -> None:
        """A client that was connected is gone."""
        ...


class Said(msgspec.Struct, gc=False):
    """A Socket.IO packet from a client."""

    packet_type: int
    namespace: str | None
    id: int | None
    data: Any


_PLAIN = re.compile(r"(?:0|2(\d{0,9}))(?=[\[{])", re.ASCII)
"""How a CONNECT or an event begins that has neither a namespace nor attachments."""

_decode = msgspec.json.Decoder().decode


def read_packet(text: str) -> Said | None:
    """A Socket.IO packet; None for what is none. Announced attachments are not waited for.

    What nearly all clients send is read at once, all else as stock reads it.
    """
    try:
        if (plain := _PLAIN.match(text)) is not None:
            with suppress(msgspec.DecodeError):  # stock reads some things that are no JSON
                data = _decode(text[plain.end() :])
                is_event = text[0] == "2"
                return Said(int(text[0]), None, int(plain[1]) if is_event and plain[1] else None, data)
        packet: Any = sio_packet.Packet(encoded_packet=text)  # type: ignore[arg-type]  # the stubs know of bytes only
        return Said(packet.packet_type, packet.namespace, packet.id, packet.data)
    except (ValueError, TypeError, RecursionError):
        return None


def is_oversized(text: str) -> bool:
    """Whether an event has more bytes than one may have."""
    if len(text) > MAX_EVENT_BYTES:
        return True
    return 4 * len(text) > MAX_EVENT_BYTES and len(text.encode("utf-8", "surrogatepass")) > MAX_EVENT_BYTES


def name_of(data: object) -> str | None:
    """An event's name, if it has one."""
    return data[0] if isinstance(data, list) and data and isinstance(data[0], str) else None


def pass_on(gateway: Gateway, connection: Connection, packet: Said, *, oversized: bool) -> None:
    """Give an event of a joined client to the gateway, or answer what is wrong with it."""
    ack_id: Any = packet.id
    sid = connection.sid

    def reply(answer: Any) -> None:
        # who has left and joined again meanwhile did not ask, and may use the same ack ids anew
        if ack_id is not None and connection.sid == sid:
            connection.write(ack_packet(ack_id, answer))

    data: Any = packet.data
    binary = packet.packet_type == sio_packet.BINARY_EVENT
    name = name_of(data)
    if binary or oversized or name is None:
        reply(gateway.malformed(name, binary=binary, oversized=oversized))
        return
    gateway.event(connection, name, data[1:], reply)


class EarlyEvents:
    """Events of a client that has not joined yet; they are answered once it has (protocol, section 3).

    Of 16 the whole is kept, of up to 1,000 more the ack id: they are told to try again. A client that sends yet more
    before it is admitted is owed nothing.
    """

    __slots__ = ("_kept", "_refused")

    def __init__(self) -> None:
        self._kept: list[tuple[Said, bool]] = []
        self._refused: list[Any] = []

    def keep(self, packet: Said, *, oversized: bool) -> None:
        if len(self._kept) < MAX_EARLY_EVENTS and not self._refused:
            if oversized:  # its name decides on the answer; the rest would cost twenty times its size
                name = name_of(packet.data)
                packet.data = [] if name is None else [name]
            self._kept.append((packet, oversized))
        elif packet.id is not None and len(self._refused) < MAX_EARLY_REFUSALS:
            self._refused.append(packet.id)

    def pass_on(self, gateway: Gateway, connection: Connection) -> None:
        """The client has joined."""
        for packet, oversized in self._kept:
            pass_on(gateway, connection, packet, oversized=oversized)
        busy = Refusal(ErrorCode.BUSY, "too many events before joining; try again", retry_after_ms=100)
        for ack_id in self._refused:
            connection.write(ack_packet(ack_id, busy.shape))
