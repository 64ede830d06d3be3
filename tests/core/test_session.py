"""A Session over a transport that records: the packets of the protocol's page, their order, and every bound."""

import asyncio
import gc
import json
import tracemalloc
from typing import Any

import pytest
from websockets.frames import Opcode

from director.contract.errors import ErrorCode, Refusal
from shard_node.contract.events import MAX_EVENT_BYTES, MAX_PAYLOAD_BYTES
from shard_node.fanout.connection import MAX_BUFFERED, Connection
from shard_node.fanout.inbound import MAX_EARLY_EVENTS, MAX_EARLY_REFUSALS
from shard_node.fanout.packets import Packet, event_packet
from tests.support.session_twins import HIGH_WATER, Seat, ToldGateway, seat_of, sessions_of
from tests.support.virtual_time import in_virtual_time
from tests.support.ws_frames import close, frames_in, masked, text

NOT_YOURS = Refusal(ErrorCode.NOT_OWNER, "ask the director")


async def joined_seat(gateway: ToldGateway) -> Seat:
    """A member; what it has got so far is taken."""
    seat = seat_of(gateway)
    seat.say('40{"v":1}')
    await seat.settled()
    assert seat.heard() == [f'40{{"sid":"{seat.session.sid}"}}', '42["joined",{"as":{"v":1}}]']
    return seat


def refused(code: str) -> str:
    return f'44{{"message":"{code}"'


# joining


@in_virtual_time
async def test_the_handshake_is_what_stock_says() -> None:
    seat = seat_of(ToldGateway())
    head, _, rest = seat.transport.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    ((opcode, payload),) = frames_in(rest)
    assert (opcode, payload[:1]) == (Opcode.TEXT, b"0")
    opening = json.loads(payload[1:])
    assert len(opening.pop("sid")) == 20
    assert opening == {"upgrades": [], "pingInterval": 10_000, "pingTimeout": 5_000, "maxPayload": MAX_PAYLOAD_BYTES}
    assert seat.listed == {seat.session}


@in_virtual_time
async def test_connect_and_joined_leave_in_one_write_and_early_answers_behind_them() -> None:
    gateway = ToldGateway()
    seat = seat_of(gateway)
    writes = len(seat.transport.writes)
    seat.say('40{"v":1}', '420["send",{"a":1}]', '42["react",{}]')
    assert seat.heard() == [], "nothing is answered before it has joined"
    await seat.settled()
    connect, joined, ack = seat.heard()
    assert (connect[:2], joined[:11], ack) == ("40", '42["joined"', '430[{"ok":true,"name":"send"}]')
    assert gateway.events == [("send", [{"a": 1}]), ("react", [{}])]
    assert len(frames_in(seat.transport.writes[writes])) == 2


@in_virtual_time
async def test_events_before_it_asks_to_be_connected_are_nobodys() -> None:
    gateway = ToldGateway()
    seat = seat_of(gateway)
    seat.say('420["send",{}]', "41", '40{"v":1}')
    await seat.settled()
    assert [packet[:2] for packet in seat.heard()] == ["40", "42"]
    assert gateway.events == []


@in_virtual_time
async def test_of_a_flood_of_early_events_some_are_kept_more_are_told_and_the_rest_is_owed_nothing() -> None:
    gateway = ToldGateway()
    gateway.doors.clear()
    seat = seat_of(gateway)
    total = MAX_EARLY_EVENTS + MAX_EARLY_REFUSALS + 100
    seat.say("40{}", *(f'42{number}["send",{{}}]' for number in range(total)), '42["send",{}]')
    gateway.doors.set()
    await seat.settled()
    answers = [json.loads(packet[packet.index("[") :])[0] for packet in seat.heard()[2:]]
    assert len(gateway.events) == MAX_EARLY_EVENTS
    assert [answer["ok"] for answer in answers] == [True] * MAX_EARLY_EVENTS + [False] * MAX_EARLY_REFUSALS
    assert {answer["error"]["code"] for answer in answers[MAX_EARLY_EVENTS:]} == {"BUSY"}


