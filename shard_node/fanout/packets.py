"""Socket.IO packets, encoded once for as many receivers as there are, whatever carries them."""

from typing import Any

import msgspec
from engineio import packet as eio_packet
from websockets.frames import Opcode

from shard_node.fanout.websocket import frame_of

_encode = msgspec.json.Encoder().encode


class Packet:
    """One packet from node to client: for the stock way an Engine.IO packet, for the direct way a WebSocket frame."""

    __slots__ = ("_stock", "_text", "frame")

    frame: bytes
    """As it stands on the wire: not masked, so the same for all receivers."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.frame = frame_of(Opcode.TEXT, b"4" + text)
        self._stock: Any = None

    @property
    def stock(self) -> Any:
        """As python-engineio queues it."""
        if self._stock is None:
            self._stock = eio_packet.Packet(eio_packet.MESSAGE, self._text.decode())
        return self._stock


def event_packet(name: str, body: Any) -> Packet:
    """The packet of an event without an ack id. `name` is one of ours: nothing in it needs escaping."""
    return Packet(b'2["%b",%b]' % (name.encode(), _encode(body)))


def ack_packet(ack_id: int, answer: Any) -> Packet:
    """The answer to the event that carried `ack_id`."""
    return Packet(b"3%d[%b]" % (ack_id, _encode(answer)))


def connect_packet(sid: str) -> Packet:
    """The client is connected to the default namespace."""
    return Packet(b"0" + _encode({"sid": sid}))


def refusal_packet(namespace: str | None, message: str, data: Any) -> Packet:
    """The client is not connected; `data`, unless it is None, tells why."""
    where = b"" if namespace is None else namespace.encode(errors="replace") + b","
    return Packet(b"4" + where + _encode({"message": message} if data is None else {"message": message, "data": data}))
