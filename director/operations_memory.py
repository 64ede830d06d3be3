"""What is told of operations in memory: the twin of operations_redis."""

from collections.abc import Sequence
from dataclasses import replace

from director.contract.operations import KEPT_FOR, MAX_OPERATIONS, Operation
from director.memory_hall import MemoryHall, ToldOperation


class MemoryOperations:
    """Operations over a MemoryHall."""

    def __init__(self, hall: MemoryHall) -> None:
        self._hall = hall

    async def tell(self, operation: Operation) -> bool:
        hall = self._hall
        hall.answer()
        former = hall.operations.pop(operation.id, None)
        is_unwanted = former is not None and former.is_unwanted and not operation.state.is_over
        hall.operations[operation.id] = ToldOperation(operation, hall.server_at_ms, is_unwanted)
        self._forget()
        return is_unwanted

    async def operation(self, name: str) -> Operation | None:
        self._hall.answer()
        self._forget()
        told = self._hall.operations.get(name)
        return None if told is None else self._as_heard(told)

    async def recent(self, limit: int = 50) -> Sequence[Operation]:
        self._hall.answer()
        self._forget()
        latest = list(reversed(self._hall.operations.values()))[: max(0, limit)]
        return sorted(map(self._as_heard, latest), key=lambda operation: operation.started_at_ms, reverse=True)

    async def cancel(self, name: str) -> bool:
        operation = await self.operation(name)
        if operation is None or operation.state.is_over:
            return False
        self._hall.operations[name] = replace(self._hall.operations[name], is_unwanted=True)
        return True

    def _as_heard(self, told: ToldOperation) -> Operation:
        now_ms = self._hall.server_at_ms
        return told.operation.as_heard(told.heard_at_ms, now_ms=now_ms, is_unwanted=told.is_unwanted)

    def _forget(self) -> None:
        operations = self._hall.operations
        too_old = self._hall.server_at_ms - KEPT_FOR * 1000
        while operations:
            name = next(iter(operations))
            if len(operations) <= MAX_OPERATIONS and operations[name].heard_at_ms > too_old:
                return
            del operations[name]
