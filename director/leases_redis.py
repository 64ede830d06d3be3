"""Leases in Redis: the adapter of NodeLeases."""

from collections.abc import Mapping

import msgspec

from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.lease import Forgotten, LiveNode, LiveNodes, Lost, NodeLease, Renewed
from director.redis_client import HallRedis, node_key, room_key

_lease_decoder = msgspec.json.Decoder(NodeLease)


class RedisNodeLeases:
    """NodeLeases over one HallRedis, which should be nobody else's: another's queue must not delay a renewal."""

    def __init__(self, hall: HallRedis) -> None:
        self._hall = hall

    async def acquire(self, lease: NodeLease, *, expire: float) -> Renewed | Lost:
        args = [lease.node, lease.incarnation, lease.state.value, _json(lease), _milliseconds(expire)]
        outcome, life, server_at_ms = await self._hall.run("lease_acquire", [node_key(lease.node)], args)
        return Lost() if outcome == "lost" else Renewed(life, int(server_at_ms))

    async def renew(
        self, lease: NodeLease, *, expire: float, members: Mapping[RoomId, int]
    ) -> Renewed | Lost | Forgotten:
        keys = [node_key(lease.node), *(room_key(room) for room in members)]
        args: list[str | int] = [lease.node, lease.incarnation, lease.state.value, _json(lease)]
        args.append(_milliseconds(expire))
        for room, count in members.items():
            args += [room, count]
        outcome, life, server_at_ms = await self._hall.run("lease_renew", keys, args)
        match outcome:
            case "renewed":
                return Renewed(life, int(server_at_ms))
            case "lost":
                return Lost()
            case _:
                return Forgotten(life)

    async def release(self, node: NodeName, incarnation: Incarnation) -> bool:
        return await self.declare_dead(node, incarnation, why="released")

    async def declare_dead(self, node: NodeName, incarnation: Incarnation, *, why: str) -> bool:
        return bool(await self._hall.run("lease_bury", [], [node, incarnation, why]))

    async def live_nodes(self) -> LiveNodes:
        answer = await self._hall.run("lease_live_nodes", [], [])
        generation, number, server_at_ms, flat, lapsed, settles_in = answer
        leases = [
            LiveNode(_lease_decoder.decode(lease), int(left) / 1000)
            for lease, left in zip(flat[::2], flat[1::2], strict=True)
        ]
        return LiveNodes(
            generation,
            int(server_at_ms),
            leases,
            int(number),
            [_lease_decoder.decode(lease) for lease in lapsed],
            int(settles_in) / 1000,
        )


def _json(lease: NodeLease) -> str:
    return msgspec.json.encode(lease).decode()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
