"""Changes of ownership as a node hears them: it opens what it was given and drops what it was relieved of."""

from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.ids import RoomId
from director.contract.ownership import (
    Interrupted,
    MembersCounted,
    NodeChanged,
    NodeGone,
    Notice,
    RoomChanged,
    RoomGone,
    RoomOwners,
    RoomRecord,
)
from shard_node.host import RoomHost

_log = structlog.get_logger()


class OwnershipWatch:
    """Applies notices to the host. A missed notice costs time and never safety: the store judges."""

    def __init__(self, host: RoomHost, owners: RoomOwners, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._host = host
        self._owners = owners
        self._spawn = spawn

    async def run(self) -> None:
        """Listen until cancelled."""
        async for notice in self._owners.notices():
            await self.take(notice)

    async def take(self, notice: Notice | Interrupted) -> None:
        """Act on one notice."""
        match notice:
            case RoomChanged(record=record, replaced=replaced):
                self._take_record(record, replaced=replaced)
            case Interrupted():
                await self._look_again()
            case RoomGone() | NodeChanged() | NodeGone() | MembersCounted():
                pass

    def _take_record(self, record: RoomRecord, *, replaced: bool) -> None:
        hosted = self._host.room_of(record.room)
        mine = (record.owner, record.incarnation) == (self._host.node, self._host.incarnation)
        if hosted is not None and record.epoch > hosted.room.epoch:
            self._host.drop(record.room, ErrorCode.NOT_OWNER)
            hosted = None
        if hosted is None and mine and replaced:
            # the members of a lost node are on their way
            self._spawn(self._open(record))

    async def _open(self, record: RoomRecord) -> None:
        try:
            await self._host.open(record.room, record)
        except Refusal as refusal:
            _log.warning("room_not_opened_on_notice", room=record.room, code=refusal.code)

    async def _look_again(self) -> None:
        for hosted in self._host:
            room = RoomId(hosted.record.room)
            try:
                record = await self._owners.room_record(room)
            except ControlPathUnavailable:
                return
            if record is not None:
                self._take_record(record, replaced=False)
