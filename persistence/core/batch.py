"""A batch: how one room's drafts become numbered entries (design, invariants 1, 3 and 4).

1. From another owner than the row's: every draft is Fenced, nothing changes.
2. A (author, cid) that has an entry already, in the table or earlier in the batch, is a Duplicate of that entry.
3. `reply_to` and `target` are messages or questions of this log, or earlier ones of the batch; a student deletes own
   entries only. Whatever is not so is Unfounded and gets no number.
4. The rest is numbered on from the last number without a hole; `at` never falls.
5. An entry that the same batch deletes leaves it without its text, in the table and in the outcome.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from director.contract.ids import Seq, UserId
from persistence.contract.messages import Draft, Entry, Kind
from persistence.contract.store import Appended, Duplicate, Fenced, Outcome, RoomBatch, RoomState, Unfounded
from persistence.core.fence import takes_word_of

_SPOKEN = frozenset({Kind.MESSAGE, Kind.QUESTION})


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of an entry that a draft points at."""

    author: UserId
    kind: Kind
    deleted: bool


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What is to be written for one room, and what to answer.

    `entries` are new, each with its draft's digest, by ascending number; `bare` are numbers of entries in the table
    whose text is to be taken away; `state` is the row as it will be, the very object given if nothing changes.
    """

    outcomes: tuple[Outcome, ...]
    entries: tuple[tuple[Entry, bytes], ...]
    bare: tuple[Seq, ...]
    state: RoomState


def authored_cids_of(batch: RoomBatch) -> frozenset[tuple[UserId, str]]:
    """The (author, cid) pairs to be looked up before the batch can be planned."""
    return frozenset((draft.by.id, draft.cid) for draft in batch.drafts)


def references_of(batch: RoomBatch, *, last_seq: Seq) -> frozenset[Seq]:
    """The numbers up to `last_seq` to be looked up before the batch can be planned; others cannot be in the table."""
    pointed = (seq for draft in batch.drafts for seq in (draft.reply_to, draft.target) if seq is not None)
    return frozenset(seq for seq in pointed if 0 < seq <= last_seq)


def plan_batch(
    state: RoomState,
    batch: RoomBatch,
    *,
    known: Mapping[tuple[UserId, str], Duplicate],
    targets: Mapping[Seq, Target],
) -> BatchPlan:
    """Number a batch against its room's row as locked, by the rules at the head of this module.

    `known` holds the entries that the drafts' authors made with these cids before, `targets` those entries that
    `references_of` named and that exist; more in either does no harm.
    """
    if not takes_word_of(state, epoch=batch.epoch, incarnation=batch.incarnation):
        return BatchPlan((Fenced(state.epoch),) * len(batch.drafts), (), (), state)
    at = max(batch.at, state.last_at)
    seq = state.last_seq
    mode, slow_ms, notice = state.mode, state.slow_ms, state.notice
    numbered: dict[tuple[UserId, str], Seq] = {}
    added: dict[Seq, tuple[Entry, bytes]] = {}
    gone: set[Seq] = set()
    bare: list[Seq] = []
    settled: list[Duplicate | Unfounded | Seq] = []

    def target_at(number: Seq) -> Target | None:
        if number in added:
            entry = added[number][0]
            return Target(entry.by.id, entry.kind, deleted=entry.deleted is True)
        return targets.get(number)

    # thousands of drafts a second pass here: nothing is made for a draft that few drafts need
    for draft in batch.drafts:
        key = (draft.by.id, draft.cid)
        if (first := known.get(key)) is not None:
            settled.append(first)
            continue
        if (own := numbered.get(key)) is not None:
            settled.append(Duplicate(own, batch.epoch, at, added[own][1]))
            continue
        if (draft.reply_to is not None or draft.kind is Kind.DELETE) and (
            unfounded := _refuse(draft, target_at)
        ) is not None:
            settled.append(unfounded)
            continue
        seq = Seq(seq + 1)
        added[seq] = (draft.numbered(seq, at), draft.digest)
        numbered[key] = seq
        settled.append(seq)
        if draft.kind is Kind.MODE:
            mode, slow_ms = draft.mode or mode, draft.slow_ms or 0
        elif draft.kind is Kind.NOTICE:
            notice = draft.text
        elif draft.kind is Kind.DELETE:
            target = _target_of(draft)
            if target in added:
                entry, its_digest = added[target]
                added[target] = (entry.without_text(), its_digest)
            elif not targets[target].deleted and target not in gone:
                bare.append(target)
                gone.add(target)
    return BatchPlan(
        # outcomes are made last, so that an entry deleted later in the batch is never given out with its text
        outcomes=tuple(Appended(added[it][0], batch.epoch) if isinstance(it, int) else it for it in settled),
        entries=tuple(added.values()),
        bare=tuple(bare),
        state=replace(state, last_seq=seq, last_at=at, mode=mode, slow_ms=slow_ms, notice=notice) if added else state,
    )


def _refuse(draft: Draft, target_at: Callable[[Seq], Target | None]) -> Unfounded | None:
    """Why the room cannot take a draft, None if it can."""
    if draft.reply_to is not None:
        replied = target_at(draft.reply_to)
        if replied is None or replied.kind not in _SPOKEN:
            return Unfounded("no_target")
    if draft.kind is Kind.DELETE:
        target = target_at(_target_of(draft))
        if target is None or target.kind not in _SPOKEN:
            return Unfounded("no_target")
        if target.author != draft.by.id and not draft.by.role.is_staff:
            return Unfounded("not_author")
    return None


def _target_of(draft: Draft) -> Seq:
    """The number that a delete points at; 0, which no entry has, if it points at nothing."""
    return draft.target or Seq(0)
