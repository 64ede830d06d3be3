"""Retention: old entries are let go, from the oldest on, a few at a time.

A room's row is never touched: its last number, mode and notice stay, so numbers go on where they were and a member that
comes back with a position below what is left is told `too_far`. What was let go is forgotten with its `cid`: the same
send once more would be a new entry, which is why nothing younger than `core.ages.MIN_AGE` goes.

`at` never falls within a log, so what is older than an instant is a stretch at its beginning, and its end is found by
halving; stopped anywhere, pruning leaves a log that begins later and has no hole.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, select

from director.contract.ids import RoomId, Seq
from persistence import schema
from persistence.upkeep import Upkeep, lock_room

MAX_REMOVED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Stale:
    """The entries of a room that may go: all from `first` to `last`."""

    room: RoomId
    first: Seq
    last: Seq

    @property
    def count(self) -> int:
        return self.last - self.first + 1


class Retention:
    """Finds and removes what is older than an instant, in Unix milliseconds. Raises StoreUnavailable."""

    def __init__(self, upkeep: Upkeep) -> None:
        self._upkeep = upkeep

    async def find(self, *, before_ms: int, room: RoomId | None = None) -> AsyncIterator[Stale]:
        """What may go, room by room; a few reads for each room, however many entries it has."""
        rooms, entries = schema.rooms.c, schema.entries.c
        first = select(func.min(entries.seq)).where(entries.room == rooms.room).scalar_subquery().label("first")
        async for rows in self._upkeep.room_slices(rooms.last_seq, rooms.last_at, first, room=room):
            for row in rows:
                if row.first is not None and (last := await self._last_before(row, before_ms)) is not None:
                    yield Stale(RoomId(row.room), Seq(row.first), last)

    async def prune(self, stale: Stale, *, before_ms: int) -> AsyncIterator[int]:
        """Remove what was found, and give after each commit how many entries it removed. Stop at any time; to begin
        anew is to go on."""
        entries = schema.entries
        for first in range(stale.first, stale.last + 1, MAX_REMOVED_AT_ONCE):
            last = min(first + MAX_REMOVED_AT_ONCE - 1, stale.last)
            async with self._upkeep.writing() as connection:
                await lock_room(connection, stale.room)
                removed = await connection.execute(
                    delete(entries).where(
                        entries.c.room == stale.room, entries.c.seq.between(first, last), entries.c.at < before_ms
                    )
                )
            yield removed.rowcount

    async def _last_before(self, row: Row[Any], before_ms: int) -> Seq | None:
        """The last number of a room whose entry is older; None if its first is not."""
        if row.last_at < before_ms:
            return Seq(row.last_seq)
        if not await self._is_before(row.room, row.first, before_ms):
            return None
        old, young = row.first, row.last_seq
        while young - old > 1:
            middle = (old + young) // 2
            if await self._is_before(row.room, middle, before_ms):
                old = middle
            else:
                young = middle
        return Seq(old)

    async def _is_before(self, room: str, seq: int, before_ms: int) -> bool:
        entries = schema.entries.c
        async with self._upkeep.reading() as connection:
            at = await connection.scalar(select(entries.at).where(entries.room == room, entries.seq == seq))
        return at is None or at < before_ms  # one that is gone has just been pruned by somebody else
