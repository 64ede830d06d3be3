"""Socket.IO packets, encoded once for as many receivers as there are, whatever carries them."""

from functools import cached_property
from typing import Any

import msgspec
from engineio import packet as eio_packet

_encode = msgspec.json.Encoder().encode


class Packet:
    """One packet from node to client: for the stock way an Engine.IO packet, for the direct way a WebSocket frame."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    @cached_property
    def stock(self) -> Any:
        """As python-engineio queues it."""
        return eio_packet.Packet(eio_packet.MESSAGE, self._text.decode())

    @cached_property
    def frame(self) -> bytes:
        """As it stands on the wire (RFC 6455, section 5.2): final, text, not masked, so the same for all receivers."""
        length = len(self._text) + 1
        if length < 126:
            head = bytes((0x81, length))
        elif length < 65_536:
            head = b"\x81\x7e" + length.to_bytes(2, "big")
        else:
            head = b"\x81\x7f" + length.to_bytes(8, "big")
        return b"%b4%b" % (head, self._text)


def event_packet(name: str, body: Any) -> Packet:
    """The packet of an event without an ack id. `name` is one of ours: nothing in it needs escaping."""
    return Packet(b'2["%b",%b]' % (name.encode(), _encode(body)))


def ack_packet(ack_id: int, answer: Any) -> Packet:
    """The answer to the event that carried `ack_id`."""
    return Packet(b"3%d[%b]" % (ack_id, _encode(answer)))
