"""The store's writing transactions, step by step: the same for every database (asks says how they are run).

1. Nothing is read before the rooms' rows are locked but those rows themselves, and what is then read is what counts:
   a batch or a fence of somebody else was either before it as a whole, or comes after it.
2. Rooms are locked in the order of their ids, all at once, so that no two batches wait for each other.
3. An opening locks one room only, so that it never waits with a locked one.
"""

from collections.abc import Mapping, Sequence

from director.contract.ids import Epoch, Incarnation, LogId, RoomId, Seq, UserId
from persistence.asks import (
    AddEntries,
    AddOwner,
    AddRoom,
    BackToMark,
    FindCids,
    FindTargets,
    HandOver,
    LockRooms,
    MoveRooms,
    RoomFault,
    SetMark,
    Steps,
    TakeTexts,
)
from persistence.contract.messages import Kind
from persistence.contract.store import Behind, Fenced, Opened, Outcome, RoomBatch, Unsettled
from persistence.core.batch import BatchPlan, Target, authored_cids_of, plan_batch, references_of
from persistence.core.fence import judge_opening
from persistence.rows import duplicates_of, entry_values, room_values, states_of

Outcomes = dict[RoomId, tuple[Outcome, ...]]


def opening(room: RoomId, *, epoch: Epoch, incarnation: Incarnation, fresh_log: LogId) -> Steps[Opened | Behind]:
    """RoomLog.open_room as one transaction."""
    while True:
        state = states_of((yield LockRooms((room,)))).get(room)
        verdict = judge_opening(state, epoch=epoch, incarnation=incarnation, fresh_log=fresh_log)
        if isinstance(verdict, Behind) or verdict.state is state:
            return verdict
        if state is not None:
            yield HandOver(room, epoch, incarnation)
        elif not (yield AddRoom(room_values(room, verdict.state))):
            continue  # there was no row to lock, and another node has added it meanwhile
        yield AddOwner(room, epoch, incarnation, Seq(verdict.state.last_seq + 1))
        return verdict


def appending(batches: Sequence[RoomBatch]) -> Steps[Outcomes]:
    """RoomLog.append_batch as one transaction. Raises RoomFault if one room's part cannot be written."""
    states = states_of((yield LockRooms([batch.room for batch in batches])))
    opened = [batch for batch in batches if batch.room in states]
    cids = [(batch.room, author, cid) for batch in opened for author, cid in authored_cids_of(batch)]
    known = duplicates_of((yield FindCids(cids)) if cids else ())
    pointed_at = [
        (batch.room, seq) for batch in opened for seq in references_of(batch, last_seq=states[batch.room].last_seq)
    ]
    targets: dict[RoomId, dict[Seq, Target]] = {}
    for room, seq, author, kind, deleted in (yield FindTargets(pointed_at)) if pointed_at else ():
        targets.setdefault(room, {})[seq] = Target(UserId(author), Kind(kind), bool(deleted))
    plans = {
        batch.room: plan_batch(
            states[batch.room], batch, known=known.get(batch.room, {}), targets=targets.get(batch.room, {})
        )
        for batch in opened
    }
    yield from _writing(plans)
    never_opened = Fenced(Epoch(0))
    return {b.room: plans[b.room].outcomes if b.room in plans else (never_opened,) * len(b.drafts) for b in batches}


def appending_one_by_one(batches: Sequence[RoomBatch]) -> Steps[Outcomes]:
    """As `appending`, but a room whose part cannot be written is left out, and the others are written."""
    outcomes: Outcomes = {}
    yield LockRooms([batch.room for batch in batches])
    for batch in batches:
        yield SetMark()
        try:
            outcomes |= yield from appending([batch])
        except RoomFault as fault:
            yield BackToMark()
            outcomes[batch.room] = (Unsettled(f"the room's entries cannot be stored: {fault}"),) * len(batch.drafts)
    return outcomes


def _writing(plans: Mapping[RoomId, BatchPlan]) -> Steps[None]:
    moving = {room: plan for room, plan in plans.items() if plan.entries}
    if moving:
        yield AddEntries(
            [
                entry_values(room, plan.state.epoch, entry, digest)
                for room, plan in moving.items()
                for entry, digest in plan.entries
            ]
        )
        yield MoveRooms(
            [
                (room, it.last_seq, it.last_at, it.mode.value, it.slow_ms, it.notice)
                for room, it in ((room, plan.state) for room, plan in moving.items())
            ]
        )
    bare = [(room, seq) for room, plan in plans.items() for seq in plan.bare]
    if bare:
        yield TakeTexts(bare)
