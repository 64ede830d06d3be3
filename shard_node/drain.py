"""Drain: a node gives its rooms away before it ends. The directors move them; the node waits, as long as it helps."""

import asyncio
from collections.abc import Callable

import structlog

from director.contract.errors import ControlPathUnavailable
from director.contract.lease import NodeLeases, NodeState
from shard_node.departures import Departures
from shard_node.host import RoomHost
from shard_node.lease_keeper import LeaseKeeper

STALLED_AFTER = 3.0
WAVE_AWAITED = 12.0
"""After the first room has gone the others come in waves, some of them seconds apart; longer than a move that fails
takes to be given up."""
LOOK_EVERY = 0.1
ASK_EVERY = 1.0

_log = structlog.get_logger()


class Drain:
    """Empties one node, within so many seconds at most. Members that are left then come back by themselves, as after
    every orderly end."""

    def __init__(
        self,
        *,
        host: RoomHost,
        keeper: LeaseKeeper,
        departures: Departures,
        leases: NodeLeases,
        within: float,
        now: Callable[[], float],
    ) -> None:
        self._host = host
        self._keeper = keeper
        self._departures = departures
        self._leases = leases
        self._within = within
        self._now = now

    async def run(self) -> str:
        """Let the directors know, and wait until there is nothing left to wait for; why it is over."""
        began_at = self._now()
        _log.info("node_draining", rooms=len(self._host))
        try:
            async with asyncio.timeout(self._within):
                await self._keeper.drain()
                why = await self._until_over(began_at)
        except TimeoutError:
            why = "its time is over"
        _log.info("node_drained", why=why, rooms=len(self._host), took=round(self._now() - began_at, 3))
        return why

    async def _until_over(self, began_at: float) -> str:
        asks_at = began_at
        while True:
            now = self._now()
            if self._departures.is_idle:
                if not len(self._host):
                    return "it is empty"
                stirred_at = self._departures.stirred_at
                patience = WAVE_AWAITED if stirred_at > began_at else STALLED_AFTER
                if now - max(began_at, stirred_at) >= patience:
                    return "nobody moves its rooms"
                if now >= asks_at:
                    asks_at = now + ASK_EVERY
                    if not await self._others_live():
                        return "there is no other node"
            await asyncio.sleep(LOOK_EVERY)

    async def _others_live(self) -> bool:
        """Whether some other node takes rooms, or might."""
        try:
            live = await self._leases.live_nodes()
        except ControlPathUnavailable:
            return True
        return any(it.lease.node != self._host.node and it.lease.state is NodeState.SERVING for it in live.nodes)
