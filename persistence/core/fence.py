"""The fence: whose word a room's row takes (design, invariant 1).

1. A row names one owner: an epoch and the incarnation of a node. Nobody else's entries are committed.
2. A row passes to an owner of a higher epoch, never to one of a lower or of the same.
3. The owner that stands may open again; nothing changes by that.
"""

from dataclasses import replace

from director.contract.ids import Epoch, Incarnation, LogId, Seq
from persistence.contract.messages import Mode
from persistence.contract.store import Behind, Opened, RoomState


def takes_word_of(state: RoomState, *, epoch: Epoch, incarnation: Incarnation) -> bool:
    """Whether the row names exactly this owner."""
    return state.epoch == epoch and state.incarnation == incarnation


def judge_opening(
    state: RoomState | None, *, epoch: Epoch, incarnation: Incarnation, fresh_log: LogId
) -> Opened | Behind:
    """What a room's row becomes when (epoch, incarnation) opens it; `state` is None for a room without a row.

    An Opened whose state is `state` itself needs no write; any other is to be written together with its owner record.
    """
    if state is None:
        return Opened(
            RoomState(
                log=fresh_log,
                epoch=epoch,
                incarnation=incarnation,
                last_seq=Seq(0),
                last_at=0,
                mode=Mode.OPEN,
                slow_ms=0,
                notice=None,
            )
        )
    if takes_word_of(state, epoch=epoch, incarnation=incarnation):
        return Opened(state)
    if state.epoch < epoch:
        return Opened(replace(state, epoch=epoch, incarnation=incarnation))
    return Behind(state.epoch)
