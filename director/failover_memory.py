"""Verdicts in memory: the twin of failover_redis."""

from director.contract.failover import MAX_DEATHS_PERCENT, VERDICT_WINDOW, Departed, HeldBack, Standing
from director.contract.ids import Incarnation, NodeName
from director.contract.ownership import Settling
from director.memory_hall import MemoryHall


class MemoryVerdicts:
    """Verdicts over a MemoryHall."""

    def __init__(self, hall: MemoryHall) -> None:
        self._hall = hall

    async def judge(self, node: NodeName, incarnation: Incarnation) -> Departed | Standing | Settling | HeldBack:
        hall = self._hall
        hall.answer()
        if (node, incarnation) in hall.dead:
            return Departed()
        if hall.holds(node, incarnation):
            return Standing()
        if hall.settles_in > 0:
            return Settling(hall.settles_in)
        if node in hall.leases():
            hall.bury(node, incarnation, why="superseded")
            return Departed()
        now = hall.now
        hall.verdicts = [at for at in hall.verdicts if at > now - VERDICT_WINDOW]
        deaths = len(hall.verdicts)
        limit = max(1, (len(hall.known) + deaths) * MAX_DEATHS_PERCENT // 100)
        if deaths >= limit and now >= hall.resumed_until:
            return HeldBack(hall.verdicts[0] + VERDICT_WINDOW - now)
        hall.verdicts.append(now)
        hall.bury(node, incarnation, why="lapsed")
        return Departed()

    async def resume(self) -> int:
        self._hall.answer()
        self._hall.resumed_until = self._hall.now + VERDICT_WINDOW
        self._hall.verdicts = []
        return len(self._hall.lapsed())

    async def stand(self, name: str, *, ttl: float) -> bool:
        hall = self._hall
        hall.answer()
        steward, until = hall.steward
        if steward != name and until > hall.now:
            return False
        hall.steward = (name, hall.now + ttl)
        return True

    async def resign(self, name: str) -> None:
        hall = self._hall
        hall.answer()
        if hall.steward[0] == name:
            hall.steward = ("", float("-inf"))
