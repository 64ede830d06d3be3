"""One client's connection as the rest of the node sees it, whatever carries it."""

from typing import Any, Protocol

from shard_node.fanout.packets import Packet

MAX_BUFFERED = 4 << 20
"""Bytes that may wait for a client that does not read; it is cut beyond."""


class Connection(Protocol):
    """An Engine.IO session with one Socket.IO namespace.

    Writes never wait. A connection on which too much waits is cut: its client has stopped reading, and the answers that
    it asked for would pile up. What is written to one that has closed is dropped. `admission` is the gateway's own, as
    `connecting` returned it; `in_flight` counts the events that it has not answered yet.
    """

    sid: str
    admission: Any
    in_flight: int

    @property
    def is_open(self) -> bool:
        """Whether anything written may still arrive."""
        ...

    @property
    def reads(self) -> bool:
        """Whether so little waits for the client that more may be written."""
        ...

    @property
    def unsent(self) -> int:
        """Bytes that were written and have not left this process."""
        ...

    def offer(self, packet: Packet) -> bool:
        """Write a packet if the client reads; False, and nothing is written, if too much waits for it already."""
        ...

    def write(self, packet: Packet) -> None:
        """Write a packet behind those that wait, whether the client reads or not."""
        ...

    def end(self) -> None:
        """Disconnect the client behind what has been written to it, and cut it 2 s later."""
        ...

    def cut(self) -> None:
        """End the connection without a word, also one whose client has stopped reading. Idempotent."""
        ...
