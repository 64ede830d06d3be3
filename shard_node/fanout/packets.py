"""Socket.IO packets, encoded once for as many receivers as there are."""

from typing import Any

import msgspec
from engineio import packet as eio_packet

_encode = msgspec.json.Encoder().encode

# Engine.IO's own packet class is untyped; this is a message packet whose data is text
Packet = Any


def event_packet(name: str, body: Any) -> Packet:
    """The packet of an event without an ack id. `name` is one of ours: nothing in it needs escaping."""
    return eio_packet.Packet(eio_packet.MESSAGE, f'2["{name}",{_encode(body).decode()}]')


def ack_packet(ack_id: int, answer: Any) -> Packet:
    """The answer to the event that carried `ack_id`."""
    return eio_packet.Packet(eio_packet.MESSAGE, f"3{ack_id}[{_encode(answer).decode()}]")
