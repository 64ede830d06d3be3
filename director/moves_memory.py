"""Moves of rooms in memory: the twin of moves_redis."""

from collections.abc import Sequence

import msgspec

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.ownership import Asked, Claimed, Outrun, PastMove, RoomChanged, RoomRecord, Unfit
from director.memory_hall import MemoryHall

TAKEN_BACK = "taken_back"


class MemoryMoves:
    """The moves over a MemoryHall; `ownership_memory` has the rest of the port."""

    def __init__(self, hall: MemoryHall) -> None:
        self.hall = hall

    async def ask_move(
        self, record: RoomRecord, *, to: NodeName, incarnation: Incarnation, why: str
    ) -> Asked | Outrun | Unfit:
        standing = self._standing(record)
        if isinstance(standing, Outrun):
            return standing
        if _aim_of(standing) == (to, incarnation):
            return Asked(standing)
        if standing.target is not None:
            return Outrun(standing)
        if to == standing.owner or not self.hall.holds(to, incarnation):
            return Unfit()
        aimed = msgspec.structs.replace(standing, target=to, target_incarnation=incarnation, target_why=why)
        return Asked(self._touch(aimed))

    async def note_warm(self, record: RoomRecord) -> Asked | Outrun:
        standing = self._standing(record)
        if isinstance(standing, Outrun):
            return standing
        if standing.target is None or _aim_of(standing) != _aim_of(record):
            return Outrun(standing)
        if standing.is_warm:
            return Asked(standing)
        return Asked(self._touch(msgspec.structs.replace(standing, is_warm=True)))

    async def cancel_move(self, record: RoomRecord) -> Asked | Outrun:
        standing = self._standing(record)
        if isinstance(standing, Outrun):
            return standing
        if standing.target is None:
            return Asked(standing)
        if _aim_of(standing) != _aim_of(record):
            return Outrun(standing)
        return Asked(self._touch(aimless(standing)))

    async def hand_over(self, record: RoomRecord) -> Claimed | Outrun | Unfit:
        standing = self._standing(record)
        if isinstance(standing, Outrun):
            return standing
        target, incarnation = _aim_of(standing)
        if target is None or incarnation is None or (target, incarnation) != _aim_of(record):
            return Outrun(standing)
        if not self.hall.holds(target, incarnation):
            self._touch(aimless(standing))
            return Unfit()
        return self._give(standing.room, standing, target, incarnation, standing.target_why)

    async def take_back(self, record: RoomRecord, *, node: NodeName, incarnation: Incarnation) -> Claimed | Outrun:
        standing = self._standing(record)
        if isinstance(standing, Outrun):
            return standing
        if not self.hall.holds(node, incarnation):
            return Outrun(standing)
        return self._give(standing.room, standing, node, incarnation, TAKEN_BACK)

    async def past_moves(self, room: RoomId) -> Sequence[PastMove]:
        self.hall.answer()
        return self.hall.past.of(room, now=self.hall.now)

    def _standing(self, record: RoomRecord) -> RoomRecord | Outrun:
        """The room's record if its owner is still that of `record`."""
        self.hall.answer()
        standing = self.hall.rooms.get(record.room)
        if standing is None or identity_of(standing) != identity_of(record):
            return Outrun(standing)
        return standing

    def _give(
        self, room: RoomId, former: RoomRecord | None, node: NodeName, incarnation: Incarnation, why: str
    ) -> Claimed:
        """Make `node` the owner with the next epoch, and write down that the room changed hands."""
        hall = self.hall
        record = RoomRecord(
            room,
            node,
            incarnation,
            hall.next_epoch(),
            why,
            hall.next_number(),
            peak=former.peak if former else 0,
            moves=former.moves + 1 if former else 0,
        )
        move = PastMove(hall.server_at_ms, former.owner if former else None, node, record.epoch, why)
        hall.past.add(room, move, now=hall.now)
        self._write(record, replaced=former is not None)
        return Claimed(record)

    def _touch(self, record: RoomRecord) -> RoomRecord:
        """Write a record that is changed but for its owner."""
        record = msgspec.structs.replace(record, version=self.hall.next_number())
        self._write(record, replaced=False)
        return record

    def _write(self, record: RoomRecord, *, replaced: bool) -> None:
        hall = self.hall
        hall.rooms[record.room] = record
        hall.publish(RoomChanged(hall.generation, hall.number, record, replaced))


def identity_of(record: RoomRecord | None) -> tuple[NodeName, Incarnation, Epoch] | None:
    """What a call compares to tell whether the room is still as its caller believes."""
    return None if record is None else (record.owner, record.incarnation, record.epoch)


def _aim_of(record: RoomRecord) -> tuple[NodeName | None, Incarnation | None]:
    return record.target, record.target_incarnation


def aimless(record: RoomRecord) -> RoomRecord:
    """The record without a target."""
    return msgspec.structs.replace(record, target=None, target_incarnation=None, target_why="", is_warm=False)
