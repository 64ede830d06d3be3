"""director/drains: which nodes are emptied, by whom, and what becomes of it."""

import asyncio

import pytest

from director.contract.ids import NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.operations import MoveState, Operation, OperationKind, OperationState
from director.contract.orders import Cordon, Drain, Pin
from director.core.waves import Budget
from director.drains import SIGTERM_WITHIN, budget_within
from tests.support.moving_nodes import SimulatedDirector, SimulatedFleet
from tests.support.virtual_time import in_virtual_time

A, B = NodeName("a"), NodeName("b")


async def order_drain(director: SimulatedDirector, node: NodeName, **terms: float) -> str:
    """Order a drain as the admin interface does: told first, then ordered, and left to the steward."""
    plan = await director.planner.drain(node, budget=Budget())
    operation = director.desk.new_operation(OperationKind.DRAIN, node, plan)
    await director.operations.tell(operation)
    await director.orders.put(Drain(node, operation.id, **terms))  # type: ignore[arg-type]
    return operation.id


async def filled(fleet: SimulatedFleet, node: str, rooms: int, *, members: int = 10) -> None:
    for i in range(rooms):
        await fleet.nodes[node].open(f"{node}-{i}", members=members)


def states_of(operation: Operation) -> set[MoveState]:
    return {move.state for move in operation.plan.moves}


@in_virtual_time
async def test_a_drain_by_order_empties_the_node_and_leaves_it_without_rooms() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        await filled(fleet, "a", 20)
        director = await fleet.director()
        name = await order_drain(director, A)
        ended = await fleet.ended(name)

        assert (ended.kind, ended.subject, ended.state) == (OperationKind.DRAIN, "a", OperationState.DONE)
        assert ended.moved == 20
        assert fleet.rooms_of("a") == set()
        assert len(fleet.rooms_of("b")) == len(fleet.rooms_of("c")) == 10
        assert {record.why for record in fleet.hall.rooms.values()} == {"draining"}
        await asyncio.sleep(5)
        assert director.view.state_of(A) is NodeState.DRAINING
        assert director.ended == [(OperationKind.DRAIN, OperationState.DONE)], "it is over, and not begun again"
        await fleet.until(lambda: director.view.state_of(A) is NodeState.CORDONED, within=10)
        assert fleet.hall.orders == {"cordon:a": Cordon(A)}
        await director.orders.withdraw(Cordon(A).key)
        await fleet.until(lambda: director.view.state_of(A) is NodeState.SERVING, within=1)


@in_virtual_time
async def test_a_drain_is_run_by_the_steward_whoever_took_the_order() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 4)
        steward, other = await fleet.director(), await fleet.director("director-2")
        await fleet.until(lambda: steward.steward.is_steward)
        name = await order_drain(other, A)
        await fleet.until(lambda: name in steward.desk.running, within=2)
        assert not other.desk.running
        assert (await fleet.ended(name)).state is OperationState.DONE


@in_virtual_time
async def test_a_node_that_says_that_it_wants_to_go_is_emptied() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 6)
        director = await fleet.director()
        await fleet.nodes["a"].terminate()
        ended = await fleet.ended("drain-a-i1", within=SIGTERM_WITHIN)
        assert (ended.state, ended.moved) == (OperationState.DONE, 6)
        assert fleet.rooms_of("a") == set()
        await fleet.nodes["a"].release()
        await asyncio.sleep(5)
        assert director.ended == [(OperationKind.DRAIN, OperationState.DONE)]


@in_virtual_time
async def test_one_node_is_drained_by_one_operation_also_by_order_and_its_own_word() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 12)
        director = await fleet.director()
        name = await order_drain(director, A)
        await fleet.until(lambda: name in director.desk.running)
        await fleet.nodes["a"].terminate()
        await fleet.ended(name)
        await asyncio.sleep(3)
        assert list(fleet.hall.operations) == [name]