@in_virtual_time
async def test_early_events_that_are_too_large_cost_their_name_and_get_their_error() -> None:
    """64 KiB of empty lists are 2 MB as objects, and sixteen such were kept for everybody at the door."""
    gateway = ToldGateway()
    gateway.doors.clear()
    seat = seat_of(gateway)
    seat.say("40{}")
    huge = "[" + "[]," * (MAX_PAYLOAD_BYTES // 3 - 100) + "0]"
    gc.collect()
    tracemalloc.start()
    for number in range(MAX_EARLY_EVENTS):
        seat.say(f'42{number}["send",{huge}]' if number else f"420[{huge}]")
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 256 * 1024
    gateway.doors.set()
    await seat.settled()
    answers = [json.loads(packet[packet.index("[") :])[0] for packet in seat.heard()[2:]]
    assert [answer["error"]["code"] for answer in answers] == ["TOO_LARGE"] * MAX_EARLY_EVENTS
    assert [answer["error"]["message"][:4] for answer in answers] == ["None"] + ["send"] * (MAX_EARLY_EVENTS - 1)


@in_virtual_time
async def test_a_refusal_has_its_code_and_shape_and_it_may_ask_again() -> None:
    gateway = ToldGateway(refusal=NOT_YOURS)
    seat = seat_of(gateway)
    seat.say('40{"v":1}', '420["send",{}]')
    await seat.settled()
    (packet,) = seat.heard()
    told = json.loads(packet[2:])
    assert packet.startswith(refused("NOT_OWNER"))
    assert (told["data"]["ok"], told["data"]["error"]["action"]) == (False, "reroute")
    gateway.refusal = None
    seat.say('40{"v":1}')
    await seat.settled()
    assert [packet[:2] for packet in seat.heard()] == ["40", "42"]
    assert gateway.events == [], "what it asked for before the refusal is not asked for again"


@in_virtual_time
async def test_whatever_fails_while_it_is_admitted_it_is_told() -> None:
    seat = seat_of(ToldGateway(refusal=RuntimeError("a fault of ours")))
    seat.say("40")
    await seat.settled()
    (packet,) = seat.heard()
    assert packet.startswith(refused("BUSY"))


@in_virtual_time
async def test_other_namespaces_are_refused_and_their_events_are_nobodys() -> None:
    gateway = ToldGateway()
    seat = await joined_seat(gateway)
    seat.say('40/admin,{"v":1}', '42/admin,0["send",{}]', "41/admin,", '40/x"y')
    await seat.settled()
    assert seat.heard() == [
        '44/admin,{"message":"Unable to connect"}',
        '44/x"y,{"message":"Unable to connect"}',
    ]
    assert (gateway.events, gateway.left) == ([], [])


@in_virtual_time
async def test_a_second_request_to_connect_changes_nothing_while_admitting_or_joined() -> None:
    gateway = ToldGateway()
    gateway.doors.clear()
    seat = seat_of(gateway)
    seat.say('40{"v":1}', '40{"v":2}')
    await seat.settled()
    seat.say('40{"v":3}')
    gateway.doors.set()
    await seat.settled()
    seat.say('40{"v":4}')
    await seat.settled()
    assert gateway.asked == [{"v": 1}]
    assert [packet[:2] for packet in seat.heard()] == ["40", "42"]


@in_virtual_time
async def test_who_disconnects_while_it_is_admitted_does_not_join_and_may_come_back_once_that_is_over() -> None:
    """It became a member all the same, which nobody sat behind."""
    gateway = ToldGateway()
    gateway.doors.clear()
    seat = seat_of(gateway)
    seat.say('40{"v":1}', '420["send",{}]')
    await seat.settled()
    seat.say("41", '421["send",{}]', '40{"v":2}')
    (busy,) = seat.heard()
    assert busy.startswith(refused("BUSY"))
    gateway.doors.set()
    await seat.settled()
    assert (seat.heard(), gateway.members, gateway.events) == ([], [], [])
    seat.say('40{"v":3}')
    await seat.settled()
    assert [packet[:2] for packet in seat.heard()] == ["40", "42"]
    assert gateway.asked == [{"v": 1}, {"v": 3}]


@in_virtual_time
async def test_who_disconnects_while_it_is_being_refused_is_not_told() -> None:
    gateway = ToldGateway(refusal=NOT_YOURS)
    gateway.doors.clear()
    seat = seat_of(gateway)
    seat.say("40", "41")
    gateway.doors.set()
    await seat.settled()
    assert seat.heard() == []


@in_virtual_time
@pytest.mark.parametrize("how", ["lost", "closing"])
async def test_who_is_gone_before_it_is_admitted_never_joins(how: str) -> None:
    gateway = ToldGateway()
    gateway.doors.clear()
    seat = seat_of(gateway)
    seat.say("40", '420["send",{}]')
    await seat.settled()
    if how == "lost":
        seat.session.cut()
        await seat.settled()
    else:
        seat.transport.peer_reads = False
        seat.say("1")
    gateway.doors.set()
    await seat.settled()
    assert (gateway.members, gateway.left, gateway.events) == ([], [], [])


@in_virtual_time
@pytest.mark.parametrize("how", ["41", "1", "lost"])
async def test_who_has_left_before_its_turn_is_not_asked_for(how: str) -> None:
    """A crowd that had given up took the places of those who came back for them."""
    gateway = ToldGateway()
    seat = seat_of(gateway)
    if how == "lost":
        seat.say("40{}")
        seat.session.cut()
    else:
        seat.say("40{}", how)
    await seat.settled()
    assert (gateway.asked, gateway.members) == ([], [])
    if how == "41":
        seat.say('40{"v":1}')
        await seat.settled()
        assert [packet[:2] for packet in seat.heard()] == ["40", "42"]


@in_virtual_time
async def test_a_fault_while_one_joins_keeps_out_nobody_of_those_behind() -> None:
    """Nobody could join the node any more."""
    gateway = ToldGateway()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    sessions = sessions_of(gateway)

    def fail_once(connection: Connection) -> None:
        gateway.on_connected = None
        raise RuntimeError("a fault of ours")

    gateway.on_connected = fail_once
    seats = [seat_of(gateway, sessions) for _ in range(20)]
    for seat in seats:
        seat.say("40{}")
    for seat in seats:
        await seat.settled()
    assert seats[0].transport.lost
    assert [[packet[:2] for packet in seat.heard()] for seat in seats[1:]] == [["40", "42"]] * 19


@in_virtual_time
async def test_who_is_told_bye_instead_of_joined_hears_connect_bye_and_disconnect() -> None:
    gateway = ToldGateway()

    def bye(connection: Connection) -> None:
        connection.write(event_packet("bye", {"code": "MOVED"}))
        connection.end()

    gateway.on_connected = bye
    seat = seat_of(gateway)
    seat.say("40{}", '420["send",{}]')
    await seat.settled()
    connect, said, left = seat.heard()
    assert (connect[:3], said, left) == ("40{", '42["bye",{"code":"MOVED"}]', "41")
    assert (gateway.events, gateway.left) == ([], [seat.session])
    seat.say("40{}")
    await seat.settled()
    assert seat.heard() == [], "it is on its way out"
    await asyncio.sleep(2.1)
    assert seat.transport.aborted
    assert gateway.left == [seat.session], "once"


@in_virtual_time
async def test_a_fault_of_ours_while_it_joins_ends_the_connection_and_does_not_leave_it_hanging() -> None:
    """All that was written to it was held back for ever, in a list without a bound."""
    gateway = ToldGateway()
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))

    def fail(connection: Connection) -> None:
        raise RuntimeError("a fault of ours")

    gateway.on_connected = fail
    seat = seat_of(gateway)
    seat.say("40{}")
    await seat.settled()
    gc.collect()
    assert seat.transport.lost
    assert gateway.left == [seat.session]
    assert len(failures) == 1, "it is not kept secret"


