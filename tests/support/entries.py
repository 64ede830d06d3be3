"""Entries, drafts and authors for tests."""

from director.contract.ids import Epoch, Incarnation, LogId, Role, Seq, UserId
from persistence.contract.messages import Author, Draft, Entry, Kind, Mode
from persistence.contract.store import RoomState

STUDENT = Author(UserId("ann"), "Ann", Role.STUDENT)
OTHER = Author(UserId("ben"), "Ben", Role.STUDENT)
LECTURER = Author(UserId("lee"), "Prof. Lee", Role.LECTURER)


def message(seq: int, text: str = "hello", *, by: Author = STUDENT) -> Entry:
    """A message with this number."""
    return Entry(Seq(seq), at=1_000 + seq, kind=Kind.MESSAGE, cid=f"c{seq}", by=by, text=text)


def deletion(seq: int, target: int, *, by: Author = LECTURER) -> Entry:
    """The entry that deletes `target`."""
    return Entry(Seq(seq), at=1_000 + seq, kind=Kind.DELETE, cid=f"c{seq}", by=by, target=Seq(target))


def mode_change(seq: int, mode: Mode, slow_ms: int = 0) -> Entry:
    """The entry that changes who may send."""
    return Entry(Seq(seq), at=1_000 + seq, kind=Kind.MODE, cid=f"c{seq}", by=LECTURER, mode=mode, slow_ms=slow_ms)


def notice(seq: int, text: str | None) -> Entry:
    """The entry that puts up a notice or takes it down."""
    return Entry(Seq(seq), at=1_000 + seq, kind=Kind.NOTICE, cid=f"c{seq}", by=LECTURER, text=text)


def draft(cid: str = "c", text: str = "hello", *, by: Author = STUDENT) -> Draft:
    """A message to be."""
    return Draft(cid, by, Kind.MESSAGE, text=text)


def mode_draft(mode: Mode, slow_ms: int = 0, *, cid: str = "m") -> Draft:
    """A change of mode to be."""
    return Draft(cid, LECTURER, Kind.MODE, mode=mode, slow_ms=slow_ms)


def room_state(*, head: int = 0, mode: Mode = Mode.OPEN, slow_ms: int = 0, epoch: int = 3) -> RoomState:
    """A room's row."""
    return RoomState(
        log=LogId("log-1"),
        epoch=Epoch(epoch),
        incarnation=Incarnation("inc-1"),
        last_seq=Seq(head),
        last_at=1_000 + head,
        mode=mode,
        slow_ms=slow_ms,
        notice=None,
    )
