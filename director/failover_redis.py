"""Verdicts in Redis: the adapter of Verdicts."""

from director.contract.failover import MAX_DEATHS_PERCENT, VERDICT_WINDOW, Departed, HeldBack, Standing
from director.contract.ids import Incarnation, NodeName
from director.contract.ownership import Settling
from director.redis_client import STEWARD, VERDICTS, HallRedis

_WINDOW_MS = round(VERDICT_WINDOW * 1000)


class RedisVerdicts:
    """Verdicts over one HallRedis."""

    def __init__(self, hall: HallRedis) -> None:
        self._hall = hall

    async def judge(self, node: NodeName, incarnation: Incarnation) -> Departed | Standing | Settling | HeldBack:
        args: list[str | int] = [node, incarnation, _WINDOW_MS, MAX_DEATHS_PERCENT]
        outcome, left_ms = await self._hall.run("node_judge", [VERDICTS], args)
        match outcome:
            case "departed":
                return Departed()
            case "standing":
                return Standing()
            case "settling":
                return Settling(int(left_ms) / 1000)
            case _:
                return HeldBack(int(left_ms) / 1000)

    async def resume(self) -> int:
        return int(await self._hall.run("failover_resume", [VERDICTS], [_WINDOW_MS]))

    async def stand(self, name: str, *, ttl: float) -> bool:
        return bool(await self._hall.run("steward_stand", [STEWARD], [name, round(ttl * 1000)]))

    async def resign(self, name: str) -> None:
        await self._hall.run("steward_resign", [STEWARD], [name])
