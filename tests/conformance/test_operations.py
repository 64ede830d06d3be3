"""What Operations promises, over memory, Valkey and Redis 7.0 alike."""

from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from director.contract.ids import NodeName, RoomId
from director.contract.operations import (
    INTERRUPTED_AFTER,
    KEPT_FOR,
    MAX_OPERATIONS,
    MoveState,
    NodeBeforeAfter,
    Operation,
    OperationKind,
    OperationPlan,
    OperationState,
    PlannedMove,
)
from director.operations_redis import RedisOperations
from director.redis_client import OPERATIONS, operation_key
from tests.support.halls import KINDS, Hall, hall_on, server_of
from tests.support.valkey_server import ValkeyServer

N1, N2 = NodeName("node-1"), NodeName("node-2")
OVER = [OperationState.DONE, OperationState.CANCELLED, OperationState.FAILED]


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer | None]:
    with server_of(request.param) as server:
        yield server


@pytest.fixture
async def hall(server: ValkeyServer | None) -> AsyncIterator[Hall]:
    async with hall_on(server) as hall:
        yield hall


def operation(name: str = "op-1", *, started_at_ms: int = 5, state: MoveState = MoveState.PLANNED) -> Operation:
    moves = tuple(
        PlannedMove(RoomId(f"room-{i}"), N1, N2, "draining", members=i, seconds=0.5 + i, state=state) for i in range(3)
    )
    nodes = (NodeBeforeAfter(N1, 90, 0, None), NodeBeforeAfter(N2, 10, 100, 125, is_hot=True))
    plan = OperationPlan(moves, nodes, members=3, seconds=4.5, stranded=(RoomId("art"),))
    return Operation(name, OperationKind.DRAIN, "node-1", OperationState.RUNNING, plan, started_at_ms, 0)


def unheard(told: Operation) -> Operation:
    return msgspec.structs.replace(told, heard_at_ms=0)


async def read(hall: Hall, name: str = "op-1") -> Operation:
    found = await hall.operations.operation(name)
    assert found is not None
    return found


async def test_an_operation_is_as_it_was_told_last(hall: Hall) -> None:
    assert await hall.operations.operation("op-1") is None
    assert not await hall.operations.tell(operation())
    first = await read(hall)
    later = msgspec.structs.replace(operation(state=MoveState.DONE), heard_at_ms=99)

    assert not await hall.operations.tell(later)

    second = await read(hall)
    assert (unheard(first), unheard(second)) == (operation(), operation(state=MoveState.DONE))
    assert 1_600_000_000_000 < first.heard_at_ms <= second.heard_at_ms
    assert (first.moved, second.moved) == (0, 3)


async def test_the_latest_operations_come_first(hall: Hall) -> None:
    for i, started_at_ms in enumerate((10, 30, 20)):
        await hall.operations.tell(operation(f"op-{i}", started_at_ms=started_at_ms))

    assert [found.id for found in await hall.operations.recent()] == ["op-1", "op-2", "op-0"]
    assert len(await hall.operations.recent(2)) == 2
    assert list(await hall.operations.recent(0)) == []


async def test_one_that_was_not_heard_of_for_a_while_is_interrupted(hall: Hall) -> None:
    await hall.operations.tell(operation())
    await hall.leave_unheard("op-1", INTERRUPTED_AFTER - 5)
    running = await read(hall)
    await hall.leave_unheard("op-1", 6)
    interrupted = await read(hall)

    assert running.state is OperationState.RUNNING
    assert interrupted.state is OperationState.INTERRUPTED
    assert interrupted.state.is_over
    assert interrupted.ended_at_ms == interrupted.heard_at_ms == running.heard_at_ms - 6_000
    assert await hall.operations.recent() == [interrupted]
    assert not await hall.operations.cancel("op-1"), "nobody runs it"

    assert not await hall.operations.tell(operation())
    assert (await read(hall)).state is OperationState.RUNNING, "another director goes on with it"


@pytest.mark.parametrize("state", OVER)
async def test_one_that_is_over_stays_as_it_ended(hall: Hall, state: OperationState) -> None:
    ended = msgspec.structs.replace(operation(), state=state, ended_at_ms=7, problem="why")
    await hall.operations.tell(ended)
    await hall.leave_unheard("op-1", 3_600)

    assert unheard(await read(hall)) == unheard(ended)
    assert not await hall.operations.cancel("op-1")


