"""Changes of ownership as a node hears them: it opens what it was given, drops what it was relieved of, gets ready for
what is to come and lets go what is asked for."""

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
    OrdersChanged,
    RoomChanged,
    RoomGone,
    RoomOwners,
    RoomRecord,
)
from shard_node.arrivals import Arrivals
from shard_node.departures import Departures
from shard_node.host import RoomHost

_log = structlog.get_logger()


class OwnershipWatch:
    """Applies notices to the host. A missed notice costs time and never safety: the store judges."""

    def __init__(
        self,
        host: RoomHost,
        owners: RoomOwners,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        *,
        arrivals: Arrivals,
        departures: Departures,
    ) -> None:
        self._host = host
        self._owners = owners
        self._spawn = spawn
        self._arrivals = arrivals
        self._departures = departures

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
                self._arrivals.forget()
                await self._look_again()
            case RoomGone(room=room):
                self._arrivals.hear_gone(room)
                self._departures.hear_gone(room)
            case NodeChanged() | NodeGone() | OrdersChanged() | MembersCounted():
                pass

    def _take_record(self, record: RoomRecord, *, replaced: bool) -> None:
        self._arrivals.hear(record)
        if self._departures.hear(record):
            return
        hosted = self._host.room_of(record.room)
        mine = (record.owner, record.incarnation) == (self._host.node, self._host.incarnation)
        if hosted is not None and record.epoch > hosted.room.epoch:
            self._host.drop(record.room, ErrorCode.NOT_OWNER)
            hosted = None
        if hosted is None and mine and (replaced or self._host.farewells.has(record.room)):
            # the members of a lost node are on their way, or those that have just been sent elsewhere
            self._spawn(self._open(record))
        if mine and record.target is not None and (hosted is None or hosted.room.epoch == record.epoch):
            self._departures.begin(record, on_end=self._take_late)

    def _take_late(self, record: RoomRecord) -> None:
        """What came while the room was on its way."""
        self._take_record(record, replaced=True)

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
