"""Export: a room's log as text, from its first entry to the head that it had when the export began."""

from collections.abc import AsyncIterator

from director.contract.ids import RoomId, Seq
from persistence.contract.store import RoomHistory, RoomLog
from persistence.core.export_formats import Format
from persistence.core.lecture_clock import LectureClock, Pause, with_pauses

PAGE_ENTRIES = 1_000
PAGE_BYTES = 4 * 1024 * 1024


class NoSuchRoom(Exception):
    """The store has no row for the room."""


async def head_of(log: RoomLog, room: RoomId) -> Seq:
    """The last number of a room. Raises NoSuchRoom, StoreUnavailable."""
    state = (await log.row_states([room])).get(room)
    if state is None:
        raise NoSuchRoom(room)
    return state.last_seq


async def export_texts(
    history: RoomHistory,
    room: RoomId,
    *,
    head: Seq,
    shape: Format,
    start_at: int | None = None,
    pauses: tuple[Pause, ...] = (),
) -> AsyncIterator[tuple[Seq, str]]:
    """The room's log in pieces, each with the last number in it; joined they are the whole file.

    A deletion that was committed before a piece was read is applied in it. The lecture's clock begins at `start_at`
    (Unix milliseconds), or at the first entry. Raises StoreUnavailable, and ValueError for pauses that cannot be.
    """
    clock = None if start_at is None else LectureClock(start_at, pauses)
    coming = list(pauses)
    last = Seq(0)
    yield last, shape.head
    while last < head:
        page = await history.read_after(room, after=last, limit=PAGE_ENTRIES, max_bytes=PAGE_BYTES)
        entries = [entry for entry in page.entries if entry.seq <= head]
        if not entries:
            break
        if clock is None:
            clock = LectureClock(entries[0].at, pauses)
        last = entries[-1].seq
        yield last, "".join([shape.text_of(item, clock) for item in with_pauses(entries, coming)])
