"""Catching up: what a member that reads again is shown of what it lacks (design, section 4: lanes; protocol 5: gap).

1. Who lacks little is shown all of it, frame by frame.
2. Who lacks more than 200 entries or 128 KiB, or what the room no longer holds, is skipped forward to the newest 50: a
   slow reader is never fed what it could not take the first time. Of what is skipped it is told the lecture's entries.
3. Where not even those are held any more, only a new join can tell what was missed.

A step at a time: what does not fit into one frame or one gap is decided anew, when the member has read that.
"""

from dataclasses import dataclass

import msgspec

from director.contract.ids import Seq
from shard_node.core.frame_cut import MAX_FRAME_BYTES, cut
from shard_node.core.lecture import LectureEntries
from shard_node.core.recent import RecentEntries

MAX_REST = 200
MAX_REST_BYTES = 128 * 1024
TAIL = 50


@dataclass(frozen=True, slots=True)
class Rest:
    """The next entries, without a hole."""

    entries: tuple[msgspec.Raw, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing up to `to` but these entries."""

    to: Seq
    entries: tuple[msgspec.Raw, ...]


@dataclass(frozen=True, slots=True)
class TooFar:
    """It must join again."""


def next_of(shown: Seq, *, recent: RecentEntries, lecture: LectureEntries) -> Rest | Skip | TooFar:
    """What comes next for a member that has been shown everything up to `shown`, which is below the head."""
    if recent.covers(shown) and recent.head - shown <= MAX_REST and recent.size_after(shown) <= MAX_REST_BYTES:
        return Rest(next(cut(recent.after(shown))))
    if shown < lecture.complete_after:
        return TooFar()
    to = Seq(recent.head - recent.newest_within(TAIL, MAX_FRAME_BYTES))
    told = list(lecture.between(shown, to))
    entries = next(cut([entry for _, entry in told]), ())
    if len(entries) < len(told):
        to = Seq(told[len(entries)][0] - 1)
    return Skip(to, entries)
