"""WebSocket frames as our own clients read and write them."""

import random

import pytest

from loadtest.core.websocket_frames import CLOSE, TEXT, FrameReader, UnreadableFrame, frame_of


def from_server(opcode: int, payload: bytes) -> bytes:
    """The same frame as a server sends it: unmasked, so without the flag and the key."""
    frame = bytearray(frame_of(opcode, payload))
    frame[1] &= 0x7F
    key_at = {126: 4, 127: 10}.get(frame[1], 2)
    del frame[key_at : key_at + 4]
    return bytes(frame)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_frame_of_any_length_is_read_however_it_is_cut(length: int) -> None:
    rng = random.Random(length)
    payload = rng.randbytes(length)
    data = from_server(TEXT, payload) + from_server(CLOSE, b"\x03\xe8")
    for _ in range(20):
        cuts = sorted(rng.choices(range(len(data) + 1), k=3))
        reader = FrameReader()
        found = []
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            found += reader.feed(data[start:end])
        assert found == [(TEXT, payload), (CLOSE, b"\x03\xe8")]


def test_the_head_may_come_byte_by_byte() -> None:
    for payload in (b"x" * 200, b"x" * 70_000):
        reader = FrameReader()
        data = from_server(TEXT, payload)
        early = [frame for byte in data[:12] for frame in reader.feed(bytes([byte]))]
        assert early == []
        assert reader.feed(data[12:]) == [(TEXT, payload)]


@pytest.mark.parametrize("head", [b"\x01\x00", b"\xc1\x00", b"\x81\x80"], ids=["fragment", "extension", "masked"])
def test_what_our_nodes_never_send_is_named(head: bytes) -> None:
    with pytest.raises(UnreadableFrame, match=head.hex()):
        FrameReader().feed(head)


def test_what_a_client_sends_is_marked_as_masked() -> None:
    assert frame_of(TEXT, b"3") == b"\x81\x81\0\0\0\x003"
    assert frame_of(TEXT, b"x" * 200)[:4] == b"\x81\xfe\x00\xc8"
    assert frame_of(TEXT, b"x" * 70_000)[:2] == b"\x81\xff"
