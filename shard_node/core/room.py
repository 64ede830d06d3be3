"""A room as its owner knows it: the standing state, who may post, and what a committed batch shows to its members."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from director.contract.errors import ErrorCode
from director.contract.ids import Epoch, LogId, RoomId, Seq
from persistence.contract.messages import Draft, Entry, Kind, Mode
from persistence.contract.store import RoomState
from shard_node.contract.events import Frame, RoomSnapshot
from shard_node.core.catch_up import Skip, TooFar, next_of
from shard_node.core.frame_cut import cut
from shard_node.core.lecture import LectureEntries
from shard_node.core.recent import RecentEntries
from shard_node.core.throttle import SlowMode


@dataclass(frozen=True, slots=True)
class Allowed:
    """The draft may be put to the store."""


@dataclass(frozen=True, slots=True)
class Disallowed:
    """The draft is refused, unless an earlier try with its `cid` was committed: look that up before saying so."""

    code: ErrorCode
    message: str
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands in a frame's place for a member that is skipped forward."""

    frame: Frame


class Room:
    """One epoch of a room on this node. Nothing in here waits, and nothing is shown that is not committed."""

    def __init__(self, room: RoomId, state: RoomState, entries: Sequence[Entry]) -> None:
        self.room = room
        self.log: LogId = state.log
        self.epoch: Epoch = state.epoch
        self.mode = state.mode
        self.slow_ms = state.slow_ms
        self.notice = state.notice
        self.recent = RecentEntries(entries, head=state.last_seq)
        self.lecture = LectureEntries(complete_after=Seq(self.recent.first - 1))
        for entry in entries[-len(self.recent) :]:
            self.lecture.append(entry, msgspec.json.encode(entry))
        self.deletions = 0
        self._slow = SlowMode()
        # the mode that the drafts under way will leave behind: a post behind `closed` must not slip in
        self._coming_modes: list[tuple[Mode, int]] = []

    @property
    def head(self) -> Seq:
        return self.recent.head

    def post(self, draft: Draft, now: float) -> Allowed | Disallowed:
        """Decide about a draft at monotonic `now`. What is allowed is noted: call it once for each put."""
        mode, slow_ms = self._coming_modes[-1] if self._coming_modes else (self.mode, self.slow_ms)
        staff = draft.by.role.is_staff
        match draft.kind:
            case Kind.MESSAGE | Kind.QUESTION:
                if mode is Mode.CLOSED or (mode is Mode.STAFF and not staff):
                    who = "nobody" if mode is Mode.CLOSED else "only staff"
                    return Disallowed(ErrorCode.MODE_CLOSED, f"{who} may send in this room now; reading goes on")
                slow = slow_ms / 1000
                if slow and not staff:
                    wait = self._slow.wait_of(draft.by.id, draft.cid, slow=slow, now=now)
                    if wait > 0:
                        return Disallowed(ErrorCode.SLOW_MODE, f"slow mode: wait {wait:.0f} s between messages", wait)
                    self._slow.note(draft.by.id, draft.cid, slow=slow, now=now)
            case Kind.MODE if draft.mode is not None:
                self._coming_modes.append((draft.mode, draft.slow_ms or 0))
            case _:
                pass
        return Allowed()

    def withdraw(self, draft: Draft) -> None:
        """A draft that was allowed came to nothing, or to its entry."""
        if draft.kind is Kind.MODE and draft.mode is not None:
            coming = (draft.mode, draft.slow_ms or 0)
            if coming in self._coming_modes:
                self._coming_modes.remove(coming)

    def show(self, entries: Sequence[Entry]) -> tuple[Frame, ...]:
        """Take committed entries that follow the head, and give the frames that show them; ValueError on a hole."""
        last = self.head
        encoded: list[msgspec.Raw] = []
        gone = {entry.target for entry in entries if entry.kind is Kind.DELETE}
        for entry in [entry.without_text() if entry.seq in gone else entry for entry in entries]:
            encoded.append(msgspec.Raw(self.recent.append(entry)))
            self.lecture.append(entry, encoded[-1])
            self.deletions += entry.kind is Kind.DELETE
            if entry.kind is Kind.NOTICE:
                self.notice = entry.text if isinstance(entry.text, str) else None
            elif entry.kind is Kind.MODE and isinstance(entry.mode, Mode):
                self.mode = entry.mode
                self.slow_ms = entry.slow_ms if isinstance(entry.slow_ms, int) else 0
                if not self.slow_ms:
                    self._slow.clear()
        return self._frames(last, encoded)

    def next_for(self, shown: Seq) -> Frame | Gap | TooFar:
        """What comes next for a member that has been shown everything up to `shown`, which is below the head."""
        step = next_of(shown, recent=self.recent, lecture=self.lecture)
        if isinstance(step, TooFar):
            return step
        if isinstance(step, Skip):
            return Gap(self._frame(shown, step.to, step.entries))
        return self._frame(shown, Seq(shown + len(step.entries)), step.entries)

    def snapshot(self, members: int) -> RoomSnapshot:
        """The standing state at the head."""
        return RoomSnapshot(self.mode, self.slow_ms, self.notice, members)

    def _frames(self, after: Seq, entries: Sequence[msgspec.Raw]) -> tuple[Frame, ...]:
        frames: list[Frame] = []
        for part in cut(entries):
            to = Seq(after + len(part))
            frames.append(self._frame(after, to, part))
            after = to
        return tuple(frames)

    def _frame(self, after: Seq, to: Seq, entries: tuple[msgspec.Raw, ...]) -> Frame:
        return Frame(log=self.log, epoch=self.epoch, from_=Seq(after + 1), to=to, entries=entries)