@in_virtual_time
async def test_who_leaves_may_join_again_and_gets_no_answer_to_what_it_asked_before() -> None:
    """An answer that was on its way came to the wrong event: ack ids begin anew. And each such coming back made room
    for eight more events in flight."""
    gateway = ToldGateway(is_slow=True)
    seat = await joined_seat(gateway)
    first = seat.session.sid
    seat.say('420["history",{}]', "41")
    seat.session.in_flight = 1
    assert gateway.left == [seat.session]
    seat.say('40{"v":1}')
    await seat.settled()
    assert len(seat.heard()) == 2
    assert seat.session.sid != first
    seat.say('420["send",{}]')
    early, late = gateway.replies
    early("to the former")
    late("to this one")
    assert seat.heard() == ['430["to this one"]']
    assert seat.session.in_flight == 1


# events


@in_virtual_time
@pytest.mark.parametrize(
    ("packet", "code"),
    [
        ('4510["send",{"_placeholder":true,"num":0}]', None),
        ('451-0["send",{"_placeholder":true,"num":0}]', "BAD_REQUEST"),
        ('420{"send":1}', "BAD_REQUEST"),
        ("420[]", "BAD_REQUEST"),
        ("420[7]", "BAD_REQUEST"),
        ("420", "BAD_REQUEST"),
        ('420["send",{"text":"' + "x" * MAX_EVENT_BYTES + '"}]', "TOO_LARGE"),
        ('420["send",{"text":"' + "안" * (MAX_EVENT_BYTES // 3) + '"}]', "TOO_LARGE"),
        ('42["send",{"text":"' + "x" * MAX_EVENT_BYTES + '"}]', None),
        ("42²[]", None),
        ('420["send",' + "[" * 20_000, None),
        ("420[not json", None),
        ("4", None),
        ("49[]", None),
        ("4x", None),
        ("430[1]", None),
        ("", None),
        ("6", None),
        ("5", None),
        ("x", None),
    ],
)
async def test_every_event_with_an_ack_id_is_answered_and_the_rest_ignored(packet: str, code: str | None) -> None:
    gateway = ToldGateway()
    seat = await joined_seat(gateway)
    seat.say(packet)
    if code is None or packet.startswith("4510"):
        answered = [json.loads(heard[heard.index("[") :])[0]["error"]["code"] for heard in seat.heard()]
        assert set(answered) <= {"BAD_REQUEST"}
    else:
        (answer,) = seat.heard()
        assert json.loads(answer[3:])[0]["error"]["code"] == code
    seat.say('421["send",{}]')
    assert seat.heard() == ['431[{"ok":true,"name":"send"}]'], "it is still there"


@in_virtual_time
async def test_what_is_binary_is_ignored() -> None:
    seat = await joined_seat(ToldGateway())
    seat.session.received(masked(Opcode.BINARY, b"\x04bytes") + masked(Opcode.PONG, b""))
    assert seat.heard() == []
    assert seat.session.is_open


@in_virtual_time
async def test_a_websocket_ping_is_answered_with_its_own_words() -> None:
    seat = await joined_seat(ToldGateway())
    seat.session.received(masked(Opcode.PING, b"hello"))
    assert seat.frames() == [(Opcode.PONG, b"hello")]


# the heartbeat


@in_virtual_time
async def test_it_is_pinged_and_stays_as_long_as_it_answers() -> None:
    gateway = ToldGateway()
    seat = await joined_seat(gateway)
    beating = asyncio.create_task(seat.sessions.run())
    for _ in range(3):
        await asyncio.sleep(10.15)
        assert seat.heard() == ["2"]
        seat.say("3")
    await asyncio.sleep(10.2)
    assert (seat.heard(), seat.session.is_open) == (["2"], True)
    await asyncio.sleep(5)
    beating.cancel()
    assert (seat.transport.aborted, gateway.left, seat.listed) == (True, [seat.session], set())


@in_virtual_time
@pytest.mark.parametrize("says", [[], ["40"], ['40/admin,{"v":1}']])
async def test_who_has_no_namespace_in_15_s_is_cut_however_often_it_asks(says: list[str]) -> None:
    seat = seat_of(ToldGateway(refusal=NOT_YOURS))
    beating = asyncio.create_task(seat.sessions.run())
    for _ in range(14):
        seat.say("3", *says)
        await asyncio.sleep(1)
    assert seat.session.is_open
    await asyncio.sleep(1.2)
    beating.cancel()
    assert seat.transport.aborted


@in_virtual_time
async def test_who_has_closed_keeps_next_to_nothing_until_the_heartbeat_forgets_it() -> None:
    """Half a message of 60 KiB, then the end, a thousand times a second: 15 s of that were a gigabyte."""
    sessions = sessions_of(ToldGateway())
    half = masked(Opcode.TEXT, b"x" * 60_000)[:-1]
    seats = [seat_of(ToldGateway(), sessions) for _ in range(100)]
    gc.collect()
    tracemalloc.start()
    for seat in seats:
        seat.session.received(half[:-1])
        seat.session.received(half[-1:])
    held = tracemalloc.get_traced_memory()[0]
    for seat in seats:
        seat.session.cut()
        await seat.settled()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held > 100 * 60_000
    assert kept < 100 * 3_000


# the end


@in_virtual_time
@pytest.mark.parametrize(
    ("says", "answer"),
    [
        (text("1"), b"\x03\xe8"),
        (close(1000), b"\x03\xe8"),
        (close(1001, b"a page was left"), b"\x03\xe9"),
        (masked(Opcode.CLOSE), b""),
        (masked(Opcode.CLOSE, b"\x00\x00"), b"\x03\xea"),
        (masked(Opcode.TEXT, b"4\xff"), b"\x03\xef"),
        (masked(Opcode.TEXT, b"x" * (MAX_PAYLOAD_BYTES + 1)), b"\x03\xf1"),
        (b"\x81\x05hello", b"\x03\xea"),
    ],
    ids=str,
)
async def test_it_closes_with_the_right_code_and_reads_no_more(says: bytes, answer: bytes) -> None:
    gateway = ToldGateway()
    seat = await joined_seat(gateway)
    seat.session.received(text('420["send",{}]') + says + text('421["send",{}]'))
    assert seat.frames() == [(Opcode.TEXT, b'430[{"ok":true,"name":"send"}]'), (Opcode.CLOSE, answer)]
    seat.session.received(text('422["send",{}]'))
    seat.session.write(Packet(b"nothing follows a close"))
    seat.session.ping()
    assert not seat.session.offer(Packet(b"nothing at all"))
    await seat.settled()
    assert (seat.frames(), len(gateway.events), gateway.left) == ([], 1, [seat.session])


@in_virtual_time
async def test_shutdown_tells_who_reads_and_cuts_who_does_not() -> None:
    reading, stuck, late = [await joined_seat(ToldGateway()) for _ in range(3)]
    for seat in (stuck, late):
        seat.transport.peer_reads = False
    assert stuck.session.offer(Packet(b"x" * (HIGH_WATER + 1)))
    for seat in (reading, stuck, late):
        seat.session.shutdown()
    await seat.settled()
    assert reading.frames() == [(Opcode.CLOSE, b"\x03\xf4")]
    assert (reading.transport.lost, stuck.transport.lost, late.transport.lost) == (True, True, False)
    late.session.write(Packet(b"behind the close"))
    assert late.session.unsent == 4
    await asyncio.sleep(2.1)
    assert late.transport.lost, "its buffer never empties"


@in_virtual_time
@pytest.mark.parametrize("reads", [False, True])
async def test_who_writes_no_more_is_gone_whether_it_reads_or_not(reads: bool) -> None:
    """Half a connection whose peer reads nothing stayed a member for ever: the heartbeat passed it over as closed."""
    gateway = ToldGateway()
    seat = await joined_seat(gateway)
    seat.transport.peer_reads = reads
    seat.session.offer(Packet(b"some words"))
    seat.session.eof_received()
    seat.transport.close()  # as asyncio does then
    assert not seat.session.offer(Packet(b"more words"))
    await asyncio.sleep(2.1)
    assert gateway.left == [seat.session]


@in_virtual_time
async def test_an_end_after_a_close_changes_nothing() -> None:
    seat = await joined_seat(ToldGateway())
    seat.transport.peer_reads = False
    seat.say("1")
    seat.session.eof_received()
    assert not seat.transport.aborted


@in_virtual_time
async def test_orderly_it_ends_behind_what_was_written() -> None:
    gateway = ToldGateway()
    seat = await joined_seat(gateway)
    seat.session.write(event_packet("bye", {}))
    seat.session.end()
    seat.session.end()
    assert (seat.heard(), gateway.left) == (['42["bye",{}]', "41"], [seat.session])
    await asyncio.sleep(1.9)
    assert not seat.transport.aborted
    await asyncio.sleep(0.2)
    assert seat.transport.aborted


# bounds


@in_virtual_time
async def test_who_does_not_read_is_offered_no_more_and_goes_on_where_it_stood() -> None:
    seat = await joined_seat(ToldGateway())
    seat.transport.peer_reads = False
    frame = Packet(b"x" * 1_000)
    offered = 0
    while seat.session.offer(frame):
        offered += 1
    assert HIGH_WATER < offered * 1_004 < HIGH_WATER + 2_000
    assert (seat.session.reads, seat.session.unsent) == (False, offered * len(frame.frame))
    seat.transport.read_all()
    assert seat.session.reads
    assert seat.session.offer(frame)
    assert len(seat.heard()) == offered + 1


@in_virtual_time
@pytest.mark.parametrize(
    "flood",
    [masked(Opcode.PING, b"x" * 125), text("2"), text("40/x,"), text('420["send",{}]')],
    ids=["pings", "packets of pings", "namespaces", "events"],
)
async def test_who_asks_for_ever_and_reads_nothing_is_cut(flood: bytes) -> None:
    gateway = ToldGateway()
    seat = await joined_seat(gateway)
    seat.transport.peer_reads = False
    seat.session.write(Packet(b"x" * (MAX_BUFFERED - 10_000)))
    for _ in range(5_000):
        seat.session.received(flood)
        if not seat.session.is_open:
            break
        assert seat.session.unsent <= MAX_BUFFERED
    assert seat.transport.aborted
    await seat.settled()
    assert gateway.left == [seat.session]
