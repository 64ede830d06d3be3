"""Farewell: the members of a room that has moved are sent to its new node, one after the other (protocol, section 5).

Nothing is shown to them here any more, and nothing that they ask for is done: what the room has become is known to its
new owner alone.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Epoch, RoomId
from director.contract.lease import NodeLease
from director.contract.ticket import Ticket
from shard_node.contract.events import Moved
from shard_node.core.slots import Slot, slots_of
from shard_node.fanout.connection import Connection
from shard_node.fanout.members import Member
from shard_node.fanout.packets import event_packet
from shard_node.hosted_room import HostedRoom

STAY = 10.0
"""Seconds after the last slot; who has not gone by then is ended."""

TICKET_LASTS = 60.0
TOLD_AT_ONCE = 200
"""Members whose tickets are signed in one step."""

MIN_RETRY_MS = 20
OVERDUE_RETRY = 0.5


@dataclass(frozen=True, slots=True)
class NewHome:
    """Where the room is now, and since which epoch."""

    lease: NodeLease
    epoch: Epoch


class Farewell:
    """Sends the members of one room after it. `sign` makes a ticket that is good for so many seconds, `end` ends a
    member in good order, with MOVED."""

    def __init__(
        self,
        hosted: HostedRoom,
        home: NewHome,
        *,
        sign: Callable[[Ticket, float], str],
        end: Callable[[Connection], None],
        now: Callable[[], float],
    ) -> None:
        self._hosted = hosted
        self._home = home
        self._sign = sign
        self._end = end
        self._now = now
        self._began_at = now()
        members = [(member, member.author) for member in hosted.members]
        self._slots = slots_of(members, waiting=hosted.held_by, joins_per_second=home.lease.joins_per_second)
        self._goes_at = {slot.who.connection.sid: self._began_at + slot.after for slot in self._slots}
        self._emptied = asyncio.Event()

    @property
    def lasts(self) -> float:
        """Seconds from its beginning until the last one is ended."""
        return (self._slots[-1].after if self._slots else 0.0) + STAY

    def begin(self) -> None:
        """Show all that is to be shown here, and answer those whose words were held: in the step in which the room is
        known to have moved."""
        self._hosted.showing.finish()
        soonest: dict[str, float] = {}
        for slot in self._slots:
            soonest.setdefault(slot.who.author.id, slot.after)
        for draft, on_outcome in self._hosted.thaw():
            on_outcome(_frozen(soonest.get(draft.by.id, 0.0)))
        self.left()

    async def run(self) -> None:
        """Tell everybody, wait until they have gone, and end who stays."""
        for start in range(0, len(self._slots), TOLD_AT_ONCE):
            for slot in self._slots[start : start + TOLD_AT_ONCE]:
                self._tell(slot)
            await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._began_at + self.lasts - self._now()):
                await self._emptied.wait()
        self.end()

    def _tell(self, slot: Slot[Member]) -> None:
        member, home = slot.who, self._home
        if self._hosted.members.member_of(member.connection) is not member:
            return  # it has left meanwhile
        author, lease = member.author, home.lease
        after = max(0.0, self._began_at + slot.after - self._now())
        ticket = Ticket(self._hosted.record.room, author.id, author.name, author.role, lease.node, home.epoch, 0)
        signed = self._sign(ticket, after + TICKET_LASTS)
        moved = Moved(lease.url, lease.path, lease.node, home.epoch, signed, round(after * 1000))
        member.connection.write(event_packet("moved", moved))

    def refusal_of(self, connection: Connection) -> Refusal:
        """The answer to whatever this member asks for: it is to be asked for at the new node."""
        left = self._goes_at.get(connection.sid, 0.0) - self._now()
        return _frozen(left if left > 0 else OVERDUE_RETRY)

    def left(self) -> None:
        """Somebody has gone, perhaps the last one."""
        if not self._hosted.members.connections:
            self._emptied.set()

    def end(self) -> None:
        """End all who are still here."""
        for member in self._hosted.members:
            self._end(member.connection)


class Farewells:
    """The farewells that are not over, by what was hosted: a room may move away again before."""

    def __init__(self) -> None:
        self._farewells: dict[HostedRoom, Farewell] = {}

    def add(self, hosted: HostedRoom, farewell: Farewell) -> None:
        self._farewells[hosted] = farewell

    def remove(self, hosted: HostedRoom) -> None:
        """The farewell is over; idempotent."""
        self._farewells.pop(hosted, None)

    def of(self, hosted: HostedRoom) -> Farewell | None:
        return self._farewells.get(hosted)

    def has(self, room: RoomId) -> bool:
        """Whether the room has just moved away."""
        return any(hosted.record.room == room for hosted in self._farewells)

    def end(self) -> None:
        """End all who are still here though their room has moved."""
        for farewell in list(self._farewells.values()):
            farewell.end()


def _frozen(seconds: float) -> Refusal:
    retry_after_ms = max(MIN_RETRY_MS, round(seconds * 1000))
    return Refusal(ErrorCode.FROZEN, "the room is moving to another node; go there", retry_after_ms=retry_after_ms)
