"""Room records in memory: the twin of ownership_redis."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.ownership import (
    Claimed,
    Interrupted,
    Notice,
    Outrun,
    RoomGone,
    RoomRecord,
    Settling,
    Snapshot,
    Unfit,
)
from director.moves_memory import MemoryMoves, aimless, identity_of


class MemoryRoomOwners(MemoryMoves):
    """RoomOwners over a MemoryHall."""

    async def claim(
        self, room: RoomId, *, node: NodeName, incarnation: Incarnation, replacing: RoomRecord | None, why: str
    ) -> Claimed | Outrun | Unfit | Settling:
        hall = self.hall
        hall.answer()
        standing = hall.rooms.get(room)
        if identity_of(standing) != identity_of(replacing):
            return Outrun(standing)
        if standing is not None and (standing.owner, standing.incarnation) not in hall.dead:
            return Outrun(standing)
        if hall.settles_in > 0:
            return Settling(hall.settles_in)
        if not hall.holds(node, incarnation):
            return Unfit()
        return self._give(room, standing, node, incarnation, why)

    async def renew_claim(
        self, room: RoomId, *, node: NodeName, incarnation: Incarnation, epoch: Epoch, floor: Epoch
    ) -> Claimed | Outrun:
        hall = self.hall
        hall.answer()
        standing = hall.rooms.get(room)
        if standing is None or identity_of(standing) != (node, incarnation, epoch):
            return Outrun(standing)
        hall.raise_epoch(floor)
        return Claimed(self._touch(aimless(msgspec.structs.replace(standing, epoch=hall.next_epoch()))))

    async def assert_owned(self, records: Sequence[RoomRecord]) -> Sequence[Claimed | Outrun]:
        self.hall.answer()
        return [self._assert_one(record) for record in records]

    def _assert_one(self, record: RoomRecord) -> Claimed | Outrun:
        hall = self.hall
        hall.raise_epoch(record.epoch)
        standing = hall.rooms.get(record.room)
        if standing is not None and identity_of(standing) == identity_of(record):
            return Claimed(standing)
        if standing is not None and standing.epoch >= record.epoch:
            return Outrun(standing)
        return Claimed(self._touch(aimless(record)))

    async def release(self, room: RoomId, *, node: NodeName, incarnation: Incarnation, epoch: Epoch) -> bool:
        hall = self.hall
        hall.answer()
        if identity_of(hall.rooms.get(room)) != (node, incarnation, epoch):
            return False
        del hall.rooms[room]
        hall.publish(RoomGone(hall.generation, hall.next_number(), room))
        return True

    async def room_record(self, room: RoomId) -> RoomRecord | None:
        self.hall.answer()
        return self.hall.rooms.get(room)

    async def snapshot(self) -> Snapshot:
        self.hall.answer()
        return Snapshot(self.hall.generation, self.hall.number, list(self.hall.rooms.values()))

    def notices(self) -> AsyncIterator[Notice | Interrupted]:
        return self.hall.notices()
