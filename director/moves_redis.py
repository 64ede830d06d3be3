"""Moves of rooms in Redis: the part of RoomOwners that brings a room from a node that lives to another."""

from collections.abc import Sequence

import msgspec

from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.ownership import Asked, Claimed, Outrun, PastMove, RoomRecord, Unfit
from director.records_redis import aim_of, asked_or_outrun, claimed_or_outrun, identity_of
from director.redis_client import HallRedis, node_key, past_key, room_key

_past_decoder = msgspec.json.Decoder(PastMove)


class RedisMoves:
    """The moves over one HallRedis; `ownership_redis` has the rest of the port."""

    def __init__(self, hall: HallRedis) -> None:
        self._hall = hall

    async def ask_move(
        self, record: RoomRecord, *, to: NodeName, incarnation: Incarnation, why: str
    ) -> Asked | Outrun | Unfit:
        args = [record.room, *identity_of(record), to, incarnation, why]
        outcome, answer = await self._hall.run("room_ask_move", [room_key(record.room), node_key(to)], args)
        return Unfit() if outcome == "unfit" else asked_or_outrun(outcome, answer)

    async def note_warm(self, record: RoomRecord) -> Asked | Outrun:
        return asked_or_outrun(*await self._hall.run("room_warmed", [room_key(record.room)], _aimed(record)))

    async def cancel_move(self, record: RoomRecord) -> Asked | Outrun:
        return asked_or_outrun(*await self._hall.run("room_cancel_move", [room_key(record.room)], _aimed(record)))

    async def hand_over(self, record: RoomRecord) -> Claimed | Outrun | Unfit:
        keys = [room_key(record.room), node_key(record.target or NodeName("")), past_key(record.room)]
        outcome, answer = await self._hall.run("room_hand_over", keys, _aimed(record))
        return Unfit() if outcome == "unfit" else claimed_or_outrun(outcome, answer)

    async def take_back(self, record: RoomRecord, *, node: NodeName, incarnation: Incarnation) -> Claimed | Outrun:
        keys = [room_key(record.room), node_key(node), past_key(record.room)]
        args = [record.room, *identity_of(record), node, incarnation]
        return claimed_or_outrun(*await self._hall.run("room_take_back", keys, args))

    async def past_moves(self, room: RoomId) -> Sequence[PastMove]:
        async with self._hall.asked() as redis:
            told = await redis.lrange(past_key(room), 0, -1)
        return [_past_decoder.decode(move) for move in told]


def _aimed(record: RoomRecord) -> list[str | int]:
    return [record.room, *aim_of(record)]
