"""The operations desk: starts operations, and knows those that run in this director."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from director.contract.errors import ErrorCode, Refusal
from director.contract.operations import Operation, OperationKind, OperationPlan, OperationState
from director.core.waves import Budget
from director.operation_run import Emptying, Means, OperationRun

log = structlog.get_logger(__name__)


class OperationsDesk:
    """One director's operations. `run` is for the process's TaskGroup: when it is cancelled, all that run are told as
    interrupted, and what was asked for goes on without them."""

    def __init__(self, means: Means, *, random_bytes: Callable[[int], bytes]) -> None:
        self._means = means
        self._random_bytes = random_bytes
        self._running: dict[str, OperationRun] = {}
        self._waiting: asyncio.Queue[OperationRun] = asyncio.Queue()

    @property
    def running(self) -> Mapping[str, OperationRun]:
        """Those that run here, by id."""
        return self._running

    @property
    def now_ms(self) -> int:
        """Unix time by Redis' clock."""
        return self._means.now_ms()

    async def run(self) -> None:
        """Run what is started, side by side, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._run_one(await self._waiting.get()))

    def new_operation(self, kind: OperationKind, subject: str, plan: OperationPlan) -> Operation:
        """An operation that begins now, with an id of its own."""
        now_ms = self._means.now_ms()
        name = f"{kind}-{self._random_bytes(6).hex()}"
        return Operation(name, kind, subject, OperationState.RUNNING, plan, now_ms, now_ms)

    async def start(self, kind: OperationKind, subject: str, plan: OperationPlan, *, budget: Budget) -> Operation:
        """Run exactly this plan. Returns when it has been told, so that every director can show it. Raises
        ControlPathUnavailable, and Refusal BUSY while a rebalancing runs and another is asked for."""
        if kind is OperationKind.REBALANCE:
            await self._check_nobody_rebalances()
        operation = self.new_operation(kind, subject, plan)
        await self._means.operations.tell(operation)
        self.take_up(operation, budget=budget)
        return operation

    def take_up(self, operation: Operation, *, budget: Budget, emptying: Emptying | None = None) -> None:
        """Run an operation that exists, unless it runs here already."""
        if operation.id not in self._running:
            log.info("operation_started", operation=operation.id, kind=operation.kind, rooms=len(operation.plan.moves))
            run = OperationRun(operation, self._means, budget=budget, emptying=emptying)
            self._running[operation.id] = run
            self._waiting.put_nowait(run)

    async def cancel(self, name: str) -> bool:
        """Ask for no further moves, whichever director runs it; answers whether it runs. Raises
        ControlPathUnavailable if it does not run here."""
        run = self._running.get(name)
        if run is not None:
            run.cancel()
            return True
        return await self._means.operations.cancel(name)

    async def _check_nobody_rebalances(self) -> None:
        for operation in await self._means.operations.recent():
            if operation.kind is OperationKind.REBALANCE and not operation.state.is_over:
                message = f"{operation.id} is rebalancing the fleet: wait for its end, or cancel it"
                raise Refusal(ErrorCode.BUSY, message, retry_after_ms=1_000)

    async def _run_one(self, run: OperationRun) -> None:
        try:
            await run.run()
        finally:
            del self._running[run.operation.id]
