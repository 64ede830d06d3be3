"""The node's regular chores: members that fell behind, counts, empty rooms."""

import asyncio
from collections.abc import Callable

from director.contract.errors import ErrorCode
from shard_node.fanout.members import Member
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom

CATCH_UP_EVERY = 0.25
AMBIENT_EVERY = 2.0


class Housekeeping:
    """One loop for all rooms; `step` does what is due."""

    def __init__(self, host: RoomHost, *, now: Callable[[], float], linger: float) -> None:
        self._host = host
        self._now = now
        self._linger = linger
        self._ambient_at = now()

    async def run(self) -> None:
        """Do the chores until cancelled."""
        while True:
            await asyncio.sleep(CATCH_UP_EVERY)
            await self.step()

    async def step(self) -> None:
        """Do what is due now."""
        now = self._now()
        ambient_due = now - self._ambient_at >= AMBIENT_EVERY
        if ambient_due:
            self._ambient_at = now
        for hosted in self._host:
            if hosted.members.anyone_behind:
                self._catch_up(hosted, now)
            if ambient_due:
                hosted.tell_ambient()
        await self._host.close_idle(self._linger)

    def _catch_up(self, hosted: HostedRoom, now: float) -> None:
        def too_slow(member: Member) -> None:
            self._host.bye(member.connection, ErrorCode.SLOW)
            self._host.remove(hosted, member.connection)

        hosted.members.catch_up(hosted.room, now, too_slow=too_slow)
