"""A run of one operation: its moves in waves, within a budget, and what Redis is told of it meanwhile.

1. The moves of a wave are asked for side by side; the next wave begins when all are settled, and no sooner than the
   budget's pace says.
2. Every change is told, and every 2 s that it still runs; what could not be told is told with the next change.
3. Once it is cancelled, here or by a word in Redis, no further move is asked for; those under way are waited for.
4. A run that empties a node (`Emptying`) plans anew when a plan is through, until nothing is left to move. It fails
   after two plans in a row that moved nothing, or when its time is over.
5. A director that stops tells its runs as interrupted. What was asked for by then goes on without it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import RoomId
from director.contract.operations import (
    MoveState,
    Operation,
    OperationKind,
    OperationPlan,
    Operations,
    OperationState,
    PlannedMove,
)
from director.core.move_watch import Moved, NobodyThere, NotMoved, Outcome
from director.core.waves import Budget, Wave, waves_of
from director.mover import Mover

TELL_EVERY = 2.0
TELL_PAUSE = 0.2
TELL_AT_LAST_WITHIN = 0.5
TELL_THE_END_WITHIN = 30.0
MAX_IDLE_PLANS = 2
PLAN_AGAIN_AFTER = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Emptying:
    """For a run that goes on until nothing is left: how to plan what is left, and for how many seconds at most, of
    which so many were `spent` by the directors that ran it before."""

    plan: Callable[[], Awaitable[OperationPlan]]
    within: float
    spent: float = 0.0


@dataclass(frozen=True, slots=True)
class Means:
    """What all runs of a director use. `now_ms` is Unix time by Redis' clock; `on_move` is told of each move that was
    asked for, by `done`, `failed` or `closed`, and of its seconds; `on_end` of each operation that has ended."""

    mover: Mover
    operations: Operations
    monotonic: Callable[[], float]
    now_ms: Callable[[], int]
    on_move: Callable[[str, float], None] = lambda outcome, seconds: None
    on_end: Callable[[OperationKind, OperationState], None] = lambda kind, state: None


class OperationRun:
    """One operation here. `run` it once, in a task; `operation` is how far it is."""

    def __init__(self, operation: Operation, means: Means, *, budget: Budget, emptying: Emptying | None = None) -> None:
        self._begun = operation
        self._means = means
        self._budget = budget
        self._emptying = emptying
        self._moves: dict[RoomId, PlannedMove] = {move.room: move for move in operation.plan.moves}
        self._until = means.monotonic() + emptying.within - emptying.spent if emptying else float("inf")
        self._is_cancelled = asyncio.Event()
        self._has_changed = asyncio.Event()

    @property
    def operation(self) -> Operation:
        plan = replace(self._begun.plan, moves=tuple(self._moves.values()))
        return replace(self._begun, plan=plan, is_cancelling=self._is_cancelled.is_set())

    def cancel(self) -> None:
        """Ask for no further move."""
        self._is_cancelled.set()
        self._has_changed.set()

    async def run(self) -> Operation:
        """Run it to its end, which is told and answered. Outlives any outage of Redis."""
        try:
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(self._keep_telling())
                state, problem = await self._work()
                telling.cancel()
        except asyncio.CancelledError:
            await self._end(OperationState.INTERRUPTED, "its director was stopped", within=TELL_AT_LAST_WITHIN)
            raise
        await self._end(state, problem, within=TELL_THE_END_WITHIN)
        return self.operation

    # -- the work

    async def _work(self) -> tuple[OperationState, str | None]:
        idle = 0
        while True:
            moved_before = self._count(MoveState.DONE)
            await self._run_through()
            if self._is_cancelled.is_set():
                return OperationState.CANCELLED, None
            if self._emptying is None:
                failed = self._count(MoveState.FAILED)
                return (OperationState.FAILED, _not_moved(failed)) if failed else (OperationState.DONE, None)
            plan = await self._emptying.plan()
            left = len(plan.moves) + len(plan.stranded)
            if not left:
                failed = self._count(MoveState.FAILED)
                remark = f"{_not_moved(failed)}, and did not have to be any more" if failed else None
                return OperationState.DONE, remark
            if self._is_late:
                return OperationState.FAILED, f"{_not_moved(left)} within {self._emptying.within:.0f} s"
            idle = 0 if self._count(MoveState.DONE) > moved_before else idle + 1
            if idle >= MAX_IDLE_PLANS:
                no_node = "; no other node can be given rooms" if plan.stranded else ""
                return OperationState.FAILED, _not_moved(left) + no_node
            if idle:
                await self._pause(PLAN_AGAIN_AFTER)
            self._go_by(plan)

    async def _run_through(self) -> None:
        """Run the moves that are still planned; those that were not begun when it is over are cancelled."""
        waves = waves_of([move for move in self._moves.values() if move.state is MoveState.PLANNED], self._budget)
        for wave in waves:
            if self._is_cancelled.is_set() or self._is_late:
                break
            await self._run_wave(wave, is_last=wave is waves[-1])
        for move in list(self._moves.values()):
            if move.state is MoveState.PLANNED:
                self._note(replace(move, state=MoveState.CANCELLED))

    async def _run_wave(self, wave: Wave[PlannedMove], *, is_last: bool) -> None:
        began_at = self._means.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for move in wave.moves:
                tasks.create_task(self._run_move(move))
        if not is_last:
            await self._pause(began_at + wave.seconds - self._means.monotonic())

    async def _run_move(self, move: PlannedMove) -> None:
        began_at = self._means.monotonic()
        self._note(replace(move, state=MoveState.MOVING))
        outcome = await self._means.mover.move(move, anywhere=self._emptying is not None)
        seconds = self._means.monotonic() - began_at
        self._note(_settled(move, outcome, seconds))
        match outcome:
            case Moved():
                self._means.on_move("done", seconds)
            case NobodyThere():
                self._means.on_move("closed", seconds)
            case NotMoved(problem):
                self._means.on_move("failed", seconds)
                log.warning("move_failed", room=move.room, source=move.source, target=move.target, problem=problem)

    def _go_by(self, plan: OperationPlan) -> None:
        """Go on by another plan; what was done by the former ones stays on record."""
        done = {room: move for room, move in self._moves.items() if move.state is MoveState.DONE}
        self._moves = {**done, **{move.room: move for move in plan.moves}}
        self._begun = replace(self._begun, plan=replace(self._begun.plan, stranded=plan.stranded))
        self._has_changed.set()

    @property
    def _is_late(self) -> bool:
        return self._means.monotonic() >= self._until

    def _count(self, state: MoveState) -> int:
        return sum(move.state is state for move in self._moves.values())

    async def _pause(self, seconds: float) -> None:
        """Wait, but not for one that is cancelled."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_cancelled.wait()

    # -- what is told

    def _note(self, move: PlannedMove) -> None:
        self._moves[move.room] = move
        self._has_changed.set()

    async def _keep_telling(self) -> None:
        while True:
            self._has_changed.clear()
            await self._tell()
            with suppress(TimeoutError):
                async with asyncio.timeout(TELL_EVERY):
                    await self._has_changed.wait()
            # a wave changes many moves at once: they are told together
            await asyncio.sleep(TELL_PAUSE)

    async def _tell(self) -> bool:
        """Tell how far it is, and hear whether somebody wants it cancelled; answers whether Redis heard."""
        told = replace(self.operation, heard_at_ms=self._means.now_ms())
        try:
            wants_cancel = await self._means.operations.tell(told)
        except ControlPathUnavailable:
            return False
        if wants_cancel and not self._is_cancelled.is_set():
            self.cancel()
        return True

    async def _end(self, state: OperationState, problem: str | None, *, within: float) -> None:
        ended = replace(self._begun, state=state, problem=problem, ended_at_ms=self._means.now_ms())
        self._begun = ended
        moved = self._count(MoveState.DONE)
        log.info("operation_ended", operation=ended.id, subject=ended.subject, state=state, moved=moved, why=problem)
        self._means.on_end(ended.kind, state)
        until = self._means.monotonic() + within
        is_told = False
        while not is_told and self._means.monotonic() < until:
            with suppress(TimeoutError):
                async with asyncio.timeout(TELL_AT_LAST_WITHIN):
                    is_told = await self._tell()
            if not is_told:
                await asyncio.sleep(TELL_PAUSE)


def _settled(move: PlannedMove, outcome: Outcome, seconds: float) -> PlannedMove:
    took_ms = round(seconds * 1000)
    match outcome:
        case Moved():
            return replace(move, state=MoveState.DONE, took_ms=took_ms)
        case NobodyThere():
            return replace(move, state=MoveState.CANCELLED, took_ms=took_ms, problem="nobody was there any more")
        case NotMoved(problem):
            return replace(move, state=MoveState.FAILED, took_ms=took_ms, problem=problem)


def _not_moved(rooms: int) -> str:
    return "1 room was not moved" if rooms == 1 else f"{rooms} rooms were not moved"
