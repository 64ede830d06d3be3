"""WebSocket frames (RFC 6455) as a client of our own nodes reads and writes them: no fragments, no extensions."""

import struct

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_FIN = 0x80
_MASKED = 0x80
# The standard wants a key of chance, against proxies that cache. On loopback a key of zeros spares masking the bytes.
_NO_MASK = bytes(4)


class UnreadableFrame(ValueError):
    """A frame that our nodes do not send: a fragment, masked, or of an extension."""


class FrameReader:
    """Takes bytes as they arrive and gives whole frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that are complete now, as (opcode, payload). Raises UnreadableFrame."""
        data = self._rest + data if self._rest else data
        frames: list[tuple[int, bytes]] = []
        start, end = 0, len(data)
        while end - start >= 2:
            first, length = data[start], data[start + 1]
            if first & 0xF0 != _FIN or length & _MASKED:
                raise UnreadableFrame(f"a frame that begins with {data[start : start + 2].hex()}")
            body = start + 2
            if length == 126:
                body += 2
                length = int.from_bytes(data[start + 2 : body], "big") if body <= end else end
            elif length == 127:
                body += 8
                length = int.from_bytes(data[start + 2 : body], "big") if body <= end else end
            if body + length > end:
                break
            frames.append((first & 0x0F, data[body : body + length]))
            start = body + length
        self._rest = data[start:]
        return frames


def frame_of(opcode: int, payload: bytes) -> bytes:
    """A frame to a server."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", _FIN | opcode, _MASKED | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | 126, length)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | 127, length)
    return head + _NO_MASK + payload
