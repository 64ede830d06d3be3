"""RowWatch: a regular look at the rows of the node's rooms, by which also an idle owner learns that it was fenced.

A batch learns it by being refused. A room in which nobody says anything would go on being shown as its former owner
remembers it: after an operator has erased somebody's messages from it, for one.
"""

import asyncio

import structlog

from persistence.contract.store import StoreUnavailable
from shard_node.host import RoomHost

LOOK_EVERY = 2.0
"""Seconds. `hall store erase` waits a multiple of it before it says that it is done."""

_log = structlog.get_logger()


class RowWatch:
    """Drops the rooms that the store says are another's. `step` looks once."""

    def __init__(self, host: RoomHost) -> None:
        self._host = host
        self._is_out = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.step()

    async def step(self) -> None:
        """Look once; a store that does not answer says nothing."""
        if not len(self._host):
            return
        try:
            await self._host.confirm_rows()
        except StoreUnavailable as error:
            if not self._is_out:
                _log.warning("rows_not_read", why=str(error))
            self._is_out = True
        else:
            self._is_out = False