@in_virtual_time
async def test_a_drain_whose_director_was_stopped_is_taken_up_at_once_by_the_next_steward() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 12)
        one, two = await fleet.director(), await fleet.director("director-2")
        name = await order_drain(one, A)
        await fleet.until(lambda: len(fleet.rooms_of("b")) >= 4)
        started_at_ms = fleet.told(name).started_at_ms
        await one.stop()
        assert fleet.told(name).state is OperationState.INTERRUPTED
        await fleet.until(lambda: name in two.desk.running, within=3)
        ended = await fleet.ended(name)
        assert (ended.state, ended.moved, ended.started_at_ms) == (OperationState.DONE, 12, started_at_ms)
        assert ended.problem is None
        assert fleet.rooms_of("a") == set()


@in_virtual_time
async def test_a_drain_whose_director_died_is_taken_up_again() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 12)
        one, two = await fleet.director(), await fleet.director("director-2")
        name = await order_drain(one, A)
        await fleet.until(lambda: len(fleet.rooms_of("b")) >= 4)
        await one.crash(fleet.hall)
        await fleet.until(lambda: name in two.desk.running, within=20)
        ended = await fleet.ended(name)
        assert (ended.state, ended.moved) == (OperationState.DONE, 12)


@in_virtual_time
async def test_a_drain_is_not_run_twice_though_redis_was_silent_and_another_is_steward_then() -> None:
    """Each move would be asked for once, but the budget would be two."""
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 40)
        one, two = await fleet.director(), await fleet.director("director-2")
        name = await order_drain(one, A)
        await fleet.until(lambda: len(fleet.rooms_of("b")) >= 4)
        other = two if name in one.desk.running else one
        fleet.hall.is_silent = True
        await asyncio.sleep(12)
        for node in fleet.nodes.values():
            fleet.hall.keep(node.lease, expire=60.0)
        fleet.hall.is_silent = False
        await other.drains.step()
        await asyncio.sleep(0.5)
        assert name not in other.desk.running


@in_virtual_time
async def test_a_drain_that_is_taken_up_follows_the_moves_that_are_under_way() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        await filled(fleet, "a", 1)
        fleet.nodes["a"].manner.hands_over_in = 6.0
        director = await fleet.director()
        await director.owners.ask_move(
            fleet.hall.rooms[RoomId("a-0")], to=NodeName("c"), incarnation=fleet.nodes["c"].lease.incarnation, why="x"
        )
        await fleet.nodes["b"].open("b-0", members=0)
        await asyncio.sleep(0.1)
        await fleet.nodes["c"].open("c-0", members=900)  # so that a new plan would say b
        ended = await fleet.ended(await order_drain(director, A))
        assert ended.state is OperationState.DONE
        assert fleet.owner_of("a-0") == "c"


@in_virtual_time
async def test_a_room_that_comes_to_a_draining_node_after_all_is_moved_too() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 2)
        director = await fleet.director()
        name = await order_drain(director, A)
        await fleet.ended(name)
        await fleet.nodes["a"].open("late", members=5)
        await fleet.until(lambda: fleet.owner_of("late") == "b", within=10)
        ended = await fleet.ended(name)
        assert ended.state is OperationState.DONE
        assert ended.moved == 3


@in_virtual_time
async def test_an_order_that_is_taken_back_cancels_its_drain() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 40, members=50)
        director = await fleet.director()
        name = await order_drain(director, A)
        await fleet.until(lambda: len(fleet.rooms_of("b")) >= 4)
        await director.orders.withdraw(Drain(A, "").key)
        ended = await fleet.ended(name, within=5)
        assert ended.state is OperationState.CANCELLED
        assert states_of(ended) == {MoveState.DONE, MoveState.CANCELLED}
        left = len(fleet.rooms_of("a"))
        await asyncio.sleep(10)
        assert len(fleet.rooms_of("a")) == left > 0


@in_virtual_time
async def test_a_drain_that_was_cancelled_is_not_begun_again_without_another_order() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 40, members=50)
        director = await fleet.director()
        name = await order_drain(director, A)
        await fleet.until(lambda: len(fleet.rooms_of("b")) >= 4)
        await director.desk.cancel(name)
        await fleet.ended(name)
        left = len(fleet.rooms_of("a"))
        await asyncio.sleep(20)
        assert len(fleet.rooms_of("a")) == left > 0
        again = await order_drain(director, A)
        assert (await fleet.ended(again)).state is OperationState.DONE
        assert fleet.rooms_of("a") == set()


