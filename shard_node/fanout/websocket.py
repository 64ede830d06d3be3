"""WebSocket as a server speaks it (RFC 6455), without I/O: the handshake's answer, and frames to and from bytes.

What a member's connection needs and no more: no extensions, no subprotocols, text both ways. python-websockets does the
same and much else at twice the memory of all the rest of a member; whatever is unusual about a handshake goes to it.
"""

import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from websockets.exceptions import ProtocolError
from websockets.frames import Close, Opcode
from websockets.utils import accept_key

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

NORMAL, GOING_AWAY, FAULT, BAD_TEXT, TOO_BIG, RESTARTING = 1000, 1001, 1002, 1007, 1009, 1012
MAX_CONTROL = 125
_CONTROL = frozenset({Opcode.CLOSE, Opcode.PING, Opcode.PONG})


class WebSocketFault(Exception):
    """The peer broke the protocol; the connection is to be closed with `code` (RFC 6455, section 7.4.1)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"close with {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """What arrived whole: a text or binary message put together, or a control frame."""

    opcode: int
    payload: bytes


def accepts(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request for an upgrade (names in lower case) asks for version 13 with a proper key (section 4.2.1)."""
    if headers.get(b"sec-websocket-version") != b"13":
        return False
    try:
        return len(binascii.a2b_base64(headers.get(b"sec-websocket-key", b""), strict_mode=True)) == 16
    except binascii.Error:
        return False


def handshake_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The answer to a request that `accepts` (section 4.2.2); what the client offers beyond is not taken up."""
    accept = accept_key(headers[b"sec-websocket-key"].decode("latin-1"))
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept.encode()
    )


def frame_of(opcode: int, payload: bytes) -> bytes:
    """A final frame from a server, which does not mask (section 5.2)."""
    length = len(payload)
    if length < 126:
        return b"%c%c%b" % (0x80 | opcode, length, payload)
    if length < 65_536:
        return b"%c\x7e%b%b" % (0x80 | opcode, length.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (0x80 | opcode, length.to_bytes(8, "big"), payload)


def close_frame_of(code: int) -> bytes:
    """A close frame without words (section 5.5.1)."""
    return frame_of(Opcode.CLOSE, code.to_bytes(2, "big"))


def answer_to_close(payload: bytes) -> bytes:
    """The close frame that answers a client's, with the same code (section 5.5.1). Raises WebSocketFault if the
    client's is malformed."""
    try:
        Close.parse(payload)
    except UnicodeDecodeError:
        raise WebSocketFault(BAD_TEXT) from None
    except ProtocolError:
        raise WebSocketFault(FAULT) from None
    return frame_of(Opcode.CLOSE, payload[:2])


class MessageReader:
    """Puts messages together from a client's bytes. Keeps what is not whole yet: of a frame and of the fragments before
    it `max_size` bytes together, and a header."""

    __slots__ = ("_fragments", "_max_size", "_opcode", "_unread")

    def __init__(self, *, max_size: int) -> None:
        self._max_size = max_size
        self._unread = b""
        self._opcode = 0
        self._fragments: bytearray | None = None

    def read(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes, to be taken one by one, all of them.

        Raises WebSocketFault where the client breaks the protocol, behind the messages before that; nothing can be read
        after it.
        """
        if self._unread:
            data = self._unread + data
        at = 0
        while (header := _header_of(data, at)) is not None:
            first, start, length = header
            self._judge(first, length)
            end = start + 4 + length
            if len(data) < end:
                break
            payload = apply_mask(data[start + 4 : end], data[start : start + 4]) if length else b""
            message = self._put_together(final=bool(first & 0x80), opcode=first & 0x0F, payload=payload)
            if message is not None:
                yield message
            at = end
        self._unread = data[at:]

    def forget(self) -> None:
        """Keep nothing: no more will be read."""
        self._unread, self._fragments = b"", None

    def _judge(self, first: int, length: int) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            raise WebSocketFault(FAULT)  # an extension that nobody agreed upon
        if opcode in _CONTROL:
            if length > MAX_CONTROL or not first & 0x80:
                raise WebSocketFault(FAULT)
        elif opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if (opcode == Opcode.CONT) != (self._fragments is not None):
                raise WebSocketFault(FAULT)
            if length + len(self._fragments or b"") > self._max_size:
                raise WebSocketFault(TOO_BIG)
        else:
            raise WebSocketFault(FAULT)

    def _put_together(self, *, final: bool, opcode: int, payload: bytes) -> Message | None:
        if opcode in _CONTROL or (final and self._fragments is None):
            return Message(opcode, payload)
        if self._fragments is None:
            # one array: as objects, fragments of a byte each would cost forty times their size
            self._opcode, self._fragments = opcode, bytearray(payload)
        else:
            self._fragments += payload
        if not final:
            return None
        whole, self._fragments = bytes(self._fragments), None
        return Message(self._opcode, whole)


def _header_of(data: bytes, at: int) -> tuple[int, int, int] | None:
    """First byte, where the mask stands, and the payload's length; None as long as they have not all arrived."""
    if len(data) - at < 6:
        return None
    first, second = data[at], data[at + 1]
    if not second & 0x80:
        raise WebSocketFault(FAULT)  # a client masks what it sends (section 5.1)
    length = second & 0x7F
    if length < 126:
        return first, at + 2, length
    size = 2 if length == 126 else 8
    start = at + 2 + size
    if len(data) < start:
        return None
    return first, start, int.from_bytes(data[at + 2 : start], "big")
