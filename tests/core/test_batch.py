"""The numbering of one room's batch, its fence, its redo, and pages of history: pure decisions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from director.contract.ids import Epoch, Incarnation, LogId, Seq, UserId
from persistence.contract.messages import Author, Draft, Kind, Mode
from persistence.contract.store import (
    Appended,
    Behind,
    Duplicate,
    Fenced,
    Opened,
    Outcome,
    RoomBatch,
    RoomState,
    Unfounded,
    Unsettled,
)
from persistence.core.batch import BatchPlan, Target, authored_cids_of, plan_batch, references_of
from persistence.core.fence import judge_opening
from persistence.core.page import cut_page
from persistence.core.redo import results_over_both_tries
from tests.support.stores import (
    LECTURER,
    LOG,
    NODE,
    ONE,
    OTHER,
    STUDENT,
    asked,
    batch_of,
    deleted,
    moded,
    noticed,
    numbers,
    said,
)

FRESH = RoomState(LOG, ONE, NODE, Seq(0), 0, Mode.OPEN, 0, None)
HELD = RoomState(LOG, ONE, NODE, Seq(7), 5_000, Mode.OPEN, 0, "welcome")
HELLO = Target(STUDENT.id, Kind.MESSAGE, deleted=False)


def plan(state: RoomState, *drafts: Draft, at: int = 6_000, targets: dict[Seq, Target] | None = None) -> BatchPlan:
    return plan_batch(state, batch_of(*drafts, at=at), known={}, targets=targets or {})


def test_entries_are_numbered_on_from_the_last_number() -> None:
    made = plan(HELD, said("a"), said("b"), asked("c"))
    assert numbers(made.outcomes) == [8, 9, 10]
    assert [entry.seq for entry, _ in made.entries] == [8, 9, 10]
    assert made.state == replace(HELD, last_seq=Seq(10), last_at=6_000)
    assert made.entries[0][1] == said("a").digest


def test_a_clock_that_went_back_does_not_take_the_log_with_it() -> None:
    made = plan(HELD, said("a"), at=4_000)
    assert made.entries[0][0].at == 5_000
    assert made.state.last_at == 5_000


@pytest.mark.parametrize("other", [{"epoch": Epoch(2)}, {"epoch": Epoch(0)}, {"incarnation": Incarnation("inc-2")}])
def test_another_owner_s_batch_changes_nothing_at_all(other: dict[str, object]) -> None:
    state = replace(HELD, **other)  # type: ignore[arg-type]
    known = {(STUDENT.id, "a"): Duplicate(Seq(1), ONE, 1, b"")}
    made = plan_batch(state, batch_of(said("a"), moded("b", Mode.CLOSED)), known=known, targets={})
    assert made == BatchPlan((Fenced(state.epoch),) * 2, (), (), state)


def test_a_cid_that_has_an_entry_gives_its_first_result_and_adds_nothing() -> None:
    first = Duplicate(Seq(3), Epoch(1), 900, b"12345678")
    batch = batch_of(said("a"), said("b"))
    made = plan_batch(HELD, batch, known={(STUDENT.id, "a"): first}, targets={})
    assert made.outcomes[0] is first
    assert numbers(made.outcomes) == [8]
    assert plan_batch(HELD, batch_of(said("a")), known={(STUDENT.id, "a"): first}, targets={}).state is HELD


def test_a_cid_twice_in_one_batch_adds_one_entry_and_tells_what_the_first_had_asked_for() -> None:
    made = plan(HELD, said("a", "one"), said("a", "two"))
    assert made.outcomes[1] == Duplicate(Seq(8), ONE, 6_000, said("a", "one").digest)
    assert len(made.entries) == 1


def test_the_same_cid_of_another_author_is_another_entry() -> None:
    assert numbers(plan(HELD, said("a"), said("a", by=OTHER)).outcomes) == [8, 9]


@pytest.mark.parametrize("kind", [Kind.MESSAGE, Kind.QUESTION])
@pytest.mark.parametrize("gone", [True, False])
def test_one_may_reply_to_what_was_said_even_if_it_is_deleted(kind: Kind, gone: bool) -> None:
    made = plan(HELD, said("a", reply_to=3), targets={Seq(3): Target(OTHER.id, kind, gone)})
    assert made.entries[0][0].reply_to == 3


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.NOTICE, Kind.MODE])
@pytest.mark.parametrize("draft", [said("a", reply_to=3), deleted("a", 3, by=LECTURER)])
def test_only_what_was_said_can_be_replied_to_or_deleted(kind: Kind, draft: Draft) -> None:
    made = plan(HELD, draft, targets={Seq(3): Target(LECTURER.id, kind, deleted=False)})
    assert made == BatchPlan((Unfounded("no_target"),), (), (), HELD)


@pytest.mark.parametrize(
    "draft", [said("a", reply_to=3), deleted("a", 3), deleted("a", 0), Draft("a", STUDENT, Kind.DELETE)]
)
def test_what_points_at_nothing_gets_no_number(draft: Draft) -> None:
    made = plan(HELD, draft, said("b"))
    assert made.outcomes[0] == Unfounded("no_target")
    assert numbers(made.outcomes) == [8]


def test_a_student_deletes_own_entries_and_staff_any() -> None:
    target = {Seq(3): HELLO}
    assert plan(HELD, deleted("a", 3, by=OTHER), targets=target).outcomes == (Unfounded("not_author"),)
    assert plan(HELD, deleted("a", 3, by=OTHER), targets=target).bare == ()
    assert plan(HELD, deleted("a", 3), targets=target).bare == (3,)
    assert plan(HELD, deleted("a", 3, by=LECTURER), targets=target).bare == (3,)


def test_deleting_twice_adds_an_entry_and_does_no_more() -> None:
    made = plan(HELD, deleted("a", 3), deleted("b", 3, by=LECTURER), targets={Seq(3): HELLO})
    assert numbers(made.outcomes) == [8, 9]
    assert made.bare == (3,)
    gone = plan(HELD, deleted("a", 3), targets={Seq(3): replace(HELLO, deleted=True)})
    assert numbers(gone.outcomes) == [8]
    assert gone.bare == ()


def test_what_its_own_batch_deletes_is_never_given_out_with_its_text() -> None:
    made = plan(HELD, said("a", "oops"), said("b", reply_to=8), deleted("c", 8), said("d", reply_to=8))
    first = made.outcomes[0]
    assert isinstance(first, Appended)
    assert first.entry.text is UNSET
    assert first.entry.deleted is True
    assert made.entries[0] == (first.entry, said("a", "oops").digest)
    assert made.bare == ()
    assert numbers(made.outcomes) == [8, 9, 10, 11]


def test_a_later_entry_of_the_batch_cannot_be_pointed_at() -> None:
    assert plan(HELD, said("a", reply_to=9), said("b")).outcomes[0] == Unfounded("no_target")


def test_mode_and_notice_move_with_the_log() -> None:
    made = plan(HELD, moded("a", Mode.STAFF, 250), noticed("b", "break"), said("c"))
    assert (made.state.mode, made.state.slow_ms, made.state.notice) == (Mode.STAFF, 250, "break")
    later = plan(made.state, noticed("d", None), moded("e", Mode.OPEN))
    assert (later.state.mode, later.state.slow_ms, later.state.notice) == (Mode.OPEN, 0, None)
    assert plan(made.state, Draft("f", LECTURER, Kind.MODE)).state.mode is Mode.STAFF


def test_only_numbers_that_can_exist_are_looked_up() -> None:
    drafts = (said("a", reply_to=3), deleted("b", 7), said("c", reply_to=8), deleted("d", 0), deleted("e", 2**70))
    assert references_of(batch_of(*drafts, said("f")), last_seq=Seq(7)) == {3, 7}
    assert authored_cids_of(batch_of(said("a"), said("a"), said("a", by=OTHER))) == {("u1", "a"), ("u2", "a")}


drafts_of_some = st.builds(
    lambda author, cid, made: made(f"c{cid}", author),
    st.sampled_from([STUDENT, OTHER, LECTURER]),
    st.integers(0, 5),
    st.one_of(
        st.sampled_from(
            [
                lambda cid, by: said(cid, by=by),
                lambda cid, by: asked(cid, by=by),
                lambda cid, by: noticed(cid, "n", by=by),
                lambda cid, by: moded(cid, Mode.STAFF, by=by),
            ]
        ),
        st.integers(0, 12).map(lambda seq: lambda cid, by: deleted(cid, seq, by=by)),
        st.integers(0, 12).map(lambda seq: lambda cid, by: said(cid, by=by, reply_to=seq)),
    ),
)
batches_of_some = st.lists(st.tuples(st.lists(drafts_of_some, max_size=8), st.integers(0, 2_000)), max_size=6)


@given(batches_of_some)
def test_whatever_is_asked_the_log_has_no_hole_no_double_and_no_falling_time(
    asked_for: list[tuple[list[Draft], int]],
) -> None:
    state = FRESH
    known: dict[tuple[UserId, str], Duplicate] = {}
    targets: dict[Seq, Target] = {}
    log = []
    for drafts, at in asked_for:
        batch = batch_of(*drafts, at=at)
        made = plan_batch(state, batch, known=known, targets=targets)
        assert len(made.outcomes) == len(drafts)
        assert numbers(made.outcomes) == [entry.seq for entry, _ in made.entries]
        for entry, digest in made.entries:
            log.append(entry)
            known[entry.by.id, entry.cid] = Duplicate(entry.seq, ONE, entry.at, digest)
            targets[entry.seq] = Target(entry.by.id, entry.kind, entry.deleted is True)
        for seq in made.bare:
            assert not targets[seq].deleted
            targets[seq] = replace(targets[seq], deleted=True)
        state = made.state
        again = plan_batch(state, batch, known=known, targets=targets)
        assert not [
            it for it, first in zip(again.outcomes, made.outcomes, strict=True)
            if isinstance(it, Appended) and not isinstance(first, Unfounded)
        ]  # fmt: skip
    assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
    assert [entry.at for entry in log] == sorted(entry.at for entry in log)
    assert len({(entry.by.id, entry.cid) for entry in log}) == len(log)
    assert state.last_seq == len(log)


class TestOpening:
    """Whose word a room's row takes."""

    def open(self, state: RoomState | None, epoch: int, incarnation: str = "inc-1") -> Opened | Behind:
        return judge_opening(
            state, epoch=Epoch(epoch), incarnation=Incarnation(incarnation), fresh_log=LogId("log-new")
        )

    def test_a_new_room_begins_empty_and_open_with_a_log_of_its_own(self) -> None:
        fresh = RoomState(LogId("log-new"), Epoch(4), NODE, Seq(0), 0, Mode.OPEN, 0, None)
        assert self.open(None, 4) == Opened(fresh)

    def test_a_higher_epoch_takes_the_room_with_all_that_it_holds(self) -> None:
        taken = replace(HELD, epoch=Epoch(3), incarnation=Incarnation("inc-2"))
        assert self.open(HELD, 3, "inc-2") == Opened(taken)

    def test_the_owner_that_stands_changes_nothing_by_opening_again(self) -> None:
        opened = self.open(HELD, 1)
        assert isinstance(opened, Opened)
        assert opened.state is HELD

    def test_a_lower_epoch_and_another_incarnation_of_the_same_one_come_too_late(self) -> None:
        assert self.open(HELD, 0) == Behind(ONE)
        assert self.open(HELD, 1, "inc-2") == Behind(ONE)