async def ended_and_forgotten(state: OperationState) -> None:
    """A drain ends so; its record is gone by the time of the next steward."""
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 40, members=50)
        one, two = await fleet.director(), await fleet.director("director-2")
        await fleet.until(lambda: one.steward.is_steward)
        fleet.nodes["a"].manner.gives_up = state is OperationState.FAILED
        name = await order_drain(one, A)
        if state is OperationState.CANCELLED:
            await fleet.until(lambda: len(fleet.rooms_of("b")) >= 4)
            await one.desk.cancel(name)
        assert (await fleet.ended(name)).state is state
        await asyncio.sleep(15)
        assert fleet.hall.orders == {"cordon:a": Cordon(A)}
        fleet.nodes["a"].manner.gives_up = False
        await fleet.nodes["a"].open("later", members=5)
        left = fleet.rooms_of("a")
        fleet.hall.operations.clear()
        await one.stop()
        await fleet.until(lambda: two.steward.is_steward, within=10)
        await asyncio.sleep(30)
        assert fleet.rooms_of("a") == left
        assert fleet.hall.operations == {}
        assert two.view.state_of(A) is NodeState.CORDONED


@in_virtual_time
async def test_a_drain_that_is_done_never_begins_again_by_itself() -> None:
    await ended_and_forgotten(OperationState.DONE)


@in_virtual_time
async def test_a_drain_that_failed_never_begins_again_by_itself() -> None:
    await ended_and_forgotten(OperationState.FAILED)


@in_virtual_time
async def test_a_drain_that_was_cancelled_never_begins_again_by_itself() -> None:
    await ended_and_forgotten(OperationState.CANCELLED)


@in_virtual_time
async def test_another_order_to_drain_is_not_taken_for_the_one_that_has_ended() -> None:
    """The steward may learn of the second order later than of the first one's end."""
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 40, members=50)
        director = await fleet.director()
        name = await order_drain(director, A)
        await fleet.until(lambda: name in director.desk.running)
        again = Drain(A, "drain-again")
        fleet.hall.orders[again.key] = again  # unheard of by the view
        await director.desk.cancel(name)
        await fleet.ended(name)
        await asyncio.sleep(3)
        assert fleet.hall.orders == {again.key: again}


@in_virtual_time
async def test_a_drain_that_is_taken_up_has_the_time_that_is_left() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 40, members=50)
        one, two = await fleet.director(), await fleet.director("director-2")
        await fleet.until(lambda: one.steward.is_steward)
        name = await order_drain(one, A, within=30.0, members_per_second=50.0)
        await fleet.until(lambda: len(fleet.rooms_of("b")) >= 15)
        started_at_ms = fleet.told(name).started_at_ms
        await one.stop()
        await fleet.until(lambda: name in two.desk.running, within=3)
        ended = await fleet.ended(name)
        assert (ended.state, "within 30 s" in (ended.problem or "")) == (OperationState.FAILED, True)
        assert ended.ended_at_ms is not None
        assert 30_000 <= ended.ended_at_ms - started_at_ms < 36_000


@in_virtual_time
async def test_a_node_that_wants_to_go_is_emptied_though_a_drain_by_order_was_cancelled() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 40, members=50)
        director = await fleet.director()
        name = await order_drain(director, A)
        await fleet.until(lambda: len(fleet.rooms_of("b")) >= 4)
        await director.desk.cancel(name)
        await fleet.ended(name)
        await asyncio.sleep(1)
        await fleet.nodes["a"].terminate()
        assert (await fleet.ended("drain-a-i1")).state is OperationState.DONE
        assert fleet.rooms_of("a") == set()


