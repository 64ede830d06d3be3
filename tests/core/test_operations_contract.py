"""director/contract/operations: how an operation looks that was told of a while ago."""

import msgspec
import pytest

from director.contract.ids import NodeName, RoomId
from director.contract.operations import (
    MoveState,
    Operation,
    OperationKind,
    OperationPlan,
    OperationState,
    PlannedMove,
)

HEARD_MS = 1_790_000_000_000


def operation(state: OperationState = OperationState.RUNNING) -> Operation:
    states = [MoveState.DONE, MoveState.MOVING, MoveState.DONE, MoveState.FAILED]
    moves = tuple(
        PlannedMove(RoomId(f"r{i}"), NodeName("a"), NodeName("b"), "balance", 3, 0.5, state)
        for i, state in enumerate(states)
    )
    return Operation("op", OperationKind.REBALANCE, "", state, OperationPlan(moves, (), 12, 2.0), HEARD_MS - 500, 7)


def test_an_operation_counts_the_rooms_that_have_been_moved() -> None:
    assert operation().moved == 2


@pytest.mark.parametrize("silent_ms", [0, 10_000])
def test_one_that_was_just_heard_of_runs(silent_ms: int) -> None:
    heard = operation().as_heard(HEARD_MS, now_ms=HEARD_MS + silent_ms, is_unwanted=False)
    assert heard == msgspec.structs.replace(operation(), heard_at_ms=HEARD_MS)


def test_one_that_was_not_heard_of_for_ten_seconds_is_interrupted_when_it_fell_silent() -> None:
    heard = operation().as_heard(HEARD_MS, now_ms=HEARD_MS + 10_001, is_unwanted=False)
    assert (heard.state, heard.ended_at_ms, heard.heard_at_ms) == (OperationState.INTERRUPTED, HEARD_MS, HEARD_MS)


def test_one_that_somebody_wants_cancelled_is_being_cancelled_while_it_runs() -> None:
    assert operation().as_heard(HEARD_MS, now_ms=HEARD_MS, is_unwanted=True).is_cancelling
    told = msgspec.structs.replace(operation(), is_cancelling=True)
    assert told.as_heard(HEARD_MS, now_ms=HEARD_MS, is_unwanted=False).is_cancelling


@pytest.mark.parametrize("state", [state for state in OperationState if state is not OperationState.RUNNING])
def test_one_that_is_over_stays_as_it_was_told(state: OperationState) -> None:
    assert state.is_over
    over = operation(state)
    heard = over.as_heard(HEARD_MS, now_ms=HEARD_MS + 99_999, is_unwanted=True)
    assert heard == msgspec.structs.replace(over, heard_at_ms=HEARD_MS)
