"""The node's regular chores: members that fell behind, counts, empty rooms."""

import asyncio
from collections.abc import Callable

from director.contract.errors import ErrorCode
from shard_node.core.lag import LagProbe
from shard_node.fanout.members import Member
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom

BEAT_EVERY = 0.1
CATCH_UP_EVERY = 0.25
AMBIENT_EVERY = 2.0
LEARN_EVERY = 1.0


class Housekeeping:
    """One loop for all rooms; `step` does what is due."""

    def __init__(
        self, host: RoomHost, *, now: Callable[[], float], lag: LagProbe, learn: Callable[[], None], linger: float
    ) -> None:
        self._host = host
        self._now = now
        self._lag = lag
        self._learn = learn
        self._linger = linger
        self._caught_up_at = self._ambient_at = self._learnt_at = now()

    async def run(self) -> None:
        """Do the chores until cancelled."""
        while True:
            await asyncio.sleep(BEAT_EVERY)
            self._lag.beat(self._now())
            self.step()

    def step(self) -> None:
        """Do what is due now."""
        now = self._now()
        if now - self._learnt_at >= LEARN_EVERY:
            self._learnt_at = now
            self._learn()
        if now - self._caught_up_at < CATCH_UP_EVERY:
            return
        self._caught_up_at = now
        ambient_due = now - self._ambient_at >= AMBIENT_EVERY
        if ambient_due:
            self._ambient_at = now
        for hosted in self._host:
            if hosted.members.anyone_behind:
                self._catch_up(hosted, now)
            if ambient_due:
                hosted.tell_ambient()
        self._host.close_idle(self._linger)

    def _catch_up(self, hosted: HostedRoom, now: float) -> None:
        def too_slow(member: Member) -> None:
            self._host.bye(member.connection, ErrorCode.SLOW)
            self._host.remove(hosted, member.connection)

        hosted.members.catch_up(hosted.room, now, too_slow=too_slow)