@in_virtual_time
async def test_what_fails_is_planned_once_more_and_then_given_up_with_the_reason() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 2)
        fleet.nodes["a"].manner.gives_up = True
        director = await fleet.director()
        ended = await fleet.ended(await order_drain(director, A))
        assert ended.state is OperationState.FAILED
        assert ended.problem == "2 rooms were not moved"
        assert director.moves == {"failed": 4}


@in_virtual_time
async def test_a_target_that_dies_is_planned_around() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        await filled(fleet, "a", 12)
        fleet.nodes["b"].manner.never_warms = True
        director = await fleet.director()
        name = await order_drain(director, A)
        await asyncio.sleep(1)
        await fleet.nodes["b"].release()
        ended = await fleet.ended(name)
        assert ended.state is OperationState.DONE
        assert len(fleet.rooms_of("c")) == 12


@in_virtual_time
async def test_without_another_node_the_rooms_stay_and_the_drain_says_so() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 2)
        director = await fleet.director()
        await director.orders.put(Cordon(B))
        await fleet.until(lambda: director.view.state_of(B) is NodeState.CORDONED)
        ended = await fleet.ended(await order_drain(director, A))
        assert ended.state is OperationState.FAILED
        assert "no other node can be given rooms" in (ended.problem or "")
        assert set(ended.plan.stranded) == {"a-0", "a-1"}
        assert fleet.rooms_of("a") == {"a-0", "a-1"}


@in_virtual_time
async def test_a_drain_has_a_time_after_which_no_move_is_asked_for() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 20, members=100)
        director = await fleet.director()
        name = await order_drain(director, A, within=5.0, members_per_second=100.0)
        ended = await fleet.ended(name, within=8)
        assert ended.state is OperationState.FAILED
        assert "within 5 s" in (ended.problem or "")
        assert 0 < len(fleet.rooms_of("b")) < 20


@in_virtual_time
async def test_a_node_that_ends_during_its_drain_ends_the_drain() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 20, members=100)
        fleet.nodes["a"].manner.hands_over_in = 0.5
        await fleet.director()
        await fleet.nodes["a"].terminate()
        await fleet.until(lambda: len(fleet.rooms_of("b")) >= 4)
        await fleet.nodes["a"].release()
        ended = await fleet.ended("drain-a-i1", within=15)
        assert ended.state.is_over
        await fleet.until(lambda: fleet.rooms_of("a") == set())


@in_virtual_time
async def test_a_pinned_room_leaves_its_draining_node_too() -> None:
    async with SimulatedFleet("a", "b") as fleet:
        await filled(fleet, "a", 1)
        director = await fleet.director()
        await director.orders.put(Pin(RoomId("a-0"), A))
        assert (await fleet.ended(await order_drain(director, A))).state is OperationState.DONE
        assert fleet.owner_of("a-0") == "b"


@in_virtual_time
async def test_a_drain_keeps_to_its_budget() -> None:
    async with SimulatedFleet("a", "b", "c") as fleet:
        await filled(fleet, "a", 10, members=100)
        director = await fleet.director()
        most = 0
        name = await order_drain(director, A, rooms_at_a_time=2, members_per_second=250.0)
        began_at = asyncio.get_running_loop().time()
        while name not in fleet.hall.operations or not fleet.told(name).state.is_over:
            most = max(most, sum(record.target is not None for record in fleet.hall.rooms.values()))
            await asyncio.sleep(0.01)
        assert most == 2
        assert asyncio.get_running_loop().time() - began_at >= 4 * 0.8, "200 members at 250 a second, five times"


@pytest.mark.parametrize(("rooms", "members"), [(0, 0), (50, 2_000), (300, 20_000), (2_000, 0)])
def test_what_a_node_has_can_be_moved_before_its_patience_ends(rooms: int, members: int) -> None:
    budget = budget_within(SIGTERM_WITHIN, rooms=rooms, members=members)
    waves = rooms / budget.max_rooms
    assert waves * 0.6 < 0.7 * SIGTERM_WITHIN
    assert members / budget.max_members_per_second < 0.7 * SIGTERM_WITHIN
    assert budget.max_rooms >= Budget().max_rooms
