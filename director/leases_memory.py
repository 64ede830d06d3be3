"""Leases in memory: the twin of leases_redis."""

from collections.abc import Mapping

import msgspec

from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.lease import Forgotten, LiveNode, LiveNodes, Lost, NodeLease, Renewed
from director.contract.ownership import MembersCounted, NodeChanged
from director.memory_hall import MemoryHall


class MemoryNodeLeases:
    """NodeLeases over a MemoryHall."""

    def __init__(self, hall: MemoryHall) -> None:
        self._hall = hall

    async def acquire(self, lease: NodeLease, *, expire: float) -> Renewed | Lost:
        hall = self._hall
        hall.answer()
        if (lease.node, lease.incarnation) in hall.dead:
            return Lost()
        former = hall.known.get(lease.node)
        if former is not None and former.incarnation != lease.incarnation:
            hall.bury(lease.node, former.incarnation, why="superseded")
        hall.keep(lease, expire=expire)
        hall.publish(NodeChanged(hall.generation, hall.next_number(), lease))
        return Renewed(hall.generation, hall.server_at_ms)

    async def renew(
        self, lease: NodeLease, *, expire: float, members: Mapping[RoomId, int]
    ) -> Renewed | Lost | Forgotten:
        hall = self._hall
        hall.answer()
        last = hall.known.get(lease.node)
        if (lease.node, lease.incarnation) in hall.dead or (last is not None and last.incarnation != lease.incarnation):
            return Lost()
        held = hall.leases().get(lease.node)
        if held is None:
            return Forgotten(hall.generation)
        hall.keep(lease, expire=expire)
        if held.lease.state is not lease.state:
            hall.publish(NodeChanged(hall.generation, hall.next_number(), lease))
        self._count(lease, members)
        return Renewed(hall.generation, hall.server_at_ms)

    def _count(self, lease: NodeLease, members: Mapping[RoomId, int]) -> None:
        rooms = self._hall.rooms
        counted: dict[RoomId, int] = {}
        for room, count in members.items():
            record = rooms.get(room)
            if record and (record.owner, record.incarnation) == (lease.node, lease.incarnation):
                rooms[room] = msgspec.structs.replace(record, members=count, peak=max(record.peak, count))
                counted[room] = count
        self._hall.publish(MembersCounted(lease.node, counted))

    async def release(self, node: NodeName, incarnation: Incarnation) -> bool:
        return await self.declare_dead(node, incarnation, why="released")

    async def declare_dead(self, node: NodeName, incarnation: Incarnation, *, why: str) -> bool:
        self._hall.answer()
        return self._hall.bury(node, incarnation, why=why)

    async def live_nodes(self) -> LiveNodes:
        hall = self._hall
        hall.answer()
        nodes = [LiveNode(held.lease, held.lapses_at - hall.now) for held in hall.leases().values()]
        return LiveNodes(hall.generation, hall.server_at_ms, nodes, hall.number, hall.lapsed(), hall.settles_in)
