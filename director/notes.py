"""Notes: what happened in the fleet of late, for operators. Made from the notices, as this director heard them.

What a snapshot brought (after a gap, or another generation) is told by no note: it may have happened long ago.
"""

from collections import deque
from collections.abc import Callable, Sequence

from director.contract.admin import Note
from director.contract.ids import NodeName, RoomId
from director.contract.ownership import (
    Interrupted,
    MembersCounted,
    NodeChanged,
    NodeGone,
    Notice,
    OrdersChanged,
    RoomChanged,
    RoomGone,
    RoomRecord,
)

MAX_NOTES = 200


class Notes:
    """The latest 200 notes, numbered from 1. `now_ms` is Unix time by Redis' clock."""

    def __init__(self, *, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._notes: deque[Note] = deque(maxlen=MAX_NOTES)
        self._moving: dict[RoomId, RoomRecord] = {}
        self.number = 0

    def hear(self, notice: Notice | Interrupted) -> None:
        """Note what a notice tells; cheap."""
        match notice:
            case RoomChanged(record=record, replaced=replaced):
                self._hear_of_room(record, replaced=replaced)
            case RoomGone(room=room):
                self._moving.pop(room, None)
                self._note(Note(self._now_ms(), "room_gone", room=room))
            case NodeChanged(lease=lease):
                self._note(Note(self._now_ms(), "node_changed", node=lease.node, state=lease.state))
            case NodeGone(node=node, why=why):
                self._note(Note(self._now_ms(), "node_gone", node=node, why=why))
            case OrdersChanged():
                self._note(Note(self._now_ms(), "orders_changed"))
            case Interrupted():
                # The end of a move may have been missed.
                self._moving.clear()
            case MembersCounted():
                pass

    def after(self, number: int) -> Sequence[Note]:
        """The notes after that one, in order; the first says how many are lost, if any are."""
        wanted = self.number - number
        kept = list(self._notes)[max(0, len(self._notes) - wanted) :] if wanted > 0 else []
        lost = max(0, wanted - len(kept)) if number else 0
        return [Note(self._now_ms(), "notes_skipped", count=lost), *kept] if lost else kept

    def _hear_of_room(self, record: RoomRecord, *, replaced: bool) -> None:
        asked = self._moving.pop(record.room, None)
        if record.target is not None:
            self._moving[record.room] = record
            if asked is None or asked.target != record.target:
                self._note_room("move_asked", record, node=record.target, source=record.owner, why=record.target_why)
        elif asked is not None and record.owner == asked.target:
            self._note_room("room_moved", record, node=record.owner, source=asked.owner, why=record.why)
        elif asked is not None and record.owner == asked.owner:
            self._note_room("move_given_up", record, node=asked.target, source=asked.owner, why=asked.target_why)
        else:
            kind = "room_moved" if replaced and record.why == "taken_back" else "room_claimed"
            self._note_room(kind, record, node=record.owner, source=asked.owner if asked else None, why=record.why)

    def _note_room(
        self, kind: str, record: RoomRecord, *, node: NodeName | None, source: NodeName | None, why: str
    ) -> None:
        note = Note(self._now_ms(), kind, room=record.room, node=node, source=source, why=why, epoch=record.epoch)
        self._note(note)

    def _note(self, note: Note) -> None:
        self._notes.append(note)
        self.number += 1
