"""Reading a room's whole log for the checker: from the store, or by `history` as any member may."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from director.contract.ids import RoomId, Seq
from loadtest.client import HallClient
from loadtest.contract.history import seen_of
from loadtest.core.findings import StoredEntry, StoredLog
from persistence.contract.messages import Entry
from persistence.contract.store import RoomHistory, RoomLog, StoreAudit
from shard_node.contract.events import MAX_PAGE

_STORE_PAGE = 2_000
_STORE_BYTES = 16 * 1024 * 1024


class LogReader(Protocol):
    """Reads logs as they stand."""

    async def read(self, room: RoomId) -> StoredLog:
        """The room's whole log."""
        ...


class StoreLogs:
    """Reads from the store: entries, and the owner records that the checker judges epochs by.

    With `rows` the log may have been pruned: what is missing at a log's beginning was let go for its age. Without
    them a log that does not begin with 1 has a hole.
    """

    def __init__(self, history: RoomHistory, audit: StoreAudit, *, rows: RoomLog | None = None) -> None:
        self._history, self._audit, self._rows = history, audit, rows

    async def read(self, room: RoomId) -> StoredLog:
        entries: list[StoredEntry] = []
        more = True
        while more:
            after = entries[-1].seen.seq if entries else Seq(0)
            page = await self._history.read_after(room, after=after, limit=_STORE_PAGE, max_bytes=_STORE_BYTES)
            entries += _stored(page.entries)
            more = page.more
        owners = tuple(await self._audit.read_owners(room))
        if self._rows is None:
            return StoredLog(tuple(entries), owners)
        state = (await self._rows.row_states([room])).get(room)
        return StoredLog(tuple(entries), owners, _pruned(entries, last=0 if state is None else state.last_seq))


class MemberLogs:
    """Reads through one member of each room, by `history`; knows nothing of owners. `may_be_pruned` as above."""

    def __init__(self, members: Iterable[HallClient], *, may_be_pruned: bool = False) -> None:
        self._member_of = {member.room: member for member in members}
        self._may_be_pruned = may_be_pruned

    async def read(self, room: RoomId) -> StoredLog:
        entries: list[StoredEntry] = []
        more = True
        while more:
            after = entries[-1].seen.seq if entries else 0
            page = await self._member_of[room].history(after=after, limit=MAX_PAGE)
            entries += _stored(page.entries)
            more = page.more
        position = self._member_of[room].position
        last = 0 if position is None else position.seq
        return StoredLog(tuple(entries), None, _pruned(entries, last=last) if self._may_be_pruned else 0)


def _pruned(entries: Sequence[StoredEntry], *, last: int) -> int:
    """The last number of what is missing at the beginning of a log whose last number is `last`."""
    return entries[0].seen.seq - 1 if entries else last


def _stored(entries: Iterable[Entry]) -> list[StoredEntry]:
    return [StoredEntry(seen_of([entry])[0], entry.at) for entry in entries]
