"""What is told of operations in Redis: the adapter of Operations."""

from collections.abc import Sequence

import msgspec

from director.contract.operations import INTERRUPTED_AFTER, MAX_OPERATIONS, Operation
from director.redis_client import OPERATIONS, HallRedis, operation_key

_FIELDS = ("told", "heard", "cancel")
_decoder = msgspec.json.Decoder(Operation)


class RedisOperations:
    """Operations over one HallRedis."""

    def __init__(self, hall: HallRedis) -> None:
        self._hall = hall

    async def tell(self, operation: Operation) -> bool:
        told = msgspec.json.encode(operation).decode()
        args: list[str | int] = [operation.id, told, operation.state.value, MAX_OPERATIONS]
        return bool(await self._hall.run("operation_tell", [OPERATIONS, operation_key(operation.id)], args))

    async def operation(self, name: str) -> Operation | None:
        found = await self._read([name])
        return found[0] if found else None

    async def recent(self, limit: int = 50) -> Sequence[Operation]:
        async with self._hall.asked() as redis:
            names = await redis.zrevrange(OPERATIONS, 0, limit - 1) if limit > 0 else []
        return sorted(
            await self._read([str(name) for name in names]), key=lambda operation: operation.started_at_ms, reverse=True
        )

    async def cancel(self, name: str) -> bool:
        return bool(await self._hall.run("operation_cancel", [operation_key(name)], [round(INTERRUPTED_AFTER * 1000)]))

    async def _read(self, names: Sequence[str]) -> list[Operation]:
        async with self._hall.asked() as redis:
            pipeline = redis.pipeline(transaction=False)
            pipeline.time()
            for name in names:
                pipeline.hmget(operation_key(name), _FIELDS)
            (seconds, micros), *answers = await pipeline.execute()
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        return [
            operation.as_heard(int(heard), now_ms=now_ms, is_unwanted=cancel is not None)
            for told, heard, cancel in answers
            if told is not None and (operation := _operation_of(told)) is not None
        ]


def _operation_of(text: str) -> Operation | None:
    """The operation, None for what this version cannot read (a newer director's kind of operation)."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        return None
