"""The store in memory: the twin of the SQL store for tests; it lives as long as its process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from director.contract.ids import Epoch, Incarnation, LogId, RoomId, Seq, UserId
from persistence.contract.messages import Entry
from persistence.contract.store import (
    Behind,
    Duplicate,
    Fenced,
    Opened,
    Outcome,
    OwnerRecord,
    Page,
    RoomBatch,
    RoomState,
)
from persistence.core.batch import Target, plan_batch, references_of
from persistence.core.fence import judge_opening
from persistence.core.page import cut_page

_json = msgspec.json.Encoder()


@dataclass(slots=True)
class _Room:
    state: RoomState
    entries: list[Entry] = field(default_factory=list)
    results: dict[tuple[UserId, str], Duplicate] = field(default_factory=dict)
    owners: list[OwnerRecord] = field(default_factory=list)


class MemoryStore:
    """RoomLog, RoomHistory and StoreAudit over dictionaries; each call is one step that nothing can interleave."""

    def __init__(self) -> None:
        self._rooms: dict[RoomId, _Room] = {}

    async def open_room(
        self, room: RoomId, *, epoch: Epoch, incarnation: Incarnation, fresh_log: LogId
    ) -> Opened | Behind:
        kept = self._rooms.get(room)
        state = kept.state if kept else None
        verdict = judge_opening(state, epoch=epoch, incarnation=incarnation, fresh_log=fresh_log)
        if isinstance(verdict, Opened) and verdict.state is not state:
            kept = self._rooms.setdefault(room, _Room(verdict.state))
            kept.state = verdict.state
            kept.owners.append(OwnerRecord(room, epoch, incarnation, Seq(verdict.state.last_seq + 1)))
        return verdict

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        return {batch.room: self._append(batch) for batch in batches}

    async def row_states(self, rooms: Sequence[RoomId]) -> Mapping[RoomId, RoomState]:
        return {room: self._rooms[room].state for room in rooms if room in self._rooms}

    async def read_before(self, room: RoomId, *, before: Seq | None, limit: int, max_bytes: int) -> Page:
        entries = self._entries_of(room)
        below = entries if before is None else entries[: max(0, before - 1)]
        page = _page_of(below[::-1], limit, max_bytes)
        return Page(page.entries[::-1], page.more)

    async def read_after(self, room: RoomId, *, after: Seq, limit: int, max_bytes: int) -> Page:
        return _page_of(self._entries_of(room)[max(0, after) :], limit, max_bytes)

    async def find(self, room: RoomId, *, author: UserId, cid: str) -> Duplicate | None:
        return self._rooms[room].results.get((author, cid)) if room in self._rooms else None

    async def read_owners(self, room: RoomId) -> Sequence[OwnerRecord]:
        return tuple(self._rooms[room].owners) if room in self._rooms else ()

    def _entries_of(self, room: RoomId) -> list[Entry]:
        return self._rooms[room].entries if room in self._rooms else []

    def _append(self, batch: RoomBatch) -> tuple[Outcome, ...]:
        room = self._rooms.get(batch.room)
        if room is None:
            return (Fenced(Epoch(0)),) * len(batch.drafts)
        pointed_at = (room.entries[seq - 1] for seq in references_of(batch, last_seq=room.state.last_seq))
        targets = {entry.seq: Target(entry.by.id, entry.kind, entry.deleted is True) for entry in pointed_at}
        plan = plan_batch(room.state, batch, known=room.results, targets=targets)
        for seq in plan.bare:
            room.entries[seq - 1] = room.entries[seq - 1].without_text()
        for entry, digest in plan.entries:
            room.entries.append(entry)
            room.results[entry.by.id, entry.cid] = Duplicate(entry.seq, batch.epoch, entry.at, digest)
        room.state = plan.state
        return plan.outcomes


def _page_of(entries: Sequence[Entry], limit: int, max_bytes: int) -> Page:
    return Page(*cut_page(entries, size_of=lambda it: len(_json.encode(it)), limit=limit, max_bytes=max_bytes))
