"""Reading a room's whole log for the checker: from the store, or by `history` as any member may."""

from collections.abc import Iterable
from typing import Protocol

from director.contract.ids import RoomId, Seq
from loadtest.client import HallClient
from loadtest.contract.history import seen_of
from loadtest.core.findings import StoredEntry, StoredLog
from persistence.contract.messages import Entry
from persistence.contract.store import RoomHistory, StoreAudit
from shard_node.contract.events import MAX_PAGE

_STORE_PAGE = 2_000
_STORE_BYTES = 16 * 1024 * 1024


class LogReader(Protocol):
    """Reads logs as they stand."""

    async def read(self, room: RoomId) -> StoredLog:
        """The room's whole log."""
        ...


class StoreLogs:
    """Reads from the store: entries, and the owner records that the checker judges epochs by."""

    def __init__(self, history: RoomHistory, audit: StoreAudit) -> None:
        self._history, self._audit = history, audit

    async def read(self, room: RoomId) -> StoredLog:
        entries: list[StoredEntry] = []
        more = True
        while more:
            after = entries[-1].seen.seq if entries else Seq(0)
            page = await self._history.read_after(room, after=after, limit=_STORE_PAGE, max_bytes=_STORE_BYTES)
            entries += _stored(page.entries)
            more = page.more
        return StoredLog(tuple(entries), tuple(await self._audit.read_owners(room)))


class MemberLogs:
    """Reads through one member of each room, by `history`; knows nothing of owners."""

    def __init__(self, members: Iterable[HallClient]) -> None:
        self._member_of = {member.room: member for member in members}

    async def read(self, room: RoomId) -> StoredLog:
        entries: list[StoredEntry] = []
        more = True
        while more:
            after = entries[-1].seen.seq if entries else 0
            page = await self._member_of[room].history(after=after, limit=MAX_PAGE)
            entries += _stored(page.entries)
            more = page.more
        return StoredLog(tuple(entries), None)


def _stored(entries: Iterable[Entry]) -> list[StoredEntry]:
    return [StoredEntry(seen_of([entry])[0], entry.at) for entry in entries]
