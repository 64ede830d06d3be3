"""Planned moves of rooms, with members that talk all the time, over memory twins in virtual time.

Whatever happens on the way, `class_of` has the history checker find nothing, and everybody have everything.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.ids import Epoch, Incarnation, LogId, RoomId
from director.contract.ownership import Asked, Claimed, Outrun, RoomRecord
from director.leases_memory import MemoryNodeLeases
from loadtest.client import HallClient
from persistence.contract.messages import Mode
from persistence.contract.store import Duplicate
from shard_node.core.room import Disallowed
from shard_node.departure import OPEN_WITHIN, SETTLE_WITHIN, WARM_WITHIN
from shard_node.fanout.showing import SLICE
from shard_node.farewell import STAY, Farewell, NewHome
from shard_node.hosted_room import MAX_HELD, HostedRoom
from tests.support.entries import LECTURER, OTHER, draft, message, mode_draft
from tests.support.small_node import SmallNode, small_node
from tests.support.speaker import Speaker
from tests.support.virtual_fleet import VirtualFleet, class_of, virtual_fleet
from tests.support.virtual_time import in_virtual_time

MATH = RoomId("math")
PAUSE = 0.5

Step = Callable[[], Awaitable[None]]


@asynccontextmanager
async def lecture(*names: str) -> AsyncIterator[tuple[VirtualFleet, list[Speaker], list[HallClient]]]:
    """A class at node-1, in a fleet of these nodes."""
    async with virtual_fleet(*names) as fleet, class_of(fleet, MATH) as (talking, others):
        assert fleet.owner_of(MATH) == "node-1"
        yield fleet, talking, others


def around(node: SmallNode, name: str, *, before: Step | None = None, after: Step | None = None) -> None:
    """Let something happen right before or after the node asks Redis for this."""
    ask = getattr(node.owners, name)

    async def asked(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            await before()
        answer = await ask(*args, **kwargs)
        if after is not None:
            await after()
        return answer

    setattr(node.owners, name, asked)


async def lost() -> None:
    """The question, or its answer, is lost."""
    raise ControlPathUnavailable("the test lost it")


async def stays_unnoticed(fleet: VirtualFleet, talking: list[Speaker], *, within: float) -> None:
    """Wait until the room is served by its owner as if nothing had been, and say so."""
    await fleet.until(lambda: fleet.node("node-1").departures.is_idle, within=within)
    hosted = fleet.node("node-1").host.room_of(MATH)
    assert hosted is not None
    assert not hosted.is_frozen
    record = fleet.hall.rooms[MATH]
    assert (record.owner, record.target, record.epoch) == ("node-1", None, hosted.room.epoch)
    assert fleet.byes == []
    assert fleet.moved == []
    assert all(speaker.client.times_resumed == 0 for speaker in talking)


async def all_at(fleet: VirtualFleet, node: str, members: int) -> None:
    """Wait until so many members are live at this node, and nowhere else."""
    await fleet.until(lambda: len(fleet.lines) == members and all(line.node == node for line in fleet.lines))


# it goes well


@in_virtual_time
async def test_a_room_moves_while_its_members_talk_and_nobody_misses_anything() -> None:
    async with virtual_fleet("node-1", "node-2") as fleet, class_of(fleet, MATH, listeners=20) as (talking, others):
        former = fleet.hall.rooms[MATH]
        await fleet.ask_move(MATH, "node-2")
        await all_at(fleet, "node-2", 23)
        assert fleet.hall.rooms[MATH].epoch > former.epoch
        assert fleet.byes == []
        for member in (*(speaker.client for speaker in talking), *others):
            assert (member.times_started, member.times_resumed) == (1, 1)
        await asyncio.sleep(STAY)
        assert max(speaker.longest_pause for speaker in talking) < PAUSE
        assert fleet.node("node-1").host.room_of(MATH) is None
        assert fleet.node("node-1").departures.is_idle
        assert fleet.node("node-1").host.tally.moves["out", "moved"] == 1
        assert fleet.node("node-2").host.tally.moves["in", "moved"] == 1


@in_virtual_time
async def test_staff_and_those_whose_words_wait_go_first_and_the_others_at_the_target_s_pace() -> None:
    async with virtual_fleet("node-1", "node-2") as fleet, class_of(fleet, MATH, listeners=20):
        waited: set[str] = set()

        async def look() -> None:
            await asyncio.sleep(0.1)
            hosted = fleet.node("node-1").host.room_of(MATH)
            assert hosted is not None
            waited.update(hosted.held_by)

        around(fleet.node("node-1"), "hand_over", before=look)
        await fleet.ask_move(MATH, "node-2")
        await all_at(fleet, "node-2", 23)
        told = [(line.user, moved.after_ms) for line, moved in fleet.moved]
        crowd = [after_ms for user, after_ms in told if user.startswith("l")]
        assert [after - crowd[0] for after in crowd] == [10 * place for place in range(20)], "100 joins a second"
        assert told[0][0] == "s0", "the lecturer"
        ranks = {user: place for place, (user, _) in enumerate(told)}
        assert waited
        assert max(ranks[user] for user in waited) < min(ranks[f"l{number}"] for number in range(20))


@in_virtual_time
async def test_a_room_that_goes_there_and_back_again_is_served_all_the_time() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        for to in ("node-2", "node-1", "node-2", "node-1"):
            await fleet.ask_move(MATH, to)
            await all_at(fleet, to, 6)
        assert fleet.byes == []
        assert max(speaker.longest_pause for speaker in talking) < PAUSE


@in_virtual_time
async def test_a_room_that_is_not_open_is_handed_over_without_a_word() -> None:
    async with virtual_fleet("node-1", "node-2") as fleet:
        await fleet.place(MATH, None)
        await fleet.ask_move(MATH, "node-2")
        await fleet.until(lambda: fleet.node("node-2").host.room_of(MATH) is not None)
        assert fleet.stores[fleet.node("node-1").name].openings == 0
        await fleet.until(lambda: fleet.node("node-1").departures.is_idle)


@in_virtual_time
@pytest.mark.parametrize("fault", ["no lease", "cancelled", "lost"])
async def test_a_room_that_is_not_open_and_cannot_be_handed_over_stays(fault: str) -> None:
    async with virtual_fleet("node-1", "node-2") as fleet:
        await fleet.place(MATH, None)

        async def fail() -> None:
            match fault:
                case "no lease":
                    two = fleet.node("node-2")
                    await MemoryNodeLeases(fleet.hall).declare_dead(two.name, two.host.incarnation, why="test")
                case "cancelled":
                    await fleet.owners.cancel_move(fleet.hall.rooms[MATH])
                case _:
                    await lost()

        around(fleet.node("node-1"), "hand_over", before=fail)
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(0.1)
        assert fleet.node("node-1").departures.is_idle
        assert fleet.owner_of(MATH) == "node-1"
        assert fleet.node("node-1").host.tally.moves["out", "cancelled"] == 1
        await fleet.node("node-1").host.open(MATH)


@in_virtual_time
async def test_a_room_that_is_just_being_opened_moves_with_those_for_whom_it_is_opened() -> None:
    async with virtual_fleet("node-1", "node-2") as fleet:
        await fleet.place(MATH, None)
        opening = asyncio.create_task(fleet.node("node-1").host.open(MATH))
        await asyncio.sleep(0)
        await fleet.ask_move(MATH, "node-2")
        hosted = await opening
        await fleet.until(lambda: fleet.node("node-2").host.room_of(MATH) is not None)
        await fleet.until(lambda: fleet.node("node-1").departures.is_idle)
        assert fleet.node("node-1").host.room_of(MATH) is None
        assert not hosted.is_frozen


@in_virtual_time
async def test_what_was_committed_before_the_move_is_a_retry_after_it() -> None:
    async with lecture("node-1", "node-2") as (fleet, _, _):
        said = await _outcome_at(fleet, "node-1", "once")
        await fleet.ask_move(MATH, "node-2")
        await all_at(fleet, "node-2", 6)
        again = await _outcome_at(fleet, "node-2", "once")
        assert isinstance(again, Duplicate)
        assert again.seq == said.entry.seq


async def _outcome_at(fleet: VirtualFleet, name: str, cid: str) -> Any:
    node = fleet.node(name)
    hosted = node.host.room_of(MATH)
    assert hosted is not None
    return await node.outcome_of(hosted, draft(cid, by=OTHER))


# people come and go meanwhile


@in_virtual_time
async def test_who_comes_while_the_room_is_frozen_is_let_in_and_sent_on() -> None:
    async with lecture("node-1", "node-2") as (fleet, _, _):

        async def somebody_comes() -> None:
            await fleet.stack.enter_async_context(fleet.client(MATH, "late"))
            await fleet.until(lambda: len(fleet.lines) == 7)

        around(fleet.node("node-1"), "hand_over", before=somebody_comes)
        await fleet.ask_move(MATH, "node-2")
        await all_at(fleet, "node-2", 7)
        assert fleet.byes == []


@in_virtual_time
async def test_who_comes_late_to_the_former_owner_is_told_that_the_room_has_moved() -> None:
    async with lecture("node-1", "node-2") as (fleet, _, others):
        stale = await fleet.route(MATH)
        admission = await fleet.gateways[fleet.node("node-1").name].connecting({"v": 1, "ticket": stale.ticket})
        await fleet.ask_move(MATH, "node-2")
        await fleet.until(lambda: bool(fleet.moved))
        with pytest.raises(Refusal) as refused:
            await fleet.gateways[fleet.node("node-1").name].connecting({"v": 1, "ticket": stale.ticket})
        assert refused.value.code is ErrorCode.MOVED
        line = fleet.line(fleet.node("node-1").name)
        line.admission, line.is_open = admission, True
        fleet.gateways[fleet.node("node-1").name].connected(line)
        await asyncio.sleep(0.01)
        assert fleet.byes == ["MOVED"], "and so is one who was on the threshold"
        assert all(member.is_live for member in others)


@in_virtual_time
async def test_who_drops_out_in_the_middle_comes_back_by_the_director() -> None:
    async with lecture("node-1", "node-2") as (fleet, _, others):

        async def somebody_drops() -> None:
            await others[0].drop()

        around(fleet.node("node-1"), "hand_over", before=somebody_drops, after=others[1].drop)
        await fleet.ask_move(MATH, "node-2")
        await all_at(fleet, "node-2", 6)


@in_virtual_time
async def test_who_does_not_go_is_answered_frozen_and_ended_in_the_end() -> None:
    async with virtual_fleet("node-1", "node-2") as fleet, class_of(fleet, MATH):
        route = await fleet.route(MATH, user="stays")
        line = fleet.line(fleet.node("node-1").name)
        await line.join(route, since=None, tail=0, transports=())
        await fleet.ask_move(MATH, "node-2")
        await fleet.until(lambda: line.moved is not None)
        for event, body in (("send", {"cid": "late", "text": "hello?"}), ("history", {}), ("react", {"emoji": "👍"})):
            answer = await line.call(event, body)
            assert answer["error"]["code"] == "FROZEN"
            assert answer["error"]["retry_after_ms"] >= 20
        assert not fleet.node("node-1").departures.is_idle
        await asyncio.sleep(STAY + 1)
        assert fleet.byes == ["MOVED"]
        assert not line.is_open
        assert fleet.node("node-1").departures.is_idle


@in_virtual_time
async def test_words_that_were_held_are_answered_frozen_with_their_author_s_own_slot() -> None:
    async with virtual_fleet("node-1", "node-2") as fleet, class_of(fleet, MATH):
        one = fleet.node("node-1")
        line = fleet.line(one.name)
        await line.join(await fleet.route(MATH, user="waits"), since=None, tail=0, transports=())
        asked: list[asyncio.Task[Any]] = []

        async def somebody_speaks() -> None:
            asked.append(asyncio.create_task(line.call("send", {"cid": "held", "text": "hello?"})))
            await asyncio.sleep(0.1)

        around(one, "hand_over", before=somebody_speaks)
        await fleet.ask_move(MATH, "node-2")
        answer = await asyncio.wait_for(_first(asked), 1.0)
        assert answer["error"]["code"] == "FROZEN"
        assert line.moved is not None
        assert answer["error"]["retry_after_ms"] == max(20, line.moved.after_ms)


async def _first(tasks: list["asyncio.Task[Any]"]) -> Any:
    while not tasks:  # noqa: ASYNC110 (the clock jumps)
        await asyncio.sleep(0.01)
    return await tasks[0]


@in_virtual_time
async def test_all_that_was_committed_here_is_shown_before_anybody_is_sent_away() -> None:
    """A large room is shown a thousand members at a time, and the process does other things in between."""
    async with small_node() as node:
        hosted = await node.opened(MATH)
        wires = [node.add_member(hosted)[1] for _ in range(2 * SLICE)]
        wires.append(node.add_member(hosted, LECTURER)[1])  # shown last, and told first
        hosted.showing.show(hosted.room.show([message(1)]))
        home = NewHome(node.keeper.lease, Epoch(2))
        farewell = Farewell(
            hosted, home, sign=lambda *_: "signed", end=lambda _: None, now=asyncio.get_running_loop().time
        )
        farewell.begin()
        telling = asyncio.create_task(farewell.run())
        await asyncio.sleep(1)
        telling.cancel()
        assert len(wires[-1].texts()) == 2
        names = {tuple(json.loads(text[1:])[0] for text in wire.texts()) for wire in wires}
        assert names == {("frame", "moved")}


# nothing comes of it


@in_virtual_time
async def test_a_target_that_does_not_reach_the_store_is_not_given_the_room() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        fleet.stores[fleet.node("node-2").name].is_cut = True
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(0.1)
        await stays_unnoticed(fleet, talking, within=0.5)
        assert fleet.node("node-1").host.tally.moves["out", "cancelled"] == 1
        assert fleet.node("node-2").host.tally.moves["in", "cancelled"] == 1
        assert max(speaker.longest_pause for speaker in talking) < PAUSE


@in_virtual_time
async def test_a_target_that_never_gets_ready_is_not_waited_for() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        around(fleet.node("node-2"), "note_warm", before=asyncio.Event().wait)  # type: ignore[arg-type]
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(WARM_WITHIN - 0.1)
        assert fleet.hall.rooms[MATH].target == "node-2"
        await asyncio.sleep(0.2)
        await stays_unnoticed(fleet, talking, within=0.1)
        assert max(speaker.longest_pause for speaker in talking) < PAUSE, "it was not even frozen"


@in_virtual_time
async def test_a_store_that_does_not_settle_what_was_said_keeps_the_room_where_it_is() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        commits = fleet.stores[fleet.node("node-1").name].commits
        commits.clear()
        await asyncio.sleep(0.1)
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(SETTLE_WITHIN + 0.2)
        commits.set()
        await stays_unnoticed(fleet, talking, within=0.1)


@in_virtual_time
async def test_a_target_that_lost_its_lease_by_then_is_not_given_the_room() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):

        async def declare_dead() -> None:
            two = fleet.node("node-2")
            await MemoryNodeLeases(fleet.hall).declare_dead(two.name, two.host.incarnation, why="test")

        around(fleet.node("node-1"), "hand_over", before=declare_dead)
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(0.1)
        await stays_unnoticed(fleet, talking, within=1.0)


@in_virtual_time
@pytest.mark.parametrize("step", ["note_warm", "hand_over"])
async def test_a_move_that_is_cancelled_on_the_way_did_not_happen(step: str) -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):

        async def cancel() -> None:
            assert isinstance(await fleet.owners.cancel_move(fleet.hall.rooms[MATH]), Asked)

        around(fleet.node("node-2" if step == "note_warm" else "node-1"), step, before=cancel)
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(0.1)
        await stays_unnoticed(fleet, talking, within=0.5)


@in_virtual_time
async def test_a_move_that_is_cancelled_while_the_room_is_frozen_did_not_happen() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        commits = fleet.stores[fleet.node("node-1").name].commits
        commits.clear()
        await asyncio.sleep(0.1)
        await fleet.ask_move(MATH, "node-2")
        await fleet.until(lambda: bool((hosted := fleet.node("node-1").host.room_of(MATH)) and hosted.is_frozen))
        await fleet.owners.cancel_move(fleet.hall.rooms[MATH])
        commits.set()
        await asyncio.sleep(0.1)
        await stays_unnoticed(fleet, talking, within=0.5)


@in_virtual_time
async def test_a_second_move_is_refused_and_another_target_after_a_cancel_gets_the_room() -> None:
    async with lecture("node-1", "node-2", "node-3") as (fleet, _, _):
        around(fleet.node("node-2"), "note_warm", before=asyncio.Event().wait)  # type: ignore[arg-type]
        asked = await fleet.ask_move(MATH, "node-2")
        three = fleet.node("node-3")
        second = await fleet.owners.ask_move(asked, to=three.name, incarnation=three.host.incarnation, why="test")
        assert isinstance(second, Outrun)
        await fleet.owners.cancel_move(asked)
        await fleet.ask_move(MATH, "node-3")
        await all_at(fleet, "node-3", 6)
        assert fleet.byes == []


@in_virtual_time
async def test_without_redis_a_move_does_not_begin() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        await fleet.ask_move(MATH, "node-2")
        fleet.hall.is_silent = True
        await asyncio.sleep(WARM_WITHIN + 1)
        fleet.hall.is_silent = False
        await fleet.owners.cancel_move(fleet.hall.rooms[MATH])
        await stays_unnoticed(fleet, talking, within=1.0)


# the target fails


@in_virtual_time
async def test_a_target_that_dies_when_the_room_is_its_own_gives_it_back_and_nobody_notices() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        former = fleet.hall.rooms[MATH].epoch
        around(fleet.node("node-1"), "hand_over", before=lambda: fleet.kill("node-2"))
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(OPEN_WITHIN + 0.5)
        await stays_unnoticed(fleet, talking, within=0.1)
        assert fleet.hall.rooms[MATH].epoch == former + 2
        assert max(speaker.longest_pause for speaker in talking) < OPEN_WITHIN + PAUSE
        assert fleet.node("node-1").host.tally.moves["out", "taken_back"] == 1
        there = fleet.node("node-1").host
        assert fleet.hall.rooms[MATH].members or MATH in there.changed_counts(), "the new record counts nobody"


@in_virtual_time
async def test_a_target_that_dies_after_it_opened_the_room_is_followed_by_another() -> None:
    async with lecture("node-1", "node-2", "node-3") as (fleet, _, _):
        await fleet.ask_move(MATH, "node-2")
        await fleet.until(lambda: bool(fleet.moved))
        await fleet.kill("node-2")
        await fleet.until(lambda: len(fleet.lines) == 6 and not any(line.moved for line in fleet.lines))


@in_virtual_time
async def test_a_target_that_cannot_write_gives_the_room_back_at_once() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        fleet.stores[fleet.node("node-2").name].opens = False
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(0.5)
        await stays_unnoticed(fleet, talking, within=0.1)
        assert max(speaker.longest_pause for speaker in talking) < PAUSE


@in_virtual_time
async def test_a_target_that_opens_the_room_too_late_finds_it_taken_back() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        store = fleet.stores[fleet.node("node-2").name]
        open_room = store.open_room

        async def slowly(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(OPEN_WITHIN - 0.1)
            await asyncio.shield(asyncio.sleep(1.0))
            return await open_room(*args, **kwargs)

        store.open_room = slowly  # type: ignore[method-assign]
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(OPEN_WITHIN + 3.0)
        await stays_unnoticed(fleet, talking, within=0.1)
        assert fleet.node("node-2").host.room_of(MATH) is None


@in_virtual_time
async def test_what_the_target_committed_before_it_was_taken_back_is_shown_to_those_who_stayed() -> None:
    """The source read the row for the last time a moment before the target opened the room."""
    async with lecture("node-1", "node-2") as (fleet, _, others):
        one, two = fleet.node("node-1"), fleet.node("node-2")
        store = fleet.stores[one.name]
        row_states = store.row_states
        before = dict(await row_states([MATH]))

        async def as_before(rooms: Any) -> Any:
            return before

        async def look_away() -> None:
            before.update(await row_states([MATH]))
            store.row_states = as_before  # type: ignore[method-assign]

        async def target_speaks() -> None:
            store.row_states = row_states  # type: ignore[method-assign]
            hosted = two.host.room_of(MATH)
            assert hosted is not None
            for number in range(3):
                await two.outcome_of(hosted, draft(f"there-{number}", by=OTHER))

        around(one, "hand_over", before=look_away)
        around(one, "take_back", before=target_speaks)
        former = fleet.hall.rooms[MATH].epoch
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(OPEN_WITHIN + 0.5)
        await fleet.until(lambda: all(member.position and member.position.epoch == former + 2 for member in others))
        assert {line.node for line in fleet.lines} == {"node-1"}
        assert two.host.room_of(MATH) is None
        assert one.host.tally.moves["out", "taken_back"] == 1


@in_virtual_time
async def test_a_room_that_was_given_back_and_then_to_another_is_let_go() -> None:
    async with lecture("node-1", "node-2", "node-3") as (fleet, _, _):
        three = fleet.node("node-3")

        async def another_gets_it() -> None:
            await three.claim(MATH)

        fleet.stores[fleet.node("node-2").name].opens = False
        around(fleet.node("node-1"), "take_back", before=another_gets_it)
        await fleet.ask_move(MATH, "node-2")
        await all_at(fleet, "node-3", 6)
        assert set(fleet.byes) == {"NOT_OWNER"}


# answers are lost


@in_virtual_time
@pytest.mark.parametrize("has_happened", [True, False])
async def test_a_hand_over_whose_answer_is_lost_is_looked_up(has_happened: bool) -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        around(fleet.node("node-1"), "hand_over", **{"after" if has_happened else "before": lost})
        await fleet.ask_move(MATH, "node-2")
        if has_happened:
            await all_at(fleet, "node-2", 6)
            assert fleet.byes == []
        else:
            await asyncio.sleep(0.1)
            await stays_unnoticed(fleet, talking, within=1.0)
        assert max(speaker.longest_pause for speaker in talking) < PAUSE


@in_virtual_time
@pytest.mark.parametrize("has_happened", [True, False])
async def test_a_hand_over_that_nobody_can_look_up_leaves_it_to_the_store(has_happened: bool) -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):

        async def mute() -> None:
            fleet.hall.is_mute = True

        async def silence() -> None:
            fleet.hall.is_mute, fleet.hall.is_silent = False, True
            await lost()

        if has_happened:
            around(fleet.node("node-1"), "hand_over", before=mute, after=silence)
        else:
            around(fleet.node("node-1"), "hand_over", before=silence)
        await fleet.ask_move(MATH, "node-2")
        await fleet.until(lambda: fleet.hall.is_silent)
        await asyncio.sleep(5.0)
        fleet.hall.is_silent = False
        fleet.hall.interrupt()
        await asyncio.sleep(5.0)
        assert max(speaker.longest_pause for speaker in talking) < 5.0


@in_virtual_time
async def test_a_hand_over_that_happens_after_it_was_given_up_is_settled_by_the_store() -> None:
    async with lecture("node-1", "node-2") as (fleet, _, _):
        hand_over = fleet.node("node-1").owners.hand_over
        late: list[RoomRecord] = []

        async def lost_for_a_while(record: RoomRecord) -> Any:
            late.append(record)
            raise ControlPathUnavailable("the test holds it up")

        async def never(record: RoomRecord) -> Any:
            raise ControlPathUnavailable("the test loses it")

        fleet.node("node-1").owners.hand_over = lost_for_a_while  # type: ignore[method-assign]
        fleet.node("node-1").owners.cancel_move = never  # type: ignore[method-assign]
        await fleet.ask_move(MATH, "node-2")
        await fleet.until(lambda: bool(late))
        await asyncio.sleep(2.0)
        assert fleet.node("node-1").host.room_of(MATH) is not None
        assert isinstance(await hand_over(fleet.hall.rooms[MATH]), Claimed)
        await all_at(fleet, "node-2", 6)


@in_virtual_time
@pytest.mark.parametrize("has_happened", [True, False])
async def test_a_taking_back_whose_answer_is_lost_is_asked_for_again(has_happened: bool) -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):
        times: list[int] = []

        async def lose_the_first() -> None:
            times.append(1)
            if len(times) == 1:
                await lost()

        around(fleet.node("node-1"), "hand_over", before=lambda: fleet.kill("node-2"))
        around(fleet.node("node-1"), "take_back", **{"after" if has_happened else "before": lose_the_first})
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(OPEN_WITHIN + 0.5)
        await stays_unnoticed(fleet, talking, within=0.1)
        assert len(times) == 2


@in_virtual_time
async def test_a_room_that_cannot_be_taken_back_is_served_on_while_the_store_knows_no_other_owner() -> None:
    async with lecture("node-1", "node-2") as (fleet, talking, _):

        async def silence() -> None:
            fleet.hall.is_silent = True

        around(fleet.node("node-1"), "hand_over", before=lambda: fleet.kill("node-2"), after=silence)
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(OPEN_WITHIN + 2.0)
        so_far = [len(speaker.acked) for speaker in talking]
        await asyncio.sleep(1.0)
        assert all(len(it.acked) > before for it, before in zip(talking, so_far, strict=True))
        fleet.hall.is_silent = False
        fleet.hall.interrupt()
        await fleet.until(lambda: fleet.owner_of(MATH) == "node-1")


# the source fails


@in_virtual_time
@pytest.mark.parametrize("step", ["asked", "warm", "handed over", "opened", "told"])
async def test_a_source_that_dies_on_the_way_costs_a_reconnection(step: str) -> None:
    async with lecture("node-1", "node-2") as (fleet, _, _):

        async def die() -> None:
            await fleet.kill("node-1")

        match step:
            case "warm":
                around(fleet.node("node-1"), "hand_over", before=die)
            case "handed over":
                around(fleet.node("node-1"), "hand_over", after=die)
            case _:
                pass
        await fleet.ask_move(MATH, "node-2")
        match step:
            case "asked":
                await die()
            case "opened":
                await fleet.until(lambda: fleet.node("node-2").host.room_of(MATH) is not None)
                await die()
            case "told":
                await fleet.until(lambda: bool(fleet.moved))
                await die()
            case _:
                pass
        await all_at(fleet, "node-2", 6)


@in_virtual_time
async def test_a_source_that_is_declared_dead_while_the_room_is_frozen_lets_go_of_it() -> None:
    async with lecture("node-1", "node-2", "node-3") as (fleet, _, _):

        async def declare_dead() -> None:
            record = fleet.hall.rooms[MATH]
            await MemoryNodeLeases(fleet.hall).declare_dead(record.owner, record.incarnation, why="test")
            three = fleet.node("node-3")
            await three.claim(MATH, replacing=record)

        around(fleet.node("node-1"), "hand_over", before=declare_dead)
        await fleet.ask_move(MATH, "node-2")
        await all_at(fleet, "node-3", 6)
        assert set(fleet.byes) <= {"NOT_OWNER", "LEASE_LOST"}


@in_virtual_time
async def test_a_source_that_loses_its_lease_while_the_store_settles_lets_go_of_the_room() -> None:
    async with lecture("node-1", "node-2") as (fleet, _, _):
        commits = fleet.stores[fleet.node("node-1").name].commits
        commits.clear()
        await asyncio.sleep(0.1)
        await fleet.ask_move(MATH, "node-2")
        await fleet.until(lambda: bool((hosted := fleet.node("node-1").host.room_of(MATH)) and hosted.is_frozen))
        fleet.node("node-1").host.drop_all(ErrorCode.LEASE_LOST)
        await asyncio.sleep(0.5)
        assert fleet.node("node-1").departures.is_idle
        commits.set()
        await fleet.until(lambda: len(fleet.lines) == 6)


@in_virtual_time
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_third_owner_by_the_store_ends_the_move(when: str) -> None:
    async with lecture("node-1", "node-2") as (fleet, _, _):

        async def another_fences() -> None:
            await fleet.shared.open_room(
                MATH, epoch=Epoch(900), incarnation=Incarnation("another"), fresh_log=LogId("none")
            )

        around(fleet.node("node-1"), "hand_over", **{when: another_fences})
        await fleet.ask_move(MATH, "node-2")
        await all_at(fleet, "node-2", 6)
        assert fleet.hall.rooms[MATH].epoch > 900


@in_virtual_time
async def test_a_source_that_cannot_see_the_row_does_not_take_the_room_from_a_target_that_has_it() -> None:
    async with lecture("node-1", "node-2") as (fleet, _, _):

        async def cut() -> None:
            fleet.stores[fleet.node("node-1").name].is_cut = True

        around(fleet.node("node-1"), "hand_over", after=cut)
        await fleet.ask_move(MATH, "node-2")
        await all_at(fleet, "node-2", 6)
        assert fleet.owner_of(MATH) == "node-2"
        assert set(fleet.byes) == {"NOT_OWNER"}


@in_virtual_time
async def test_a_redis_that_forgets_everything_in_the_middle_of_a_move_is_told_who_owns_the_room() -> None:
    async with lecture("node-1", "node-2") as (fleet, _, _):

        async def forget() -> None:
            fleet.hall.wipe()

        around(fleet.node("node-1"), "hand_over", after=forget)
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(10.0)
        assert len(fleet.lines) == 6


@in_virtual_time
async def test_a_redis_that_forgets_the_hand_over_alone_costs_latecomers_a_while() -> None:
    """The target asserts what it has before it has opened the room, so the record names the source for a while."""
    async with lecture("node-1", "node-2") as (fleet, _, _):
        store = fleet.stores[fleet.node("node-2").name]
        open_room = store.open_room

        async def slowly(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(2.0)
            return await open_room(*args, **kwargs)

        saved = fleet.hall.save()

        async def forget() -> None:
            await asyncio.sleep(0.1)
            store.open_room = open_room  # type: ignore[method-assign]
            fleet.hall.fail_over(saved)

        store.open_room = slowly  # type: ignore[method-assign]
        around(fleet.node("node-1"), "hand_over", after=forget)
        await fleet.ask_move(MATH, "node-2")
        await asyncio.sleep(5.0)
        late = await fleet.stack.enter_async_context(fleet.client(MATH, "late"))
        await late.live(30)
        await fleet.until(lambda: len(fleet.lines) == 7)


# what is held


@in_virtual_time
async def test_what_is_said_in_a_frozen_room_is_put_in_order_when_it_stays() -> None:
    async with virtual_fleet("node-1") as fleet:
        node, hosted = await _open(fleet)
        node.host.freeze(hosted)
        told: list[Any] = []
        for number in range(20):
            assert node.host.post(hosted, draft(f"c{number}"), told.append) is None
        await asyncio.sleep(1)
        assert told == []
        assert hosted.room.head == 0
        node.host.thaw(hosted)
        node.host.thaw(hosted)
        await asyncio.sleep(1)
        assert [outcome.entry.cid for outcome in told] == [f"c{number}" for number in range(20)]


@in_virtual_time
async def test_a_frozen_room_holds_no_more_than_its_bound_and_closes_neither_by_idleness() -> None:
    async with virtual_fleet("node-1") as fleet:
        node, hosted = await _open(fleet)
        node.host.freeze(hosted)
        for number in range(MAX_HELD):
            node.host.post(hosted, draft(f"c{number}"), lambda _: None)
        with pytest.raises(Refusal) as refused:
            node.host.post(hosted, draft("one more"), lambda _: None)
        assert refused.value.code is ErrorCode.FROZEN
        await asyncio.sleep(100)
        node.host.close_idle(1.0)
        assert node.host.room_of(MATH) is hosted
        node.host.drop(MATH, ErrorCode.SHUTDOWN)
        assert not hosted.is_frozen


@in_virtual_time
async def test_of_a_frozen_room_whose_row_is_the_target_s_nobody_but_its_departure_says_anything() -> None:
    async with small_node("node-1") as one, small_node("node-2", hall=one.hall, store=one.store) as two:
        hosted = await one.opened(MATH)
        _, wire = one.add_member(hosted)
        one.host.freeze(hosted)
        asked = await one.owners.ask_move(hosted.record, to=two.name, incarnation=two.host.incarnation, why="test")
        assert isinstance(asked, Asked)
        claimed = await one.owners.hand_over(asked.record)
        assert isinstance(claimed, Claimed)
        await two.host.open(MATH, claimed.record)
        await one.host.confirm_rows()
        one.hall.fail_over(one.hall.save())  # so that all rooms are asserted
        await asyncio.sleep(2)
        assert one.host.room_of(MATH) is hosted
        assert wire.texts() == []


@in_virtual_time
async def test_a_frozen_room_s_drafts_do_not_wait_for_its_pace() -> None:
    async with virtual_fleet("node-1") as fleet:
        node, hosted = await _open(fleet)
        node.add_member(hosted)
        hosted.pace.learn(1.0, 1)
        now = asyncio.get_running_loop().time
        told: list[float] = []
        for number in range(3):
            node.host.post(hosted, draft(f"c{number}"), lambda _: told.append(now()))
            await asyncio.sleep(0.01)
        assert len(told) == 1
        frozen_at = now()
        node.host.freeze(hosted)
        await hosted.until_settled()
        assert now() - frozen_at < 0.1
        assert len(told) == 3


@in_virtual_time
async def test_held_words_that_a_later_owner_would_have_refused_are_refused_when_the_room_is_taken_back() -> None:
    async with small_node("node-1") as one, small_node("node-2", hall=one.hall, store=one.store) as two:
        hosted = await one.opened(MATH)
        member, wire = one.add_member(hosted)
        await one.outcome_of(hosted, draft("before"))
        one.host.freeze(hosted)
        told: list[Any] = []
        one.host.post(hosted, draft("held"), told.append)
        asked = await one.owners.ask_move(hosted.record, to=two.name, incarnation=two.host.incarnation, why="test")
        assert isinstance(asked, Asked)
        claimed = await one.owners.hand_over(asked.record)
        assert isinstance(claimed, Claimed)
        theirs = await two.host.open(MATH, claimed.record)
        await two.outcome_of(theirs, mode_draft(Mode.CLOSED))
        back = await one.owners.take_back(claimed.record, node=one.name, incarnation=one.host.incarnation)
        assert isinstance(back, Claimed)
        assert await one.host.reopen(hosted, back.record)
        assert [type(outcome) for outcome in told] == [Disallowed]
        assert (hosted.room.mode, hosted.room.head, hosted.room.epoch) == (Mode.CLOSED, 2, back.record.epoch)
        assert hosted.members.behind == (member,), "it will be shown what the other owner has committed"
        assert len(wire.texts()) == 1


async def _open(fleet: VirtualFleet) -> tuple[SmallNode, HostedRoom]:
    node = fleet.node("node-1")
    return node, await node.opened(MATH)
