"""Room records in Redis: the adapter of RoomOwners."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import msgspec
from redis.asyncio.client import PubSub

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.ownership import Claimed, Interrupted, Notice, Outrun, RoomRecord, Settling, Snapshot, Unfit
from director.moves_redis import RedisMoves
from director.records_redis import FIELDS, claimed_or_outrun, identity_of, record_of
from director.redis_client import META, ROOMS, heeding_cancellation, node_key, past_key, room_key

_PAGE = 500
_ASSERTED_AT_ONCE = 32
_PING_AFTER = 2.0
_FIRST_PAUSE = 0.05
_MAX_PAUSE = 1.0

_notice_decoder: msgspec.json.Decoder[Notice] = msgspec.json.Decoder(Notice)


class RedisRoomOwners(RedisMoves):
    """RoomOwners over one HallRedis."""

    async def claim(
        self, room: RoomId, *, node: NodeName, incarnation: Incarnation, replacing: RoomRecord | None, why: str
    ) -> Claimed | Outrun | Unfit | Settling:
        args: list[str | int] = [room, node, incarnation, why]
        args += ["", "", ""] if replacing is None else identity_of(replacing)
        keys = [room_key(room), ROOMS, node_key(node), past_key(room)]
        outcome, answer = await self._hall.run("room_claim", keys, args)
        match outcome:
            case "unfit":
                return Unfit()
            case "settling":
                return Settling(int(answer) / 1000)
            case _:
                return claimed_or_outrun(outcome, answer)

    async def renew_claim(
        self, room: RoomId, *, node: NodeName, incarnation: Incarnation, epoch: Epoch, floor: Epoch
    ) -> Claimed | Outrun:
        args: list[str | int] = [room, node, incarnation, epoch, floor]
        return claimed_or_outrun(*await self._hall.run("room_renew_claim", [room_key(room)], args))

    async def assert_owned(self, records: Sequence[RoomRecord]) -> Sequence[Claimed | Outrun]:
        answers: list[Claimed | Outrun] = []
        for start in range(0, len(records), _ASSERTED_AT_ONCE):
            page = records[start : start + _ASSERTED_AT_ONCE]
            answers += await asyncio.gather(*(self._assert_one(record) for record in page))
        return answers

    async def _assert_one(self, record: RoomRecord) -> Claimed | Outrun:
        args: list[str | int] = [record.room, *identity_of(record)]
        args += [record.why, record.members, record.peak, record.moves]
        return claimed_or_outrun(*await self._hall.run("room_assert", [room_key(record.room), ROOMS], args))

    async def release(self, room: RoomId, *, node: NodeName, incarnation: Incarnation, epoch: Epoch) -> bool:
        args: list[str | int] = [room, node, incarnation, epoch]
        return bool(await self._hall.run("room_release", [room_key(room), ROOMS], args))

    async def room_record(self, room: RoomId) -> RoomRecord | None:
        return (await self._records([room]))[0]

    async def snapshot(self) -> Snapshot:
        while True:
            generation, number = await self._hall.run("meta", [], [])
            async with self._hall.asked() as redis:
                rooms = [RoomId(str(room)) for room in await redis.smembers(ROOMS)]
            records: list[RoomRecord] = []
            for start in range(0, len(rooms), _PAGE):
                page = await self._records(rooms[start : start + _PAGE])
                records += [record for record in page if record is not None]
            async with self._hall.asked() as redis:
                if await redis.hget(META, "generation") == generation:
                    return Snapshot(generation, int(number), records)

    async def _records(self, rooms: Sequence[RoomId]) -> list[RoomRecord | None]:
        async with self._hall.asked() as redis:
            pipeline = redis.pipeline(transaction=False)
            for room in rooms:
                pipeline.hmget(room_key(room), FIELDS)
            answers = await pipeline.execute()
        return [record_of(room, fields) for room, fields in zip(rooms, answers, strict=True)]

    async def notices(self) -> AsyncIterator[Notice | Interrupted]:
        pause = _FIRST_PAUSE
        while True:
            with suppress(ControlPathUnavailable):
                async with self._hall.subscribed() as pubsub:
                    pause = _FIRST_PAUSE
                    yield Interrupted()
                    while True:
                        yield await _next_notice(pubsub)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)


async def _next_notice(pubsub: PubSub) -> Notice:
    """The next notice. Raises ControlPathUnavailable when the connection breaks, or answers no ping.

    What this version cannot read (a newer director's kind of notice) is left out: its number then makes a gap.
    """
    is_pong_due = False
    while True:
        with heeding_cancellation():
            message = await pubsub.get_message(timeout=_PING_AFTER)
            if message is None:
                if is_pong_due:
                    raise ControlPathUnavailable("the connection for notices is silent")
                await pubsub.ping()
                is_pong_due = True
                continue
        is_pong_due = False
        if message["type"] == "message":
            with suppress(msgspec.DecodeError):
                return _notice_decoder.decode(message["data"])
