"""What is written to a room's members, and how far each has been shown. Virtual time, connections without a network."""

import asyncio
from collections.abc import Callable

from director.contract.ids import RoomId, Seq
from persistence.contract.messages import Entry
from shard_node.core.room import Room
from shard_node.fanout.members import Member, Members
from shard_node.fanout.packets import event_packet
from shard_node.fanout.showing import SLICE, STUCK_AFTER, Showing
from tests.support.connections import FakeConnection, fake_member
from tests.support.entries import LECTURER, deletion, message, room_state
from tests.support.virtual_time import in_virtual_time


class Stage:
    """A room with members, and what showing has cost."""

    def __init__(self) -> None:
        self.room = Room(RoomId("math"), room_state(), [])
        self.members = Members()
        self.learnt: list[tuple[float, int]] = []
        self.showing = Showing(
            self.members,
            now=asyncio.get_running_loop().time,
            learn=lambda seconds, members: self.learnt.append((seconds, members)),
        )

    def join(self, name: str, *, takes: int | None = None) -> tuple[Member, FakeConnection]:
        member, connection = fake_member(name, shown=self.room.head, takes=takes)
        self.members.add(member)
        return member, connection

    def crowd(self, count: int) -> list[FakeConnection]:
        return [self.join(f"m{number}")[1] for number in range(count)]

    def say(self, *entries: Entry) -> None:
        self.showing.show(self.room.show(entries))

    def chat(self, count: int, *, staff_every: int = 0) -> None:
        """Students say so much, one message a batch; every so many the lecturer says one."""
        for seq in range(self.room.head + 1, self.room.head + 1 + count):
            self.say(message(seq, by=LECTURER) if staff_every and seq % staff_every == 0 else message(seq))

    def catch_up(self) -> list[Member]:
        return self.showing.catch_up(self.room)


def is_whole(connection: FakeConnection, *, to: int, start: int = 1) -> bool:
    """Whether frames and gaps follow one another from `start` to `to`."""
    for _, first, last in connection.ranges():
        if first != start:
            return False
        start = last + 1
    return start == to + 1


@in_virtual_time
async def test_a_batch_is_written_once_to_everybody_in_one_frame() -> None:
    it = Stage()
    crowd = it.crowd(3)
    it.say(message(1), message(2))
    packets = {id(connection.packets[0]) for connection in crowd}
    assert len(packets) == 1, "encoded once"
    assert [connection.ranges() for connection in crowd] == [[("frame", 1, 2)]] * 3
    assert it.learnt == [(0.0, 3)]


@in_virtual_time
async def test_what_a_batch_costs_is_counted_on_the_threads_own_clock() -> None:
    it = Stage()
    it.showing = Showing(
        it.members,
        now=lambda: 7.0,
        cpu=_Ticking(),
        learn=lambda seconds, members: it.learnt.append((round(seconds, 3), members)),
    )
    it.crowd(SLICE + 1)
    it.chat(1)
    it.showing.finish()
    assert it.learnt == [(3 * 0.005, SLICE + 1)]


@in_virtual_time
async def test_a_batch_of_several_frames_reaches_everybody_in_order() -> None:
    it = Stage()
    crowd = it.crowd(2)
    it.say(*(message(seq) for seq in range(1, 131)))
    assert [connection.ranges() for connection in crowd] == [
        [("frame", 1, 64), ("frame", 65, 128), ("frame", 129, 130)]
    ] * 2


@in_virtual_time
async def test_a_member_that_does_not_read_costs_a_cursor_and_gets_the_rest_when_it_does() -> None:
    it = Stage()
    slow, wire = it.join("slow", takes=30)
    _, healthy = it.join("healthy")
    it.chat(100)
    assert len(wire.packets) == slow.shown == 30
    assert len(healthy.packets) == 100
    assert it.members.behind == (slow,)
    assert it.catch_up() == []
    wire.takes = None
    assert it.catch_up() == []
    assert is_whole(wire, to=100)
    assert {name for name, _, _ in wire.ranges()} == {"frame"}
    assert (slow.shown, slow.behind_since) == (100, None)
    assert not it.members.anyone_behind
    it.chat(1)
    assert is_whole(wire, to=101)


