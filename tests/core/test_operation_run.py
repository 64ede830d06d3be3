"""director/operation_run and director/mover: what an operation asks for, in which order, and what it tells of it."""

import asyncio

import pytest

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import NodeName, RoomId
from director.contract.operations import MoveState, Operation, OperationKind, OperationState
from director.contract.orders import Cordon
from director.contract.ownership import Asked, RoomRecord
from director.core.waves import Budget
from director.mover import MOVE_WITHIN
from director.operation_run import TELL_EVERY
from tests.support.moving_nodes import SimulatedDirector, SimulatedFleet
from tests.support.virtual_time import in_virtual_time

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")


def record_of(director: SimulatedDirector, room: str) -> RoomRecord:
    record = director.view.record_of(RoomId(room))
    assert record is not None
    return record


async def ordered(director: SimulatedDirector, room: str, to: NodeName) -> Operation:
    """Start the move of one room."""
    plan = director.planner.move(record_of(director, room), to)
    return await director.desk.start(OperationKind.MOVE, room, plan, budget=Budget())


async def rebalanced(director: SimulatedDirector, **moves: NodeName) -> Operation:
    """Start these moves."""
    chosen = [(record_of(director, room), to, "planned") for room, to in moves.items()]
    plan = director.planner.chosen(chosen, Budget(max_rooms=2), bound=1.25)
    return await director.desk.start(OperationKind.REBALANCE, "", plan, budget=Budget(max_rooms=2))


@in_virtual_time
async def test_a_room_is_moved_where_it_was_ordered_to() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        await fleet.nodes["a"].open("math", members=300)
        director = await fleet.director()
        before = record_of(director, "math")

        ended = await fleet.ended((await ordered(director, "math", B)).id)

        assert (ended.state, ended.problem, ended.moved) == (OperationState.DONE, None, 1)
        (move,) = ended.plan.moves
        assert (move.source, move.target, move.state, move.members) == ("a", "b", MoveState.DONE, 300)
        assert move.took_ms is not None
        assert 120 <= move.took_ms < 1_000
        record = fleet.hall.rooms[RoomId("math")]
        assert (record.owner, record.why, record.target) == ("b", "ordered", None)
        assert record.epoch > before.epoch
        assert director.moves == {"done": 1}
        assert director.ended == [(OperationKind.MOVE, OperationState.DONE)]
        assert not director.desk.running


@in_virtual_time
async def test_an_operation_can_be_read_as_soon_as_it_has_been_started() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        director, other = await fleet.director(), await fleet.director("director-2")
        operation = await ordered(director, "math", B)
        told = await other.operations.operation(operation.id)
        assert told is not None
        assert told.state is OperationState.RUNNING
        await fleet.ended(operation.id)


@in_virtual_time
async def test_a_plan_shows_what_a_move_does_to_the_nodes() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math", members=300)
        await fleet.nodes["a"].open("art", members=100)
        director = await fleet.director()
        plan = director.planner.move(record_of(director, "math"), B)
        assert [(node.node, node.before, node.after, node.limit) for node in plan.nodes] == [
            ("a", 400, 100, 250),
            ("b", 0, 300, 250),
        ]
        assert plan.members == 300
        assert plan.seconds == pytest.approx(0.8)
        assert plan.expected_pause_ms > 0