async def test_whoever_runs_it_learns_that_it_is_to_be_cancelled(hall: Hall) -> None:
    await hall.operations.tell(operation())
    await hall.operations.tell(operation("op-2"))

    assert await hall.operations.cancel("op-1")
    assert await hall.operations.cancel("op-1")
    assert not await hall.operations.cancel("op-9")
    assert (await read(hall)).is_cancelling
    assert not (await read(hall, "op-2")).is_cancelling

    assert await hall.operations.tell(operation())
    assert await hall.operations.tell(operation()), "as often as it asks"
    assert not await hall.operations.tell(operation("op-2"))
    cancelled = msgspec.structs.replace(operation(), state=OperationState.CANCELLED, ended_at_ms=8)
    assert not await hall.operations.tell(cancelled)
    assert unheard(await read(hall)) == cancelled


async def test_an_operation_that_begins_anew_is_not_cancelled_by_what_was_said_of_the_former(hall: Hall) -> None:
    await hall.operations.tell(operation())
    await hall.operations.cancel("op-1")
    await hall.operations.tell(msgspec.structs.replace(operation(), state=OperationState.CANCELLED))

    assert not await hall.operations.tell(operation())
    assert not (await read(hall)).is_cancelling


async def test_no_more_operations_are_kept_than_so_many(hall: Hall) -> None:
    for i in range(MAX_OPERATIONS + 3):
        await hall.operations.tell(operation(f"op-{i}", started_at_ms=i))
        if isinstance(hall.operations, RedisOperations):
            # those of one millisecond are in the order of their names
            async with hall.operations._hall.asked() as redis:
                heard_at_ms = int(await redis.hget(operation_key(f"op-{i}"), "heard") or 0)
                await redis.zadd(OPERATIONS, {f"op-{i}": heard_at_ms - 10_000_000 + 1_000 * i})

    kept = await hall.operations.recent(1_000)

    assert [found.id for found in kept] == [f"op-{i}" for i in range(MAX_OPERATIONS + 2, 2, -1)]
    assert await hall.operations.operation("op-2") is None
    assert await hall.operations.operation("op-3") is not None


async def test_operations_are_kept_for_a_day(hall: Hall) -> None:
    await hall.operations.tell(operation())
    await hall.operations.tell(operation("op-2"))
    if isinstance(hall.operations, RedisOperations):
        async with hall.operations._hall.asked() as redis:
            assert KEPT_FOR - 60 < await redis.pttl(operation_key("op-1")) / 1000 <= KEPT_FOR
            assert KEPT_FOR - 60 < await redis.pttl(OPERATIONS) / 1000 <= KEPT_FOR
            await redis.delete(operation_key("op-1"))  # as when the day is over
            await redis.zadd(OPERATIONS, {"op-1": 1})
    if hall.memory is not None:
        await hall.leave_unheard("op-1", KEPT_FOR + 1)

    assert await hall.operations.operation("op-1") is None
    assert [found.id for found in await hall.operations.recent()] == ["op-2"]
    await hall.operations.tell(operation("op-3"))
    if isinstance(hall.operations, RedisOperations):
        async with hall.operations._hall.asked() as redis:
            assert await redis.zrange(OPERATIONS, 0, -1) == ["op-2", "op-3"]


async def test_one_that_cannot_be_read_is_as_if_it_were_not_there(hall: Hall) -> None:
    await hall.operations.tell(operation())
    await hall.operations.tell(operation("op-2"))
    if not isinstance(hall.operations, RedisOperations):
        pytest.skip("what is in memory is an operation")
    async with hall.operations._hall.asked() as redis:
        await redis.hset(operation_key("op-1"), "told", '{"id": "op-1", "kind": "of a newer director"}')

    assert await hall.operations.operation("op-1") is None
    assert [found.id for found in await hall.operations.recent()] == ["op-2"]


async def test_a_redis_that_lost_its_data_knows_of_no_operation(hall: Hall) -> None:
    await hall.operations.tell(operation())
    hall.wipe()

    assert await hall.operations.operation("op-1") is None
    assert list(await hall.operations.recent()) == []
    assert not await hall.operations.cancel("op-1")
    assert not await hall.operations.tell(operation())
    assert unheard(await read(hall)) == operation()
