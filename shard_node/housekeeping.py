"""The node's regular chores: members that fell behind, counts, empty rooms, and how much the node has to do."""

import asyncio
from collections.abc import Callable

from director.contract.errors import ErrorCode
from shard_node.core.lag import BEAT_EVERY, LagProbe
from shard_node.core.overload import Strain
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom

JUDGE_EVERY = 1.0
LEARN_EVERY = 1.0
CLOSE_EVERY = 0.25
MAX_TOLD = 2_000
"""Members that are told of newest counts at one beat; more of them would hold everything else up."""


class Housekeeping:
    """One loop for all rooms; `step` does what is due. `slowest_commit` gives the seconds of the slowest transaction
    since it was last asked."""

    def __init__(
        self,
        host: RoomHost,
        *,
        now: Callable[[], float],
        lag: LagProbe,
        slowest_commit: Callable[[], float],
        learn: Callable[[], None],
        linger: float,
    ) -> None:
        self._host = host
        self._now = now
        self._lag = lag
        self._slowest_commit = slowest_commit
        self._learn = learn
        self._linger = linger
        self._judged_at = self._learnt_at = self._closed_at = now()

    async def run(self) -> None:
        """Do the chores until cancelled."""
        while True:
            await asyncio.sleep(BEAT_EVERY)
            self._lag.beat(self._now())
            self.step()

    def step(self) -> None:
        """Do what is due now."""
        now = self._now()
        if now - self._judged_at >= JUDGE_EVERY:
            self._judged_at = now
            self._judge(now)
        if now - self._learnt_at >= LEARN_EVERY:
            self._learnt_at = now
            self._learn()
        may_tell = MAX_TOLD
        for hosted in self._host:
            if hosted.members.anyone_behind:
                self._catch_up(hosted)
            may_tell -= hosted.tell_ambient(self._host.overload.mode, most=may_tell)
        if now - self._closed_at >= CLOSE_EVERY:
            self._closed_at = now
            self._host.close_idle(self._linger)

    def _judge(self, now: float) -> None:
        outgoing = sum(hosted.members.outgoing for hosted in self._host)
        strain = Strain(lag=self._lag.take_latest(), outgoing=outgoing, commit=self._slowest_commit())
        self._host.overload.judge(strain, now)

    def _catch_up(self, hosted: HostedRoom) -> None:
        for member in hosted.showing.catch_up(hosted.room):
            self._host.bye(member.connection, ErrorCode.SLOW)
            self._host.remove(hosted, member.connection)