@in_virtual_time
async def test_a_member_far_behind_gets_a_gap_with_the_lecture_in_it_and_then_the_newest() -> None:
    it = Stage()
    _, wire = it.join("slow", takes=5)
    it.chat(1_000, staff_every=100)
    wire.takes = None
    it.catch_up()
    assert wire.ranges()[5:] == [("gap", 6, 950), ("frame", 951, 1_000)]
    (_, gap) = wire.events("gap")[0]
    assert [entry["seq"] for entry in gap["entries"]] == list(range(100, 901, 100))
    it.chat(1)
    assert is_whole(wire, to=1_001)


@in_virtual_time
async def test_a_member_that_reads_slowly_is_fed_no_more_than_it_takes() -> None:
    it = Stage()
    _, wire = it.join("slow", takes=0)
    it.chat(600, staff_every=2)
    for _ in range(100):
        if not it.members.anyone_behind:
            break
        before = len(wire.packets)
        wire.takes = 1
        assert it.catch_up() == []
        assert len(wire.packets) == before + 1
        it.chat(1)
        await asyncio.sleep(STUCK_AFTER - 1)
    wire.takes = None
    it.catch_up()
    assert is_whole(wire, to=it.room.head)


@in_virtual_time
async def test_a_member_that_reads_nothing_for_15_seconds_is_too_slow() -> None:
    it = Stage()
    slow, wire = it.join("slow", takes=2)
    it.chat(3)
    await asyncio.sleep(STUCK_AFTER - 1)
    assert it.catch_up() == []
    wire.takes = 1
    it.chat(100)
    it.catch_up()
    await asyncio.sleep(STUCK_AFTER - 1)
    assert it.catch_up() == [], "it has read something since"
    await asyncio.sleep(1)
    assert it.catch_up() == [slow]


@in_virtual_time
async def test_a_member_that_lacks_more_than_a_gap_could_tell_is_too_slow_once_it_reads() -> None:
    it = Stage()
    slow, wire = it.join("slow", takes=0)
    it.chat(600, staff_every=1)
    assert it.catch_up() == []
    wire.takes = None
    assert it.catch_up() == [slow]
    assert wire.packets == []


@in_virtual_time
async def test_those_behind_alike_share_one_packet() -> None:
    it = Stage()
    wires = [it.join(f"slow{number}", takes=0)[1] for number in range(5)]
    it.chat(90)
    for wire in wires:
        wire.takes = None
    it.catch_up()
    assert len({id(packet) for wire in wires for packet in wire.packets}) == 2


