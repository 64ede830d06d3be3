"""Erasure: one person's messages become numbered tombstones, in every room and at once for every reader.

1. A message or question keeps its number, time, kind, role and `reply_to`, and loses its text. Of its author nothing
   stays that names him or ties two rooms together: the id becomes one drawn for this room, the name is empty, `cid` and
   digest are written over. Other entries of the person (notices, modes, deletions) lose the author alone: a notice is
   the room's word, and the standing notice and mode are never touched.
2. A node that serves the room holds its newest entries in memory, so the eraser becomes the room's owner for a moment,
   by the fence's own rule: the transaction that takes the last text away raises the row's epoch under its lock. From
   that commit on the node's word counts no more; it learns so at its next batch or look at its rows, drops the room,
   and its next owner reads the tombstones.
3. Members that come back with their position are told by `delete` entries, which the same transaction adds for those
   among the newest entries, to take the text from their screens.
4. What is older than any node holds goes first, in small transactions without a fence.

Stopped anywhere, it goes on when it is begun anew, and it does nothing where there is nothing left. What the person
sends afterwards is new, also a retry of something that was erased: its `cid` is forgotten.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, String, case, cast, func, insert, literal, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from director.contract.ids import RoomId, Seq, UserId
from persistence import schema
from persistence.contract.messages import Kind
from persistence.contract.store import RoomState
from persistence.upkeep import Upkeep, lock_room

NEWEST = 1_000
"""How many of a room's last numbers a node may hold in memory: 500, and what it has committed and not shown."""

MAX_ERASED_AT_ONCE = 500
FORGOTTEN_DIGEST = bytes(8)

_FORGOTTEN = "erased-"
_SPOKEN = (Kind.MESSAGE.value, Kind.QUESTION.value)


@dataclass(frozen=True, slots=True)
class Written:
    """How many entries a room has from one person."""

    room: RoomId
    count: int


class Erasure:
    """Finds and erases what one person wrote. `draw` gives that many random bytes. Raises StoreUnavailable."""

    def __init__(self, upkeep: Upkeep, *, draw: Callable[[int], bytes]) -> None:
        self._upkeep = upkeep
        self._draw = draw

    async def find(self, user: UserId, *, room: RoomId | None = None) -> AsyncIterator[Written]:
        """The rooms in which the person has written; of one room if one is named."""
        entries = schema.entries.c
        async for rows in self._upkeep.room_slices(room=room):
            counts = (
                select(entries.room, func.count().label("written"))
                .where(entries.room.in_([row.room for row in rows]), entries.author == user)
                .group_by(entries.room)
                .order_by(entries.room)
            )
            async with self._upkeep.reading() as connection:
                found = (await connection.execute(counts)).all()
            for row in found:
                yield Written(RoomId(row.room), row.written)

    async def erase(self, room: RoomId, user: UserId, *, now_ms: int) -> AsyncIterator[int]:
        """Erase what the person wrote in a room, and give after each commit how many entries it was. After the last one
        nothing of it is in the store, and the room's former owner is fenced."""
        stranger = UserId(f"{_FORGOTTEN}{self._draw(8).hex()}")
        while True:
            async with self._upkeep.writing() as connection:
                state = await lock_room(connection, room)
                if state is None:
                    return
                newest: Sequence[Row[Any]] = ()
                old = await _entries_of(connection, room, user, up_to=Seq(state.last_seq - NEWEST))
                if not old:
                    newest = await _entries_of(connection, room, user, up_to=None)
                    await self._erase_newest(connection, room, state, newest, stranger, now_ms)
                else:
                    await _make_tombstones(connection, room, [row.seq for row in old], stranger)
            yield len(old or newest)
            if not old:
                return

    async def _erase_newest(
        self,
        connection: AsyncConnection,
        room: RoomId,
        state: RoomState,
        newest: Sequence[Row[Any]],
        stranger: UserId,
        now_ms: int,
    ) -> None:
        """Also where the room's newest entries are none of the person's: an owner that lags may hold older ones."""
        await _make_tombstones(connection, room, [row.seq for row in newest], stranger)
        epoch, nobody = state.epoch + 1, f"erasure-{self._draw(8).hex()}"
        at = max(now_ms, state.last_at)
        shown = sorted(row.seq for row in newest if row.kind in _SPOKEN and not row.deleted)
        role_of = {row.seq: row.author_role for row in newest}
        deletions = [
            {
                "room": room,
                "seq": number,
                "epoch": epoch,
                "at": at,
                "kind": Kind.DELETE.value,
                "cid": f"{_FORGOTTEN}{number}",
                "author": stranger,
                "author_name": "",
                "author_role": role_of[target],
                "target": target,
                "deleted": False,
                "digest": FORGOTTEN_DIGEST,
            }
            for number, target in enumerate(shown, state.last_seq + 1)
        ]
        owner = {"room": room, "epoch": epoch, "owner_inc": nobody, "first_seq": state.last_seq + 1}
        row = {"epoch": epoch, "owner_inc": nobody}
        if deletions:
            await connection.execute(insert(schema.entries), deletions)
            row |= {"last_seq": state.last_seq + len(deletions), "last_at": at}
        await connection.execute(insert(schema.owners), owner)
        await connection.execute(update(schema.rooms).where(schema.rooms.c.room == room).values(row))


async def _entries_of(
    connection: AsyncConnection, room: RoomId, user: UserId, *, up_to: Seq | None
) -> Sequence[Row[Any]]:
    """All of a person's entries in a room; of those up to a number as many as may be erased at once."""
    entries = schema.entries.c
    wanted: Select[Any] = select(entries.seq, entries.kind, entries.deleted, entries.author_role)
    wanted = wanted.where(entries.room == room, entries.author == user)
    if up_to is not None:
        wanted = wanted.where(entries.seq <= up_to).limit(MAX_ERASED_AT_ONCE)
    rows: Sequence[Row[Any]] = (await connection.execute(wanted)).all()
    return rows


async def _make_tombstones(connection: AsyncConnection, room: RoomId, seqs: Sequence[Seq], stranger: UserId) -> None:
    entries = schema.entries
    is_spoken = entries.c.kind.in_(_SPOKEN)
    for start in range(0, len(seqs), MAX_ERASED_AT_ONCE):
        some = seqs[start : start + MAX_ERASED_AT_ONCE]
        await connection.execute(
            update(entries)
            .where(entries.c.room == room, entries.c.seq.in_(some))
            .values(
                text=case((is_spoken, null()), else_=entries.c.text),
                deleted=case((is_spoken, True), else_=entries.c.deleted),
                author=stranger,
                author_name="",
                cid=literal(_FORGOTTEN) + cast(entries.c.seq, String),
                digest=FORGOTTEN_DIGEST,
            )
        )
