"""Redo: what became of a batch whose commit was unclear, told from its second try."""

from collections.abc import Sequence, Set

from director.contract.ids import Seq
from persistence.contract.messages import Draft, Kind
from persistence.contract.store import Appended, Duplicate, Outcome, RoomBatch


def results_over_both_tries(
    batch: RoomBatch, outcomes: Sequence[Outcome], *, settled_to: Seq
) -> tuple[tuple[Draft, Outcome], ...]:
    """The drafts of `batch`, each with its outcome over both tries, given the outcomes of the second one.

    What the first try had committed comes back as Duplicate; it is Appended here, as it would have been then. Such
    entries are those of the batch's own epoch above `settled_to`, the last number that its owner knows to be settled in
    that epoch: nobody else writes in it. Only the first of several drafts with one (author, cid) made the entry.

    Fenced says nothing of the first try, which may have been committed before the fence: the new owner has read it, and
    a retry there is told so.

    In the order of the drafts, except that the appended ones come last and by ascending number: a draft that was
    unfounded in the first try may have found its target, committed after it, in the second.
    """
    made: set[Seq] = set()
    results: list[tuple[Draft, Outcome]] = []
    for draft, outcome in zip(batch.drafts, outcomes, strict=True):
        whole = outcome
        if isinstance(outcome, Duplicate) and outcome.seq not in made and _is_ours(draft, outcome, batch, settled_to):
            whole = Appended(draft.numbered(outcome.seq, outcome.at), outcome.epoch)
        if isinstance(whole, Appended):
            made.add(whole.entry.seq)
        results.append((draft, whole))
    gone = {draft.target for draft, whole in results if draft.kind is Kind.DELETE and isinstance(whole, Appended)}
    bared = ((draft, _bared(whole, gone)) for draft, whole in results)
    return tuple(sorted(bared, key=lambda result: _number_of(result[1])))


def _is_ours(draft: Draft, outcome: Duplicate, batch: RoomBatch, settled_to: Seq) -> bool:
    return outcome.epoch == batch.epoch and outcome.seq > settled_to and outcome.digest == draft.digest


def _number_of(outcome: Outcome) -> Seq:
    return outcome.entry.seq if isinstance(outcome, Appended) else Seq(0)


def _bared(outcome: Outcome, gone: Set[Seq | None]) -> Outcome:
    if isinstance(outcome, Appended) and outcome.entry.seq in gone:
        return Appended(outcome.entry.without_text(), outcome.epoch)
    return outcome
