"""A connection that python-engineio carries: long-polling, an upgrade from it, or all where the node is told so."""

import asyncio
from collections.abc import Callable
from typing import Any

from engineio import packet as eio_packet

from shard_node.fanout.connection import MAX_BUFFERED
from shard_node.fanout.inbound import EarlyEvents
from shard_node.fanout.lane import Lane
from shard_node.fanout.packets import Packet

MAX_UNREAD = 32
MAX_UNREAD_BYTES = 64 * 1024

_closing: set[asyncio.Task[None]] = set()


class StockConnection:
    """A Connection over an Engine.IO socket of python-engineio, and its lane if it has one. On one that is cut, 512
    packets or 4 MiB wait. `end` disconnects it from its namespace."""

    __slots__ = ("_end", "_socket", "admission", "early", "in_flight", "joined", "sid")

    def __init__(self, sid: str, socket: Any, *, end: "Callable[[StockConnection], None] | None" = None) -> None:
        self.sid = sid
        self.admission: Any = None
        self.joined = False
        self.in_flight = 0
        self.early: EarlyEvents | None = None
        self._socket = socket
        self._end = end

    @property
    def eio_sid(self) -> str:
        """The Engine.IO session's id."""
        return str(self._socket.sid)

    @property
    def is_open(self) -> bool:
        return not (self._socket.closed or self._socket.closing)

    def offer(self, packet: Packet) -> bool:
        socket = self._socket
        lane: Lane | None = socket.lane
        if lane is not None and lane.is_open:
            if not lane.is_drained:
                return False
            lane.transport.write(packet.frame)
            return True
        if not self.reads:
            return False
        self.write(packet)
        return True

    @property
    def reads(self) -> bool:
        lane, queue = self._socket.lane, self._socket.queue
        if lane is not None and not lane.is_drained:
            return False
        return bool(queue.qsize() < MAX_UNREAD and queue.size <= MAX_UNREAD_BYTES)

    @property
    def unsent(self) -> int:
        lane: Lane | None = self._socket.lane
        in_lane = 0 if lane is None else lane.transport.get_write_buffer_size()
        return in_lane + int(self._socket.queue.size)

    def write(self, packet: Packet) -> None:
        socket = self._socket
        if socket.closed or socket.closing:
            return
        lane: Lane | None = socket.lane
        if lane is not None and lane.is_open:
            lane.transport.write(packet.frame)
            if lane.transport.get_write_buffer_size() > MAX_BUFFERED:
                self.cut()
        else:
            socket.queue.put_nowait(packet.stock)

    def end(self) -> None:
        if self._end is not None:
            self._end(self)

    def release_poll(self) -> None:
        """Answer a long poll that hangs, so that a client on its way out need not wait for it."""
        if not self._socket.upgraded:
            self._socket.queue.put_nowait(eio_packet.Packet(eio_packet.NOOP))

    def cut(self) -> None:
        lane: Lane | None = self._socket.lane
        if lane is not None and self._socket.upgraded:
            lane.transport.abort()
        elif not self._socket.closed:
            task = asyncio.get_running_loop().create_task(self._close_polling(), name="cut of a polling client")
            _closing.add(task)
            task.add_done_callback(_closing.discard)

    async def _close_polling(self) -> None:
        await self._socket.close(wait=False, abort=True)
        self._socket.queue.put_nowait(None)
        self._socket.server.sockets.pop(self._socket.sid, None)
