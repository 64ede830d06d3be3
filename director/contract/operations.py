"""Operations: moves that were ordered together (a move, a drain, a rebalancing), and how far they have come.

The director that runs an operation publishes it whole at each change; every director can show it.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from director.contract.ids import NodeName, RoomId

INTERRUPTED_AFTER = 10.0
KEPT_FOR = 86_400.0
MAX_OPERATIONS = 200


class OperationKind(StrEnum):
    MOVE = "move"
    DRAIN = "drain"
    REBALANCE = "rebalance"


class OperationState(StrEnum):
    """`interrupted`: the director that ran it has ended; what was moved by then stays so."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_over(self) -> bool:
        return self is not OperationState.RUNNING


class MoveState(StrEnum):
    PLANNED = "planned"
    MOVING = "moving"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PlannedMove(msgspec.Struct, frozen=True):
    """One room's move: why, what it should take in seconds, and how far it is. `problem` says what it failed by."""

    room: RoomId
    source: NodeName
    target: NodeName
    why: str
    members: int
    seconds: float
    state: MoveState = MoveState.PLANNED
    took_ms: int | None = None
    problem: str | None = None


class NodeBeforeAfter(msgspec.Struct, frozen=True):
    """A node's load before and after; `limit` is what several rooms may count for there, null for one that is given
    nothing."""

    node: NodeName
    before: int
    after: int
    limit: int | None
    is_hot: bool = False


class OperationPlan(msgspec.Struct, frozen=True):
    """What would be moved, and what it should take in `seconds`; `stranded` rooms have nowhere to go. A room that moves
    should answer nobody's message for `expected_pause_ms`."""

    moves: tuple[PlannedMove, ...]
    nodes: tuple[NodeBeforeAfter, ...]
    members: int
    seconds: float
    stranded: tuple[RoomId, ...] = ()
    expected_pause_ms: int = 100


class Operation(msgspec.Struct, frozen=True):
    """An operation. Instants are Unix milliseconds by Redis' clock; `subject` is a node, a room or empty. `heard_at_ms`
    is when its director last told of it: one that runs and was not heard of for 10 s is interrupted."""

    id: str
    kind: OperationKind
    subject: str
    state: OperationState
    plan: OperationPlan
    started_at_ms: int
    heard_at_ms: int
    ended_at_ms: int | None = None
    is_cancelling: bool = False
    problem: str | None = None

    @property
    def moved(self) -> int:
        """How many rooms have been moved."""
        return sum(move.state is MoveState.DONE for move in self.plan.moves)

    def as_heard(self, heard_at_ms: int, *, now_ms: int, is_unwanted: bool) -> "Operation":
        """The operation as it was told last at `heard_at_ms`, as it looks now: interrupted where it runs and was not
        heard of for 10 s; being cancelled where it runs and somebody wants that."""
        if self.state.is_over:
            return msgspec.structs.replace(self, heard_at_ms=heard_at_ms)
        is_cancelling = self.is_cancelling or is_unwanted
        heard = msgspec.structs.replace(self, heard_at_ms=heard_at_ms, is_cancelling=is_cancelling)
        if now_ms - heard_at_ms <= INTERRUPTED_AFTER * 1000:
            return heard
        return msgspec.structs.replace(heard, state=OperationState.INTERRUPTED, ended_at_ms=heard_at_ms)


class Operations(Protocol):
    """What is told of operations. Every call raises ControlPathUnavailable when Redis does not answer."""

    async def tell(self, operation: Operation) -> bool:
        """Publish the operation as it is now; kept for a day, with the 200 that were told of last. `heard_at_ms` is
        written down by Redis' clock, whatever it says. Answers whether somebody wants it cancelled."""
        ...

    async def operation(self, name: str) -> Operation | None:
        """The operation as it was told last; one that was not heard of for 10 s as `interrupted`."""
        ...

    async def recent(self, limit: int = 50) -> Sequence[Operation]:
        """The latest operations, the newest first."""
        ...

    async def cancel(self, name: str) -> bool:
        """Ask whoever runs it to stop after the moves that are under way; answers whether it runs."""
        ...
