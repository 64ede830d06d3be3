"""A Wire: a member's TCP connection, written to at once and read by the event loop's own readiness.

asyncio's transport for a socket can much that a member does not need (names of both ends, TLS, pauses in reading, three
calls by way of the loop to begin): at the bell that was a fifth of a join. This one has its names and keeps its rules:
what is not taken at once is kept, pauses and resumes the receiver at the same marks, and `connection_lost` comes once,
by way of the loop, whatever ended it.
"""

import asyncio
import socket
from typing import Protocol

MAX_READ = 8 * 1024
"""Bytes that are taken from a client in one step of the event loop: a flood costs its own sender."""

HIGH_WATER, LOW_WATER = 64 * 1024, 16 * 1024
_LATER = (BlockingIOError, InterruptedError)


class Receiver(Protocol):
    """Who is told what comes by a wire."""

    def received(self, data: bytes) -> None:
        """Bytes from the client."""
        ...

    def eof_received(self) -> None:
        """The client writes no more; the wire closes behind what is still to be written."""
        ...

    def pause_writing(self) -> None:
        """More than 64 KiB wait to be taken."""
        ...

    def resume_writing(self) -> None:
        """16 KiB or less wait, where it was more than 64."""
        ...

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, aborted or broken: nothing comes or goes any more."""
        ...


class Wire:
    """One connection, which is the wire's to close. `receiver` is to be set before the loop has its next turn."""

    __slots__ = ("_connection", "_is_closing", "_is_lost", "_is_paused", "_loop", "_unsent", "receiver")

    receiver: Receiver

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._unsent: bytearray | None = None
        self._is_closing = self._is_lost = self._is_paused = False
        self._loop.add_reader(connection.fileno(), self._read)

    def detach(self) -> socket.socket:
        """The connection, for somebody else to read, write and close; the receiver is told nothing more. Nothing may
        wait to be written."""
        assert not self._is_lost, "nobody can take over what is lost"
        assert not self._unsent, "what waits would be lost"
        self._loop.remove_reader(self._connection.fileno())
        self._is_closing = self._is_lost = True
        del self.receiver  # as in _end
        return self._connection

    def is_closing(self) -> bool:
        """Whether nothing more should be written."""
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        """Bytes that the system has not taken yet."""
        return len(self._unsent) if self._unsent else 0

    def write(self, data: bytes) -> None:
        """Send `data` behind what waits; dropped if the connection is lost."""
        if self._is_lost:
            return
        if not self._unsent:
            try:
                sent = self._connection.send(data)
            except _LATER:
                sent = 0
            except OSError:
                self._lose()
                return
            if sent == len(data):
                return
            data = data[sent:]
            self._loop.add_writer(self._connection.fileno(), self._write_on)
            self._unsent = bytearray()
        self._unsent += data
        if len(self._unsent) > HIGH_WATER and not self._is_paused:
            self._is_paused = True
            self.receiver.pause_writing()

    def close(self) -> None:
        """Read no more, and close when all that was written is taken."""
        if self._is_closing:
            return
        self._is_closing = True
        self._loop.remove_reader(self._connection.fileno())
        if not self._unsent:
            self._lose()

    def abort(self) -> None:
        """Close now; what waits is dropped."""
        self._lose()

    def _read(self) -> None:
        try:
            data = self._connection.recv(MAX_READ)
        except _LATER:
            return
        except OSError:
            self._lose()
            return
        try:
            if data:
                self.receiver.received(data)
            else:
                self.receiver.eof_received()
                self.close()
        except BaseException:
            self._lose()  # a fault of ours; the loop logs it
            raise

    def _write_on(self) -> None:
        assert self._unsent is not None
        try:
            sent = self._connection.send(self._unsent)
        except _LATER:
            return
        except OSError:
            self._lose()
            return
        del self._unsent[:sent]
        if self._is_paused and len(self._unsent) <= LOW_WATER:
            self._is_paused = False
            self.receiver.resume_writing()
        if not self._unsent and not self._is_lost:
            self._unsent = None
            self._loop.remove_writer(self._connection.fileno())
            if self._is_closing:
                self._lose()

    def _lose(self) -> None:
        if self._is_lost:
            return
        self._is_closing = self._is_lost = True
        self._loop.remove_reader(self._connection.fileno())
        if self._unsent is not None:
            self._loop.remove_writer(self._connection.fileno())
            self._unsent = None
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        try:
            self.receiver.connection_lost(None)
        finally:
            self._connection.close()
            del self.receiver  # it has this wire: a circle that would wait for the collector
