"""What a joining member is given: everything since its position, or a tail and the reason why (protocol, section 3)."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from director.contract.ids import Epoch, LogId
from shard_node.contract.events import Position
from shard_node.core.recent import RecentEntries


@dataclass(frozen=True, slots=True)
class Replay:
    """Everything after the member's position: it has missed nothing."""

    entries: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Reset:
    """The member begins anew with the last entries; `reason` is None for one that came without a position."""

    reason: Literal["too_far", "new_log"] | None
    entries: msgspec.Raw


@dataclass(frozen=True, slots=True)
class StaleOwner:
    """The member was served by a later owner than this one: this node must not admit it."""


def recover(
    since: Position | None, *, tail: int, log: LogId, epoch: Epoch, recent: RecentEntries
) -> Replay | Reset | StaleOwner:
    """Decide by the table of protocol section 3; `log` is compared first."""
    if since is None:
        return Reset(None, recent.answer_last(tail))
    if since.log != log:
        return Reset("new_log", recent.answer_last(tail))
    if is_stale(since, log=log, epoch=epoch):
        return StaleOwner()
    if since.seq > recent.head:
        return Reset("new_log", recent.answer_last(tail))
    if not recent.covers(since.seq):
        return Reset("too_far", recent.answer_last(tail))
    return Replay(recent.answer_after(since.seq))


def is_stale(since: Position, *, log: LogId, epoch: Epoch) -> bool:
    """Whether a later owner of the same log has served the member already."""
    return since.log == log and since.epoch > epoch
