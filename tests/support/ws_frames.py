"""WebSocket frames by hand: what a client sends, right or wrong, and what a server has sent."""

from websockets.frames import Opcode

MASK = b"\x01\x80\x7f\xfe"


def masked(opcode: int, payload: bytes = b"", *, final: bool = True, mask: bytes = MASK) -> bytes:
    """A client's frame."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 65_536:
        size = bytes([0x80 | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([0x80 | 127]) + length.to_bytes(8, "big")
    hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([(0x80 if final else 0) | opcode]) + size + mask + hidden


def text(words: str) -> bytes:
    """A client's text message."""
    return masked(Opcode.TEXT, words.encode())


def close(code: int, why: bytes = b"") -> bytes:
    """A client's close frame."""
    return masked(Opcode.CLOSE, code.to_bytes(2, "big") + why)


def frames_in(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of the frames that a server has sent, whole, final and not masked."""
    frames = []
    while data:
        first, second = data[0], data[1]
        assert first & 0xF0 == 0x80, "final, and no extension"
        assert second < 128, "a server does not mask"
        size = {126: 2, 127: 8}.get(second, 0)
        length = int.from_bytes(data[2 : 2 + size], "big") if size else second
        assert len(data) >= 2 + size + length, "the last frame is not whole"
        frames.append((first & 0x0F, data[2 + size : 2 + size + length]))
        data = data[2 + size + length :]
    return frames
