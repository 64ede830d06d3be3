"""One client's connection, whatever carries it: write to it, see how much waits, cut it."""

import asyncio
from typing import Any

from engineio import packet as eio_packet

from shard_node.fanout.packets import Packet

MAX_WAITING = 512

_closing: set[asyncio.Task[None]] = set()


class Connection:
    """An Engine.IO session with one Socket.IO namespace.

    Writes never wait. A connection on which 512 packets wait is cut: its client has stopped reading, and the answers
    that it asked for would pile up. What is written to one that has closed is dropped.
    """

    __slots__ = ("_socket", "admission", "in_flight", "joined", "sid")

    def __init__(self, sid: str, socket: Any) -> None:
        self.sid = sid
        self.admission: Any = None
        self.joined = False
        self.in_flight = 0
        self._socket = socket

    @property
    def is_open(self) -> bool:
        return not (self._socket.closed or self._socket.closing)

    @property
    def waiting(self) -> int:
        """Packets that the client's transport has not taken yet."""
        waiting: int = self._socket.queue.qsize()
        return waiting

    def write(self, packet: Packet) -> None:
        """Queue a packet behind those that wait."""
        if not self.is_open:
            return
        if self.waiting >= MAX_WAITING:
            self.cut()
            return
        self._socket.queue.put_nowait(packet)

    def release_poll(self) -> None:
        """Answer a long poll that hangs, so that a client on its way out need not wait for it."""
        if not self._socket.upgraded:
            self._socket.queue.put_nowait(eio_packet.Packet(eio_packet.NOOP))

    def cut(self) -> None:
        """End the connection without a word, also one whose client has stopped reading. Idempotent."""
        transport: asyncio.Transport | None = getattr(self._socket, "transport", None)
        if transport is not None and self._socket.upgraded:
            transport.abort()
        elif not self._socket.closed:
            task = asyncio.get_running_loop().create_task(self._close_polling(), name="cut of a polling client")
            _closing.add(task)
            task.add_done_callback(_closing.discard)

    async def _close_polling(self) -> None:
        await self._socket.close(wait=False, abort=True)
        self._socket.queue.put_nowait(None)
        self._socket.server.sockets.pop(self._socket.sid, None)
