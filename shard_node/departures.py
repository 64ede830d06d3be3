"""Departures: the rooms that are on their way from this node to others, and those that have just gone."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode
from director.contract.ids import RoomId
from director.contract.lease import NodeLeases
from director.contract.ownership import RoomOwners, RoomRecord
from director.contract.ticket import Ticket, TicketBook
from persistence.contract.store import RoomLog, StoreUnavailable
from shard_node.departure import Departure, Ended, HasMoved, IsLost, Stays, TakenBack
from shard_node.farewell import Farewell, NewHome
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom

_log = structlog.get_logger()


class Departures:
    """One departure at a time for each room. `spawn` starts a task that may fail without harm to others."""

    def __init__(
        self,
        *,
        host: RoomHost,
        owners: RoomOwners,
        log: RoomLog,
        leases: NodeLeases,
        tickets: TicketBook,
        clock: FleetClock,
        now: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._host = host
        self._owners = owners
        self._rows = log
        self._leases = leases
        self._tickets = tickets
        self._clock = clock
        self._now = now
        self._spawn = spawn
        self._running: dict[RoomId, Departure] = {}
        self._farewells = 0
        self.stirred_at = now()
        """When a room last began to leave, or was done with it."""

    @property
    def is_idle(self) -> bool:
        """Whether no room is on its way, and nobody is still to be sent after one."""
        return not self._running and not self._farewells

    def hear(self, record: RoomRecord) -> bool:
        """A room's record has changed; whether the room is on its way, and so this is its departure's affair."""
        departure = self._running.get(record.room)
        if departure is None:
            return False
        departure.hear(record)
        return True

    def hear_gone(self, room: RoomId) -> None:
        """A room's record was removed."""
        departure = self._running.get(room)
        if departure is not None:
            departure.hear_gone()

    def begin(self, record: RoomRecord, *, on_end: Callable[[RoomRecord], None]) -> None:
        """Carry out the move that is asked of this node. Records that come meanwhile are for `hear`; `on_end` is given
        the last one of them that the departure did not act upon."""
        departure = Departure(
            record, host=self._host, owners=self._owners, log=self._rows, leases=self._leases, now=self._now
        )
        self._running[record.room] = departure
        self.stirred_at = self._now()
        self._spawn(self._run(departure, on_end))

    async def _run(self, departure: Departure, on_end: Callable[[RoomRecord], None]) -> None:
        record, began_at = departure.record, self._now()
        ended: Ended = IsLost()
        try:
            ended = await departure.run()
            if isinstance(ended, HasMoved) and ended.hosted is not None:
                self._part(ended.hosted, ended.home)
        finally:
            self.stirred_at = self._now()
            del self._running[record.room]
            self._count(departure, ended, began_at)
        unheeded = departure.unheeded
        # one that stays though the record names another goes on for as long as the store allows it
        is_anothers = unheeded is not None and unheeded.owner != self._host.node and unheeded.epoch > record.epoch
        if unheeded is not None and not (isinstance(ended, Stays) and is_anothers):
            on_end(unheeded)
        if isinstance(ended, Stays):
            await self._look_at_rows()

    def _part(self, hosted: HostedRoom, home: NewHome) -> None:
        farewell = Farewell(hosted, home, sign=self._sign, end=self._end, now=self._now)
        self._host.depart(hosted, farewell)
        farewell.begin()
        self._farewells += 1
        self._spawn(self._say(farewell, hosted))

    async def _say(self, farewell: Farewell, hosted: HostedRoom) -> None:
        try:
            await farewell.run()
        finally:
            self.stirred_at = self._now()
            self._farewells -= 1
            self._host.farewells.remove(hosted)

    async def _look_at_rows(self) -> None:
        """Rooms that were frozen were not looked at meanwhile: an erasure may have fenced one."""
        with suppress(StoreUnavailable):
            await self._host.confirm_rows()

    def _sign(self, ticket: Ticket, lasts: float) -> str:
        expires_at_ms = self._clock.now_ms(self._now() + lasts)
        return self._tickets.sign(msgspec.structs.replace(ticket, expires_at_ms=expires_at_ms))

    def _end(self, connection: Any) -> None:
        self._host.bye(connection, ErrorCode.MOVED)

    def _count(self, departure: Departure, ended: Ended, began_at: float) -> None:
        now, tally, room, to = self._now(), self._host.tally, departure.record.room, departure.record.target
        pause = 0.0 if departure.frozen_at is None else now - departure.frozen_at
        if pause:
            tally.pause.note(pause)
        match ended:
            case HasMoved(home=home):
                tally.moves["out", "moved"] += 1
                tally.move_seconds.note(now - began_at)
                took = {"took": round(now - began_at, 3), "pause": round(pause, 3)}
                _log.info("room_moved", room=room, to=to, epoch=home.epoch, **took)
            case Stays(why):
                tally.moves["out", "cancelled"] += 1
                _log.warning("room_stays", room=room, to=to, why=why)
            case TakenBack():
                tally.moves["out", "taken_back"] += 1
                _log.warning("room_taken_back", room=room, to=to)
            case IsLost():
                tally.moves["out", "lost"] += 1
                _log.warning("room_lost", room=room, to=to)