@in_virtual_time
async def test_a_run_does_exactly_what_its_plan_said() -> None:
    """In its order, at its pace, and nothing else, though the loads have changed since."""
    async with SimulatedFleet("a", "b", "c") as fleet:
        for i in range(12):
            await fleet.nodes["a"].open(f"room-{i}", members=100 + i)
        director = await fleet.director()
        plan = await director.planner.rebalance(bound=1.25, budget=Budget(max_rooms=2))
        assert plan.moves
        wanted = {move.room: move.target for move in plan.moves}
        fleet.nodes["b"].members[RoomId("late")] = 5_000
        await fleet.nodes["b"].open("late", members=5_000)

        began_at = asyncio.get_running_loop().time()
        started = await director.desk.start(OperationKind.REBALANCE, "", plan, budget=Budget(max_rooms=2))
        ended = await fleet.ended(started.id)

        assert ended.state is OperationState.DONE
        assert {move.room: move.target for move in ended.plan.moves} == wanted
        assert {record.room: record.owner for record in fleet.hall.rooms.values() if record.moves} == wanted
        waves = -(-len(plan.moves) // 2)
        took = asyncio.get_running_loop().time() - began_at
        assert took >= 0.5 * (waves - 1), "a wave begins no sooner than the pace of the one before allows"
        by_epoch = sorted(wanted, key=lambda room: fleet.hall.rooms[room].epoch)
        pairs = [{move.room for move in plan.moves[i : i + 2]} for i in range(0, len(plan.moves), 2)]
        assert [set(by_epoch[i : i + 2]) for i in range(0, len(by_epoch), 2)] == pairs


@in_virtual_time
async def test_only_one_rebalancing_runs_at_a_time() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        for room in ("r1", "r2"):
            await fleet.nodes["a"].open(room)
        one, two = await fleet.director(), await fleet.director("director-2")
        started = await rebalanced(one, r1=B)
        with pytest.raises(Refusal) as refusal:
            await rebalanced(two, r2=B)
        assert refusal.value.code is ErrorCode.BUSY
        assert started.id in refusal.value.message
        await fleet.ended(started.id)
        await fleet.ended((await rebalanced(two, r2=B)).id)
        assert fleet.rooms_of("b") == {"r1", "r2"}


@in_virtual_time
async def test_a_move_that_the_owner_gives_up_has_failed_and_says_why() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["a"].manner.gives_up = True
        director = await fleet.director()
        ended = await fleet.ended((await ordered(director, "math", B)).id)
        assert (ended.state, ended.problem) == (OperationState.FAILED, "1 room was not moved")
        assert ended.plan.moves[0].state is MoveState.FAILED
        assert "gave the move up" in (ended.plan.moves[0].problem or "")
        assert fleet.owner_of("math") == "a"
        assert director.moves == {"failed": 1}


@in_virtual_time
async def test_a_move_that_nobody_carries_out_is_called_off_after_ten_seconds() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["b"].manner.never_warms = True
        director = await fleet.director()
        began_at = asyncio.get_running_loop().time()
        ended = await fleet.ended((await ordered(director, "math", B)).id)
        assert MOVE_WITHIN <= asyncio.get_running_loop().time() - began_at < MOVE_WITHIN + 1
        assert "within 10 s" in (ended.plan.moves[0].problem or "")
        record = fleet.hall.rooms[RoomId("math")]
        assert (record.owner, record.target) == ("a", None), "no target is left behind"


@in_virtual_time
async def test_a_move_that_is_handed_over_as_it_is_called_off_is_done() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["a"].manner.never_hands_over = True
        director = await fleet.director()
        operation = await ordered(director, "math", B)
        await fleet.until(lambda: fleet.hall.rooms[RoomId("math")].is_warm)
        await asyncio.sleep(MOVE_WITHIN - 1)
        fleet.hall.is_mute = True  # the view does not hear of it
        await director.owners.hand_over(fleet.hall.rooms[RoomId("math")])
        ended = await fleet.ended(operation.id)
        assert ended.state is OperationState.DONE
        fleet.hall.is_mute = False


@in_virtual_time
async def test_a_room_that_is_closed_meanwhile_is_no_failure() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["b"].manner.never_warms = True
        director = await fleet.director()
        operation = await ordered(director, "math", B)
        record = fleet.hall.rooms[RoomId("math")]
        await director.owners.release(
            record.room, node=record.owner, incarnation=record.incarnation, epoch=record.epoch
        )
        ended = await fleet.ended(operation.id)
        assert (ended.state, ended.plan.moves[0].state) == (OperationState.DONE, MoveState.CANCELLED)
        assert director.moves == {"closed": 1}


@in_virtual_time
async def test_what_no_longer_fits_is_not_asked_for() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        for room in ("r1", "r2", "r3"):
            await fleet.nodes["a"].open(room)
        director = await fleet.director()
        chosen = [(record_of(director, room), to, "planned") for room, to in (("r1", B), ("r2", C), ("r3", C))]
        plan = director.planner.chosen(chosen, Budget(), bound=1.25)
        await fleet.ended((await ordered(director, "r1", C)).id)
        await director.orders.put(Cordon(C))
        await fleet.until(lambda: director.view.state_of(C) == "cordoned")
        await director.owners.ask_move(
            record_of(director, "r3"), to=B, incarnation=fleet.nodes["b"].lease.incarnation, why="else"
        )
        fleet.nodes["a"].manner.never_hands_over = True
        started = await director.desk.start(OperationKind.REBALANCE, "", plan, budget=Budget())
        ended = await fleet.ended(started.id)
        problems = {move.room: move.problem or "" for move in ended.plan.moves}
        assert "c owns the room" in problems[RoomId("r1")]
        assert "c is cordoned" in problems[RoomId("r2")]
        assert ended.state is OperationState.FAILED
        assert ended.moved == 0


@in_virtual_time
async def test_an_exact_move_does_not_take_another_target_for_its_own() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["b"].manner.never_warms = True
        director = await fleet.director()
        await director.owners.ask_move(
            record_of(director, "math"), to=B, incarnation=fleet.nodes["b"].lease.incarnation, why="else"
        )
        await fleet.until(lambda: record_of(director, "math").target == "b")
        ended = await fleet.ended((await ordered(director, "math", C)).id)
        assert ended.plan.moves[0].problem == "the room is being moved to b already"


@in_virtual_time
async def test_a_target_that_is_gone_is_not_waited_for() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        for room in ("r1", "r2"):
            await fleet.nodes["a"].open(room)
        director = await fleet.director()
        r1 = director.planner.move(record_of(director, "r1"), B)
        await fleet.nodes["b"].release()
        unheard = await director.desk.start(OperationKind.MOVE, "r1", r1, budget=Budget())
        ended = await fleet.ended(unheard.id, within=5)
        assert "b holds no lease" in (ended.plan.moves[0].problem or "")


@in_virtual_time
async def test_an_owner_that_dies_before_the_hand_over_ends_the_move() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["b"].manner.never_warms = True
        director = await fleet.director()
        operation = await ordered(director, "math", B)
        await asyncio.sleep(0.2)
        await fleet.nodes["a"].release()
        ended = await fleet.ended(operation.id, within=5)
        assert ended.state is OperationState.FAILED
        assert "a died" in (ended.plan.moves[0].problem or "")
        await fleet.until(lambda: fleet.owner_of("math") in ("b", "c"))


@in_virtual_time
async def test_once_it_is_cancelled_no_further_move_is_asked_for() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        rooms = [f"r{i}" for i in range(8)]
        for room in rooms:
            await fleet.nodes["a"].open(room, members=10)
        fleet.nodes["a"].manner.hands_over_in = 1.0
        director, other = await fleet.director(), await fleet.director("director-2")
        operation = await rebalanced(director, **dict.fromkeys(rooms, B))
        await fleet.until(lambda: len(fleet.rooms_of("b")) == 2)
        await fleet.until(lambda: record_of(director, "r3").target is not None)

        assert await other.desk.cancel(operation.id), "by another director's word, through Redis"
        ended = await fleet.ended(operation.id)

        assert ended.state is OperationState.CANCELLED
        states = [move.state for move in ended.plan.moves]
        assert states[:4] == [MoveState.DONE] * 4, "those that were under way are waited for"
        assert states[-2:] == [MoveState.CANCELLED] * 2
        assert len(fleet.rooms_of("b")) == states.count(MoveState.DONE)
        assert not await other.desk.cancel(operation.id)


@in_virtual_time
async def test_a_cancellation_here_is_heard_at_once() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        for room in ("r1", "r2", "r3"):
            await fleet.nodes["a"].open(room, members=400)
        director = await fleet.director()
        operation = await rebalanced(director, r1=B, r2=B, r3=B)
        await fleet.until(lambda: fleet.owner_of("r1") == "b")
        assert await director.desk.cancel(operation.id)
        ended = await fleet.ended(operation.id, within=0.5)
        assert fleet.rooms_of("b") == {"r1"}
        assert ended.is_cancelling


@in_virtual_time
async def test_an_operation_outlives_a_silence_of_redis() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        for room in ("r1", "r2", "r3"):
            await fleet.nodes["a"].open(room)
        director = await fleet.director()
        operation = await rebalanced(director, r1=B, r2=B, r3=B)
        await fleet.until(lambda: {"r1", "r2"} <= fleet.rooms_of("b"))
        fleet.hall.is_silent = True
        await asyncio.sleep(3)
        fleet.hall.is_silent = False
        ended = await fleet.ended(operation.id)
        assert ended.state is OperationState.DONE
        assert fleet.rooms_of("b") == {"r1", "r2", "r3"}


@in_virtual_time
async def test_where_redis_stays_silent_a_move_fails_and_its_end_is_told_later() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        director = await fleet.director()
        operation = await ordered(director, "math", B)
        fleet.hall.is_silent = True
        await asyncio.sleep(MOVE_WITHIN + 5)
        assert director.moves == {"failed": 1}
        fleet.hall.is_silent = False
        ended = await fleet.ended(operation.id, within=1)
        assert ended.state is OperationState.FAILED
        assert "Redis does not answer" in (ended.plan.moves[0].problem or "")


@in_virtual_time
async def test_it_is_heard_of_while_it_waits() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["b"].manner.never_warms = True
        director = await fleet.director()
        operation = await ordered(director, "math", B)
        for _ in range(3):
            await asyncio.sleep(TELL_EVERY + 0.3)
            told = await director.operations.operation(operation.id)
            assert told is not None
            age_ms = fleet.hall.server_at_ms - told.heard_at_ms
            assert age_ms <= (TELL_EVERY + 0.3) * 1000
        await fleet.ended(operation.id)


@in_virtual_time
async def test_a_director_that_stops_tells_that_it_has_left_its_operations() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        director = await fleet.director()
        operation = await ordered(director, "math", B)
        await asyncio.sleep(0.01)
        await director.stop()
        told = fleet.told(operation.id)
        assert told.state is OperationState.INTERRUPTED
        assert told.ended_at_ms is not None
        await asyncio.sleep(1)
        assert fleet.owner_of("math") == "b", "what was asked for goes on without it"


@in_virtual_time
async def test_a_director_that_dies_is_known_to_have_left_its_operations_after_ten_seconds() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["b"].manner.never_warms = True
        director, other = await fleet.director(), await fleet.director("director-2")
        operation = await ordered(director, "math", B)
        await asyncio.sleep(0.3)
        await director.crash(fleet.hall)
        told = await other.operations.operation(operation.id)
        assert told is not None
        assert told.state is OperationState.RUNNING
        await asyncio.sleep(11)
        told = await other.operations.operation(operation.id)
        assert told is not None
        assert told.state is OperationState.INTERRUPTED


@in_virtual_time
async def test_what_the_director_has_not_heard_of_yet_it_learns_by_asking() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        for room in ("closed", "gone", "orphaned"):
            await fleet.nodes["a"].open(room)
        director = await fleet.director()
        fleet.hall.is_mute = True
        hall = director.owners
        closed, gone = record_of(director, "closed"), record_of(director, "gone")
        await hall.release(closed.room, node=closed.owner, incarnation=closed.incarnation, epoch=closed.epoch)
        asked = await hall.ask_move(gone, to=C, incarnation=fleet.nodes["c"].lease.incarnation, why="else")
        assert isinstance(asked, Asked)
        await hall.hand_over(asked.record)
        await fleet.nodes["b"].release()

        # nothing between these waits for longer than the feed needs to find out by itself
        ended = await fleet.ended((await rebalanced(director, closed=B, gone=B, orphaned=B)).id, within=5)

        found = {move.room: (move.state, move.problem or "") for move in ended.plan.moves}
        assert found[RoomId("closed")][0] is MoveState.CANCELLED
        assert "c owns the room" in found[RoomId("gone")][1]
        assert "b holds no lease" in found[RoomId("orphaned")][1]
        fleet.hall.is_mute = False


@in_virtual_time
async def test_a_move_that_cannot_be_called_off_says_so() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        fleet.nodes["b"].manner.never_warms = True
        director = await fleet.director()
        operation = await ordered(director, "math", B)
        await asyncio.sleep(MOVE_WITHIN - 1)
        fleet.hall.is_silent = True
        await asyncio.sleep(2)
        fleet.hall.is_silent = False
        ended = await fleet.ended(operation.id)
        assert "Redis does not answer" in (ended.plan.moves[0].problem or "")


@in_virtual_time
async def test_nothing_is_moved_off_a_node_that_is_dead() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await fleet.nodes["a"].open("math")
        director = await fleet.director()
        plan = director.planner.move(record_of(director, "math"), B)
        director.view.bury(A, fleet.nodes["a"].lease.incarnation, now=asyncio.get_running_loop().time())
        started = await director.desk.start(OperationKind.MOVE, "math", plan, budget=Budget())
        ended = await fleet.ended(started.id)
        assert ended.plan.moves[0].problem == "a is dead"
