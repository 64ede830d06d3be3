"""A Session: one member's WebSocket from handshake to end, without python-engineio, ASGI or a task of its own.

The same packets in the same order as the stock way (Engine.IO 4, Socket.IO 5), for clients that begin with WebSocket:

1. open packet with the handshake; pings by the node's one Heartbeat.
2. One namespace: CONNECT is admitted by the gateway, where it must wait in a task that ends with the admission;
   CONNECT, `joined` and the answers to early events leave in one step.
3. The wire's buffer is the bound: beyond its high-water mark nothing is offered, beyond 4 MiB the client is cut.
4. What arrives is taken in pieces of 8 KiB, and others have their turn in between: a flood costs its own sender.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from socketio import packet as sio_packet
from websockets.frames import Opcode

from director.contract.errors import ErrorCode, Refusal
from shard_node.contract.events import MAX_PAYLOAD_BYTES
from shard_node.fanout import websocket
from shard_node.fanout.connection import MAX_BUFFERED
from shard_node.fanout.inbound import EarlyEvents, is_oversized, pass_on, read_packet
from shard_node.fanout.packets import Packet, connect_packet, refusal_packet
from shard_node.fanout.session_host import SessionHost, Transport

CUT_AFTER_BYE = 2.0

_PING, _PONG = (websocket.frame_of(Opcode.TEXT, text) for text in (b"2", b"3"))
_LEAVE = Packet(b"1")

_log = structlog.get_logger()


class Session:
    """One client over one WebSocket: a Connection, and the receiver of its wire."""

    __slots__ = (
        "_early",
        "_has_ended",
        "_held",
        "_host",
        "_is_admitting",
        "_reader",
        "_transport",
        "_writable",
        "admission",
        "in_flight",
        "joined",
        "pongs",
        "sid",
    )

    def __init__(self, host: SessionHost, transport: Transport) -> None:
        self.sid = ""
        self.admission: Any = None
        self.in_flight = 0
        self.joined = False
        self.pongs = 0
        self._host = host
        self._transport = transport
        self._writable = True
        self._reader = websocket.MessageReader(max_size=MAX_PAYLOAD_BYTES)
        self._is_admitting = False
        self._has_ended = False
        self._early: EarlyEvents | None = None
        self._held: list[bytes] | None = None

    # the way out

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    @property
    def reads(self) -> bool:
        return self._writable

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    def offer(self, packet: Packet) -> bool:
        if not self._writable:
            return False
        self._transport.write(packet.frame)
        return True

    def write(self, packet: Packet) -> None:
        self._send(packet.frame)

    def _send(self, frame: bytes) -> None:
        if self._held is not None:
            self._held.append(frame)
            return
        if self._transport.is_closing():
            return  # nothing follows a close frame
        self._transport.write(frame)
        if not self._writable and self._transport.get_write_buffer_size() > MAX_BUFFERED:
            self.cut()

    def ping(self) -> None:
        """Ask for a sign of life; `pongs` grows when it comes."""
        self._send(_PING)

    def end(self) -> None:
        self._has_ended = True
        if self.joined:
            self.write(_LEAVE)
            self._leave()
        asyncio.get_running_loop().call_later(CUT_AFTER_BYE, self.cut)

    def cut(self) -> None:
        self._writable = False
        self._transport.abort()

    def close(self, code: int) -> None:
        """Close the WebSocket behind what has been written; a client that does not read is cut."""
        self._close_by(websocket.close_frame_of(code))

    def _close_by(self, frame: bytes) -> None:
        if self._writable and not self._transport.is_closing():
            self._transport.write(frame)
            self._close_transport()
        else:
            self.cut()

    def _close_transport(self) -> None:
        self._writable = False
        self._transport.close()
        # who does not read what is left would stay for ever
        asyncio.get_running_loop().call_later(CUT_AFTER_BYE, self._transport.abort)

    def shutdown(self) -> None:
        """uvicorn ends."""
        self.close(websocket.RESTARTING)

    # the wire

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable = False
        self._host.gone(self)
        # the heartbeat keeps the session itself until its next turn
        self._reader.forget()
        self._early = None
        self._leave()

    def received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._transport.is_closing():
            return
        try:
            for message in self._reader.read(data):
                self._take(message)
                if self._transport.is_closing():
                    break
        except websocket.WebSocketFault as fault:
            self.close(fault.code)

    def eof_received(self) -> None:
        """The client writes no more: it has gone, whatever it still reads."""
        if not self._transport.is_closing():
            self._close_transport()

    def _take(self, message: websocket.Message) -> None:
        match message.opcode:
            case Opcode.TEXT:
                try:
                    text = message.payload.decode()
                except UnicodeDecodeError:
                    raise websocket.WebSocketFault(websocket.BAD_TEXT) from None
                self._take_text(text)
            case Opcode.PING:
                self._send(websocket.frame_of(Opcode.PONG, message.payload))
            case Opcode.CLOSE:
                self._close_by(websocket.answer_to_close(message.payload))
            case _:
                pass  # nothing is binary, and a pong was not asked for

    # Engine.IO

    def _take_text(self, text: str) -> None:
        match text[:1]:
            case "4":
                self._take_packet(text[1:])
            case "3":
                self.pongs += 1
            case "2":
                self._send(_PONG)
            case "1":
                self.close(websocket.NORMAL)
            case _:
                pass

    # Socket.IO

    def _take_packet(self, text: str) -> None:
        packet = read_packet(text)
        if packet is None:
            return
        ours = packet.namespace in (None, "/")
        match packet.packet_type:
            case sio_packet.CONNECT if not ours:
                self.write(refusal_packet(packet.namespace, "Unable to connect", None))
            case sio_packet.CONNECT:
                self._connect(packet.data)
            case sio_packet.DISCONNECT if ours and self.joined:
                self._leave()
                self._host.watch_joining(self)
            case sio_packet.DISCONNECT if ours:
                self._early = None  # nothing comes of an admission that is under way
            case sio_packet.EVENT | sio_packet.BINARY_EVENT if ours and self.joined:
                pass_on(self._host.gateway, self, packet, oversized=is_oversized(text))
            case sio_packet.EVENT | sio_packet.BINARY_EVENT if ours and self._early is not None:
                self._early.keep(packet, oversized=is_oversized(text))
            case _:
                pass

    def _connect(self, auth: object) -> None:
        if self._is_admitting and self._early is None:
            self._refuse(Refusal(ErrorCode.BUSY, "you have just left; try again", retry_after_ms=100))
        elif not (self._is_admitting or self.joined or self._has_ended):
            self._is_admitting = True
            self._early = EarlyEvents()
            self._host.queue(lambda: self._admit(auth))

    def _admit(self, auth: object) -> Coroutine[Any, Any, None] | None:
        """Admit, or give what waits until that is possible."""
        if self._early is None or self._transport.is_closing():
            self._is_admitting = False
            return None  # it has left meanwhile
        try:
            admission = self._host.gateway.connecting_at_once(auth)
        except Exception as error:  # noqa: BLE001 - whatever fails, the client is told
            self._admitted(_refusal_of(error))
            return None
        if admission is None:
            return self._admit_later(auth)
        self._admitted(admission)
        return None

    async def _admit_later(self, auth: object) -> None:
        try:
            admission = await self._host.gateway.connecting(auth)
        except Exception as error:  # noqa: BLE001 - as above
            self._admitted(_refusal_of(error))  # not kept: it holds this frame, in a circle
        else:
            self._admitted(admission)

    def _admitted(self, admission: object) -> None:
        self._is_admitting = False
        early, self._early = self._early, None
        if early is None or self._transport.is_closing():
            return  # it has left meanwhile
        if isinstance(admission, Refusal):
            self._refuse(admission)
        else:
            self._join(admission, early)

    def _refuse(self, refusal: Refusal) -> None:
        self.write(refusal_packet(None, refusal.code.value, refusal.shape))

    def _join(self, admission: object, early: EarlyEvents) -> None:
        self.sid = self._host.new_sid()
        self.admission = admission
        self.joined = True
        self._held = []
        self.write(connect_packet(self.sid))
        try:
            self._host.gateway.connected(self)
        except Exception:
            self._held = None
            self.cut()
            raise
        held, self._held = self._held, None
        self._send(b"".join(held))  # one write, one packet on the network
        if self.joined:
            early.pass_on(self._host.gateway, self)

    def _leave(self) -> None:
        if self.joined:
            self.joined = False
            self._host.gateway.disconnected(self)


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    _log.error("connect_failed", exc_info=error)
    return Refusal(ErrorCode.BUSY, "the node failed to admit you; try again", retry_after_ms=1000)
