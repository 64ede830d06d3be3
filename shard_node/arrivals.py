"""Arrivals: rooms that are to move to this node. It gets ready for them, and says so."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import Epoch, RoomId
from director.contract.ownership import RoomOwners, RoomRecord
from persistence.contract.store import RoomHistory, StoreUnavailable
from shard_node.contract.events import MAX_ANSWER_BYTES, MAX_RECOVERED
from shard_node.host import RoomHost

READ_WITHIN = 2.0

_log = structlog.get_logger()


class Arrivals:
    """Reads what an opening will read, which proves that the store can be reached and has it at hand by then; what was
    read is thrown away. `may_come` tells whether this node takes rooms at all."""

    def __init__(
        self,
        host: RoomHost,
        owners: RoomOwners,
        history: RoomHistory,
        *,
        may_come: Callable[[], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._host = host
        self._owners = owners
        self._history = history
        self._may_come = may_come
        self._spawn = spawn
        self._expected: dict[RoomId, Epoch] = {}

    def hear(self, record: RoomRecord) -> None:
        """A room's record has changed."""
        me = (self._host.node, self._host.incarnation)
        room, expected = record.room, self._expected.get(record.room)
        if (record.target, record.target_incarnation) == me:
            if expected != record.epoch:
                self._expected[room] = record.epoch
                if not record.is_warm:
                    self._spawn(self._get_ready(record))
        elif expected is not None:
            del self._expected[room]
            has_come = (record.owner, record.incarnation) == me
            self._host.tally.moves["in", "moved" if has_come else "cancelled"] += 1

    def hear_gone(self, room: RoomId) -> None:
        """A room's record was removed."""
        self._expected.pop(room, None)

    def forget(self) -> None:
        """Notices may have been missed: what is still expected is told again by whoever asks."""
        self._expected.clear()

    async def _get_ready(self, record: RoomRecord) -> None:
        try:
            if self._may_come() and await self._can_read(record.room):
                await self._owners.note_warm(record)
            else:
                await self._owners.cancel_move(record)
        except ControlPathUnavailable as error:
            # its owner does not wait for long
            _log.warning("target_unanswered", room=record.room, why=str(error))

    async def _can_read(self, room: RoomId) -> bool:
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(READ_WITHIN):
                await self._history.read_before(room, before=None, limit=MAX_RECOVERED, max_bytes=MAX_ANSWER_BYTES)
                return True
        return False
