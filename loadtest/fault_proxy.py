"""FaultProxy: a TCP proxy on loopback that fails on demand, between a node and Redis or between clients and a node.

    delay      bytes arrive later, in order                 reset     all connections are reset (RST)
    swallow    bytes of one or both directions are lost     restore   all is well again
    shut       new connections are refused, until `open`

While anything is swallowed a new connection is accepted, as no proxy can help, and then hears nothing, like one whose
SYN was lost. TCP cannot go on behind a loss of bytes: `restore` resets the connections that lost some.
"""

import asyncio
import ipaddress
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

HOST = "127.0.0.1"
_BACKLOG = 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Way:
    """One direction of the proxy."""

    latency: float = 0.0
    swallows: bool = False
    translate: Callable[[bytes], bytes] | None = None


class FaultProxy:
    """Passes on what reaches its port (0: any free one). Of several targets they take turns, and those that refuse are
    passed over. Raises ValueError for a target that is not on loopback. Use it as an async context manager; leaving
    resets what is connected. `translate` may change what the target says, piece by piece as it arrives."""

    def __init__(
        self, *targets: tuple[str, int], port: int = 0, translate: Callable[[bytes], bytes] | None = None
    ) -> None:
        for host, _ in targets:
            if not ipaddress.ip_address(host).is_loopback:
                raise ValueError(f"a fault proxy stays on loopback, {host} is not")
        self._targets = deque(targets)
        self.port = port
        self._toward, self._back = _Way(), _Way(translate=translate)
        self._lines: set[_Line] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()
        connecting = [line.connecting for line in self._lines if line.connecting is not None]
        self.reset()
        await asyncio.gather(*connecting, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many connections stand, with those that will hear nothing."""
        return len(self._lines)

    @property
    def is_open(self) -> bool:
        """Whether new connections are accepted."""
        return self._server is not None

    @property
    def is_mute(self) -> bool:
        """Whether bytes of any direction are swallowed."""
        return self._toward.swallows or self._back.swallows

    async def open(self) -> None:
        """Accept new connections, on the same port as before; idempotent."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._accept, HOST, self.port, backlog=_BACKLOG)
            self.port = self._server.sockets[0].getsockname()[1]

    def shut(self) -> None:
        """Refuse new connections, as a port does on which nobody listens; those that stand go on. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def delay(self, *, toward: float = 0.0, back: float = 0.0) -> None:
        """Hold bytes for so many seconds on their way toward the target, and back."""
        self._toward.latency, self._back.latency = toward, back

    def swallow(self, *, toward: bool = True, back: bool = True) -> None:
        """Lose all bytes of these directions, and the ends of connections with them; all stays open."""
        self._toward.swallows, self._back.swallows = toward, back

    def reset(self) -> None:
        """Reset all connections, on both sides."""
        for line in list(self._lines):
            line.reset()

    def restore(self) -> None:
        """Pass everything on at once again. What is on its way arrives when it was due."""
        self.delay()
        self.swallow(toward=False, back=False)
        for line in list(self._lines):
            if line.is_torn:
                line.reset()

    def _accept(self) -> asyncio.Protocol:
        self._targets.rotate(-1)
        line = _Line(tuple(self._targets), self)
        self._lines.add(line)
        return line.near

    def _ended(self, line: "_Line") -> None:
        self._lines.discard(line)


class _Line:
    """One connection through the proxy: `near` is who connected, `far` the target."""

    def __init__(self, targets: Sequence[tuple[str, int]], proxy: FaultProxy) -> None:
        self._targets = targets
        self._proxy = proxy
        self.near = _End(self, proxy._toward)
        self.far = _End(self, proxy._back)
        self.connecting: asyncio.Task[None] | None = None
        self.is_torn = False
        self.is_over = False

    def other_than(self, end: "_End") -> "_End":
        return self.far if end is self.near else self.near

    def begin(self, end: "_End") -> None:
        """An end is connected: the near one first."""
        if end is self.far:
            return
        end.hold(True)
        if self._proxy.is_mute:
            self.is_torn = True
        else:
            self.connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        for target in self._targets:
            try:
                await asyncio.get_running_loop().create_connection(lambda: self.far, *target)
            except OSError:
                continue
            if self.is_over:
                self.far.reset()
            else:
                self.near.hold(False)
            return
        self.reset()

    def reset(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._proxy._ended(self)
        self.near.reset()
        self.far.reset()

    def finish_if_told(self) -> None:
        """Close both ends once each has been told that the other has ended."""
        if self.near.was_told and self.far.was_told:
            self.is_over = True
            self._proxy._ended(self)
            self.near.close()
            self.far.close()


class _End(asyncio.Protocol):
    """One end of a line. What it reads goes to the other end, by the rules of its direction `way`."""

    def __init__(self, line: _Line, way: _Way) -> None:
        self._line = line
        self._way = way
        self._transport: asyncio.Transport | None = None
        self._has_ended = False
        self.was_told = False
        # None stands for the end of the stream
        self._late: deque[tuple[float, bytes | None]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        line_socket = transport.get_extra_info("socket")
        line_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line.begin(self)

    def data_received(self, data: bytes) -> None:
        self._pass_on(data if self._way.translate is None else self._way.translate(data))

    def eof_received(self) -> bool:
        self._has_ended = True
        self._pass_on(None)
        return True  # it may still be written to

    def connection_lost(self, error: Exception | None) -> None:
        if self._line.is_over:
            return
        if self._way.swallows:
            self._line.is_torn = True
        elif error is not None or not self._has_ended:
            self._line.reset()

    def pause_writing(self) -> None:
        self._line.other_than(self).hold(True)

    def resume_writing(self) -> None:
        self._line.other_than(self).hold(False)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def hold(self, held: bool) -> None:
        """Stop reading, or go on."""
        if self._transport is not None and not self._transport.is_closing():
            if held:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def end(self) -> None:
        """Tell who is connected here that nothing more will come, after what was written."""
        self.was_told = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        if self._transport is not None:
            line_socket = self._transport.get_extra_info("socket")
            if line_socket is not None and line_socket.fileno() >= 0:
                line_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    def _pass_on(self, data: bytes | None) -> None:
        if self._way.swallows:
            self._line.is_torn = True
        elif self._way.latency <= 0 and not self._late:
            self._deliver(data)
        else:
            loop = asyncio.get_running_loop()
            due_at = max(loop.time() + self._way.latency, self._late[-1][0] if self._late else 0.0)
            self._late.append((due_at, data))
            if len(self._late) == 1:
                loop.call_at(due_at, self._deliver_late)

    def _deliver_late(self) -> None:
        loop = asyncio.get_running_loop()
        while self._late and self._late[0][0] <= loop.time():
            data = self._late.popleft()[1]
            # bytes on their way are lost with those behind them
            if self._way.swallows:
                self._line.is_torn = True
            else:
                self._deliver(data)
        if self._late:
            loop.call_at(self._late[0][0], self._deliver_late)

    def _deliver(self, data: bytes | None) -> None:
        if self._line.is_over:
            return
        other = self._line.other_than(self)
        if data is None:
            other.end()
            self._line.finish_if_told()
        else:
            other.write(data)
