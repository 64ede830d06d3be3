"""WebSocket without I/O: the same messages however they are cut, and the right close code for each fault."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from shard_node.fanout import websocket
from shard_node.fanout.websocket import Message, MessageReader, WebSocketFault
from tests.support.ws_frames import frames_in, masked

LIMIT = 70_000

payloads = st.one_of(st.binary(max_size=200), st.integers(0, 66_000).map(lambda size: b"x" * size))
controls = st.builds(Message, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125))


@st.composite
def messages_on_the_wire(draw: st.DrawFn) -> tuple[list[Message], bytes]:
    """Messages, and their bytes in some fragmentation with control frames in between."""
    expected, wire = [], b""
    for _ in range(draw(st.integers(0, 4))):
        opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
        payload = draw(payloads)
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=5)))
        starts, ends = [0, *cuts], [*cuts, len(payload)]
        mask = draw(st.binary(min_size=4, max_size=4))
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            final = number == len(cuts)
            wire += masked(Opcode.CONT if number else opcode, payload[start:end], final=final, mask=mask)
            if final:
                expected.append(Message(opcode, payload))
            for control in draw(st.lists(controls, max_size=2)):
                expected.append(control)
                wire += masked(control.opcode, control.payload)
    return expected, wire


@st.composite
def segments(draw: st.DrawFn, wire: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    return [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_however_it_is_fragmented_and_cut_the_same_messages_come_out(data: st.DataObject) -> None:
    expected, wire = data.draw(messages_on_the_wire())
    reader = MessageReader(max_size=LIMIT)
    assert [message for part in data.draw(segments(wire)) for message in reader.read(part)] == expected


@settings(max_examples=30, deadline=None)
@given(messages_on_the_wire())
def test_a_byte_at_a_time_is_enough(case: tuple[list[Message], bytes]) -> None:
    expected, wire = case
    if len(wire) > 5_000:
        return
    reader = MessageReader(max_size=LIMIT)
    assert [message for at in range(len(wire)) for message in reader.read(wire[at : at + 1])] == expected


FAULTS = [
    pytest.param(b"\x81\x05hello", websocket.FAULT, id="not masked"),
    pytest.param(masked(0x1 | 0x40, b"deflated"), websocket.FAULT, id="an extension's bit"),
    pytest.param(masked(0x3, b""), websocket.FAULT, id="an unknown kind of data"),
    pytest.param(masked(0xB, b""), websocket.FAULT, id="an unknown kind of control"),
    pytest.param(masked(Opcode.CONT, b"of what?"), websocket.FAULT, id="the continuation of nothing"),
    pytest.param(
        masked(Opcode.TEXT, b"a", final=False) + masked(Opcode.TEXT, b"b"), websocket.FAULT, id="a message in another"
    ),
    pytest.param(masked(Opcode.PING, b"", final=False), websocket.FAULT, id="half a ping"),
    pytest.param(masked(Opcode.PING, b"x" * 126), websocket.FAULT, id="a huge ping"),
    pytest.param(masked(Opcode.CLOSE, b"\x03\xe8" + b"x" * 200), websocket.FAULT, id="a huge close"),
    pytest.param(masked(Opcode.TEXT, b"x" * (LIMIT + 1))[:14], websocket.TOO_BIG, id="too big, told by its header"),
    pytest.param(b"\x82\xff" + b"\xff" * 8 + b"mask", websocket.TOO_BIG, id="no length that there is"),
    pytest.param(
        masked(Opcode.TEXT, b"x" * LIMIT, final=False) + masked(Opcode.CONT, b"x"),
        websocket.TOO_BIG,
        id="too big in two fragments",
    ),
]


@pytest.mark.parametrize(("wire", "code"), FAULTS)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_each_fault_has_its_close_code_and_what_came_before_is_given(wire: bytes, code: int, size: int) -> None:
    """Messages before the fault were lost if they came in the same segment, and given if not."""
    before = masked(Opcode.TEXT, b"before")
    reader = MessageReader(max_size=LIMIT)
    got: list[Message] = []

    def read_all() -> None:
        for at in range(0, len(before + wire), size):
            for message in reader.read((before + wire)[at : at + size]):
                got.append(message)  # noqa: PERF402 - what came before the fault counts

    with pytest.raises(WebSocketFault) as fault:
        read_all()
    assert fault.value.code == code
    assert got == [Message(Opcode.TEXT, b"before")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_of_any_size_is_read_by_others_and_by_itself(size: int) -> None:
    frame = websocket.frame_of(Opcode.TEXT, b"x" * size)
    assert frame == Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
    assert frames_in(frame) == [(Opcode.TEXT, b"x" * size)]


@pytest.mark.parametrize("fragment", [b"x", b""])
def test_a_message_of_as_many_fragments_as_bytes_costs_no_more_time_than_any_other(fragment: bytes) -> None:
    """The lengths of all fragments were added up anew for each: a message of 64 KiB in fragments of a byte held up the
    event loop for more than half a minute, and needed no ticket."""
    reader = MessageReader(max_size=LIMIT)
    list(reader.read(masked(Opcode.TEXT, b"", final=False)))
    many = masked(Opcode.CONT, fragment, final=False) * 1_000
    began = time.process_time()
    for _ in range(60):
        assert list(reader.read(many)) == []
    assert time.process_time() - began < 5
    assert list(reader.read(masked(Opcode.CONT, b"!"))) == [Message(Opcode.TEXT, fragment * 60_000 + b"!")]


def test_what_is_forgotten_is_not_kept() -> None:
    reader = MessageReader(max_size=LIMIT)
    list(reader.read(masked(Opcode.TEXT, b"a", final=False) + b"\x81"))
    reader.forget()
    assert list(reader.read(masked(Opcode.TEXT, b"anew"))) == [Message(Opcode.TEXT, b"anew")]


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (b"", b""),
        (b"\x03\xe8", b"\x03\xe8"),
        (b"\x03\xe9going away", b"\x03\xe9"),
        (b"\x0f\xa0", b"\x0f\xa0"),
    ],
)
def test_a_close_is_answered_with_its_own_code(payload: bytes, answer: bytes) -> None:
    assert frames_in(websocket.answer_to_close(payload)) == [(Opcode.CLOSE, answer)]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", websocket.FAULT),
        (b"\x00\x01", websocket.FAULT),
        (b"\x03\xed", websocket.FAULT),
        (b"\x03\xee", websocket.FAULT),
        (b"\x03\xe8\xff", websocket.BAD_TEXT),
    ],
)
def test_a_malformed_close_is_a_fault(payload: bytes, code: int) -> None:
    with pytest.raises(WebSocketFault) as fault:
        websocket.answer_to_close(payload)
    assert fault.value.code == code


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"sec-websocket-version": b"13"},
        {b"sec-websocket-version": b"8", b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ=="},
        {b"sec-websocket-version": b"13", b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ="},
        {b"sec-websocket-version": b"13", b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25j"},
        {b"sec-websocket-version": b"13", b"sec-websocket-key": b"********************====", b"origin": b"x"},
    ],
)
def test_a_handshake_without_version_13_or_a_key_of_16_bytes_is_not_ours(headers: dict[bytes, bytes]) -> None:
    assert not websocket.accepts(headers)


def test_the_handshake_is_the_standards_own_example() -> None:
    """RFC 6455, section 1.3."""
    headers = {b"sec-websocket-version": b"13", b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ=="}
    assert websocket.accepts(headers)
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in websocket.handshake_of(headers)


@pytest.mark.parametrize(("wire", "code"), FAULTS)
def test_python_websockets_judges_alike(wire: bytes, code: int) -> None:
    """The stock way and ours close with the same codes."""
    stock = Protocol(Side.SERVER, state=State.OPEN, max_size=LIMIT)
    stock.receive_data(wire)
    (opcode, payload), *_ = frames_in(b"".join(stock.data_to_send()))
    assert (opcode, int.from_bytes(payload[:2], "big")) == (Opcode.CLOSE, code)
