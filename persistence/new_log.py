"""NewLogs: rooms get a new log id, after the store went back in time (protocol, section 1).

A store that was restored from a backup gives numbers once more that clients have seen with other entries behind them.
A new log id tells those clients to begin anew. The row's epoch is raised in the same transaction, so that a node that
still serves the room by what it remembers is fenced.
"""

from collections.abc import AsyncIterator, Callable

from sqlalchemy import bindparam, insert, select, update

from director.contract.ids import RoomId
from persistence import schema
from persistence.upkeep import Upkeep


class NewLogs:
    """Gives rooms new log ids. `draw` gives that many random bytes. Raises StoreUnavailable."""

    def __init__(self, upkeep: Upkeep, *, draw: Callable[[int], bytes]) -> None:
        self._upkeep = upkeep
        self._draw = draw

    async def begin(self, *, room: RoomId | None = None) -> AsyncIterator[int]:
        """A new log for every room, or for one; gives after each commit how many rooms it was."""
        rooms = schema.rooms
        async for names in self._upkeep.room_slices(room=room):
            async with self._upkeep.writing() as connection:
                wanted = (
                    select(rooms.c.room, rooms.c.epoch, rooms.c.last_seq)
                    .where(rooms.c.room.in_([row.room for row in names]))
                    .order_by(rooms.c.room)
                    .with_for_update(key_share=True)
                )
                locked = (await connection.execute(wanted)).all()
                nobody = f"new-log-{self._draw(8).hex()}"
                await connection.execute(
                    _NEW_LOG,
                    [
                        {"of_room": row.room, "log": self._draw(8).hex(), "epoch": row.epoch + 1, "owner_inc": nobody}
                        for row in locked
                    ],
                )
                await connection.execute(
                    insert(schema.owners),
                    [
                        {"room": row.room, "epoch": row.epoch + 1, "owner_inc": nobody, "first_seq": row.last_seq + 1}
                        for row in locked
                    ],
                )
            yield len(locked)


_NEW_LOG = update(schema.rooms).where(schema.rooms.c.room == bindparam("of_room"))