class TestRedo:
    """What became of a batch whose commit was unclear."""

    def both_tries(self, batch: RoomBatch, first: BatchPlan | None, *, settled_to: int = 7) -> list[Outcome]:
        """The outcomes if the first try had committed `first` (None: nothing)."""
        state = first.state if first else HELD
        entries = first.entries if first else ()
        known = {(it.by.id, it.cid): Duplicate(it.seq, ONE, it.at, digest) for it, digest in entries}
        targets = {it.seq: Target(it.by.id, it.kind, it.deleted is True) for it, _ in entries}
        second = plan_batch(state, batch, known=known, targets=targets)
        return [it for _, it in results_over_both_tries(batch, second.outcomes, settled_to=Seq(settled_to))]

    def test_it_is_told_as_if_the_first_try_had_been_answered(self) -> None:
        batch = batch_of(said("a", "oops"), said("b"), deleted("c", 8), moded("d", Mode.STAFF), at=6_000)
        first = plan_batch(HELD, batch, known={}, targets={})
        assert self.both_tries(batch, first) == list(first.outcomes)
        assert self.both_tries(batch, None) == list(first.outcomes)

    def test_an_entry_settled_before_it_stays_a_duplicate(self) -> None:
        batch = batch_of(said("a"))
        settled = plan_batch(HELD, batch, known={}, targets={})
        assert isinstance(self.both_tries(batch, settled, settled_to=8)[0], Duplicate)

    def test_an_entry_of_a_former_epoch_stays_a_duplicate(self) -> None:
        earlier = Duplicate(Seq(9), Epoch(0), 1, said("a").digest)
        results = results_over_both_tries(batch_of(said("a")), [earlier], settled_to=Seq(0))
        assert results == ((said("a"), earlier),)

    def test_a_cid_twice_in_it_is_one_entry_and_one_duplicate(self) -> None:
        batch = batch_of(said("a"), said("a"), said("a", "other"), at=6_000)
        first = plan_batch(HELD, batch, known={}, targets={})
        for tried in (first, None):
            outcomes = self.both_tries(batch, tried)
            assert numbers(outcomes) == [8]
            assert sum(isinstance(it, Duplicate) for it in outcomes) == 2

    def test_another_s_word_under_one_s_cid_is_not_taken_for_one_s_own(self) -> None:
        mixed = batch_of(said("a", reply_to=3), said("a"), at=6_000)
        first = plan_batch(HELD, mixed, known={}, targets={})
        assert first.outcomes[0] == Unfounded("no_target")
        other, own = self.both_tries(mixed, first)
        assert isinstance(other, Duplicate)
        assert isinstance(own, Appended)
        assert own.entry == said("a").numbered(Seq(8), 6_000), "it replies to nothing"

    def test_what_found_its_target_only_in_the_second_try_is_told_at_its_number(self) -> None:
        batch = batch_of(said("a", reply_to=8), said("b"), said("c"), at=6_000)
        first = plan_batch(HELD, batch, known={}, targets={})
        assert first.outcomes[0] == Unfounded("no_target")
        assert numbers(self.both_tries(batch, first)) == [8, 9, 10]

    def test_other_outcomes_are_passed_on(self) -> None:
        results = results_over_both_tries(batch_of(said("a")), [Unsettled("why")], settled_to=Seq(0))
        assert results == ((said("a"), Unsettled("why")),)