class _Ticking:
    """A clock on which each look takes a while."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        self.at += 0.005
        return self.at


@in_virtual_time
async def test_many_behind_are_served_in_turn_and_hold_nobody_up() -> None:
    it = Stage()
    it.showing = Showing(it.members, now=_Ticking())
    wires = [it.join(f"slow{number}", takes=0)[1] for number in range(20)]
    it.chat(300, staff_every=2)
    rounds = 0
    while it.members.anyone_behind and rounds < 200:
        rounds += 1
        for wire in wires:
            wire.takes = 1
        before = sum(len(wire.packets) for wire in wires)
        it.catch_up()
        assert sum(len(wire.packets) for wire in wires) - before < 6
    assert all(is_whole(wire, to=300) for wire in wires)


# a large room


LARGE = 2 * SLICE + 7


def shown_to(crowd: list[FakeConnection], count: int) -> int:
    """How many have been written so many packets."""
    return sum(len(connection.packets) == count for connection in crowd)


@in_virtual_time
async def test_a_large_room_is_shown_a_thousand_at_a_time() -> None:
    it = Stage()
    crowd = it.crowd(LARGE)
    it.chat(1)
    assert shown_to(crowd, 1) == SLICE
    assert it.learnt == []
    await asyncio.sleep(0)
    assert shown_to(crowd, 1) == 2 * SLICE
    await asyncio.sleep(0)
    assert shown_to(crowd, 1) == LARGE
    assert it.learnt == [(0.0, LARGE)]
    assert not it.members.anyone_behind


@in_virtual_time
async def test_the_next_batch_finds_the_former_one_shown_to_all() -> None:
    it = Stage()
    crowd = it.crowd(LARGE)
    it.chat(3)
    assert shown_to(crowd, 3) == SLICE
    assert shown_to(crowd, 2) == LARGE - SLICE
    for _ in range(2):
        await asyncio.sleep(0)
    assert all(is_whole(connection, to=3) for connection in crowd)
    assert [members for _, members in it.learnt] == [LARGE] * 3


async def _change_between_slices(change: Callable[[Stage], None]) -> tuple[Stage, list[FakeConnection]]:
    it = Stage()
    crowd = it.crowd(LARGE)
    it.chat(1)
    change(it)
    for _ in range(4):
        await asyncio.sleep(0)
    return it, crowd


def has_seen_the_secret(connection: FakeConnection) -> bool:
    """Whether the text was ever written to it."""
    return any(b"secret" in packet.frame for packet in connection.packets)


@in_virtual_time
async def test_a_text_deleted_meanwhile_is_written_to_nobody_else() -> None:
    it = Stage()
    crowd = it.crowd(LARGE)
    it.say(message(1, "secret"))
    it.showing.show(it.room.show([deletion(2, 1)]), strikes=True)
    it.showing.finish()
    assert sum(map(has_seen_the_secret, crowd)) == SLICE
    it.catch_up()
    assert all(is_whole(wire, to=2) for wire in crowd)
    assert sum(map(has_seen_the_secret, crowd)) == SLICE


@in_virtual_time
async def test_who_joins_meanwhile_stands_behind_the_batch() -> None:
    joined: list[tuple[Member, FakeConnection]] = []
    it, _ = await _change_between_slices(lambda stage: joined.append(stage.join("late")))
    member, wire = joined[0]
    assert (member.shown, wire.packets) == (1, [])
    it.chat(1)
    it.showing.finish()
    assert wire.ranges() == [("frame", 2, 2)]


@in_virtual_time
async def test_who_leaves_meanwhile_is_written_nothing_and_left_nowhere() -> None:
    it = Stage()
    crowd = it.crowd(LARGE)
    it.chat(1)
    for connection in crowd[-3:]:
        it.members.remove(connection)
    it.showing.finish()
    assert [connection.packets for connection in crowd[-3:]] == [[], [], []]
    assert (it.members.connections, it.members.behind) == (LARGE - 3, ())


@in_virtual_time
async def test_who_was_behind_may_catch_up_meanwhile_and_is_written_nothing_twice() -> None:
    it = Stage()
    crowd = it.crowd(LARGE)
    crowd[-1].takes = 0
    it.chat(1)
    it.showing.finish()
    it.chat(1)
    crowd[-1].takes = None
    it.catch_up()
    assert crowd[-1].ranges() == [("frame", 1, 2)]
    it.showing.finish()
    assert all(is_whole(connection, to=2) for connection in crowd)


@in_virtual_time
async def test_a_room_that_is_lost_meanwhile_shows_no_more() -> None:
    it, crowd = await _change_between_slices(lambda stage: stage.showing.stop())
    assert shown_to(crowd, 1) == SLICE
    assert it.learnt == []


# news


@in_virtual_time
async def test_news_reach_those_who_read_so_many_at_a_time() -> None:
    it = Stage()
    crowd = it.crowd(5)
    it.members.tell(event_packet("ambient", {"members": 5}))
    assert [it.members.tell_on(2) for _ in range(4)] == [2, 2, 1, 0]
    assert shown_to(crowd, 1) == 5


@in_virtual_time
async def test_news_that_were_not_read_are_replaced_by_the_newest() -> None:
    it = Stage()
    _, wire = it.join("slow", takes=0)
    _, healthy = it.join("healthy")
    assert it.members.tell_on(9) == 0, "there are none"
    for count in (1, 2, 3):
        it.members.tell(event_packet("ambient", {"members": count}))
        it.members.tell_on(9)
    wire.takes = None
    assert it.members.tell_on(9) == 1
    assert it.members.tell_on(9) == 0
    assert wire.events() == [("ambient", {"members": 3})]
    assert len(healthy.packets) == 3


@in_virtual_time
async def test_who_left_is_told_no_news_and_who_came_later_has_heard_them() -> None:
    it = Stage()
    _, gone = it.join("gone")
    it.members.tell(event_packet("ambient", {"members": 1}))
    it.members.remove(gone)
    _, late = it.join("late")
    assert it.members.tell_on(9) == 0
    assert (gone.packets, late.packets) == ([], [])


@in_virtual_time
async def test_what_waits_for_those_behind_is_not_counted_as_outgoing() -> None:
    it = Stage()
    _, slow = it.join("slow", takes=0)
    _, healthy = it.join("healthy")
    slow.unsent, healthy.unsent = 70_000, 300
    assert it.members.outgoing == 70_300
    it.chat(1)
    assert it.members.outgoing == 300


@in_virtual_time
async def test_who_has_left_stands_beyond_all_entries() -> None:
    it = Stage()
    member, connection = it.join("ann")
    it.members.remove(connection)
    it.members.remove(connection)
    assert member.shown > Seq(2**53)