class TestPage:
    """Bounds of a page."""

    log = tuple(said(f"c{i}").numbered(Seq(i), i) for i in range(1, 6))

    def cut(self, limit: int, max_bytes: int) -> tuple[list[int], bool]:
        page, more = cut_page(iter(self.log), size_of=lambda _: 10, limit=limit, max_bytes=max_bytes)
        return [entry.seq for entry in page], more

    def test_it_keeps_to_both_bounds_and_tells_whether_there_is_more(self) -> None:
        assert self.cut(5, 50) == ([1, 2, 3, 4, 5], False)
        assert self.cut(4, 50) == ([1, 2, 3, 4], True)
        assert self.cut(5, 49) == ([1, 2, 3, 4], True)
        assert self.cut(0, 50) == ([], True)

    def test_one_entry_is_given_however_large(self) -> None:
        assert self.cut(5, 9) == ([1], True)

    def test_what_would_fit_after_one_that_does_not_is_left_too(self) -> None:
        page, more = cut_page(self.log, size_of=lambda it: 100 if it.seq == 2 else 10, limit=5, max_bytes=50)
        assert [entry.seq for entry in page] == [1]
        assert more


def test_an_author_s_role_is_the_one_of_the_ticket() -> None:
    promoted = Author(OTHER.id, OTHER.name, LECTURER.role)
    assert numbers(plan(HELD, deleted("a", 3, by=promoted), targets={Seq(3): HELLO}).outcomes) == [8]
