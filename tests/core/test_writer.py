"""The batch writer: when it commits, what it does while the store is out or unclear, and how it ends. Virtual time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from types import MappingProxyType

from director.contract.ids import Epoch, Incarnation, RoomId, Seq
from persistence.contract.messages import Draft
from persistence.contract.store import Appended, Duplicate, Fenced, Opened, RoomBatch, Unsettled
from persistence.contract.writing import Settled
from persistence.store_memory import MemoryStore
from persistence.writer import BatchWriter, WriterLimits
from tests.support.stores import (
    NODE,
    ONE,
    ROOM,
    FailingLog,
    Settlements,
    all_entries,
    append,
    batch_of,
    deleted,
    numbers,
    open_room,
    said,
)
from tests.support.stores import Store as AnyStore
from tests.support.virtual_time import in_virtual_time

OTHER_ROOM = RoomId("physics-7")


class Bench:
    """A writer over a memory store that fails on demand, and all that it has settled."""

    def __init__(self, limits: WriterLimits | None, paces: Mapping[RoomId, float]) -> None:
        self.store: AnyStore = MemoryStore()
        self.log = FailingLog(self.store)
        self.settled = Settlements()
        self.clock = asyncio.get_running_loop().time
        self.started_at = self.clock()
        self.writer = BatchWriter(
            self.log,
            self.settled,
            wall_ms=lambda: int(self.clock() * 1000),
            now=self.clock,
            pace_of=lambda room: paces.get(room, 0.02),
            limits=limits,
        )

    @property
    def elapsed(self) -> float:
        return round(self.clock() - self.started_at, 6)

    def put(self, draft: Draft, room: RoomId = ROOM, *, epoch: int = 1, incarnation: str = NODE, head: int = 0) -> bool:
        return self.writer.put(room, draft, epoch=Epoch(epoch), incarnation=Incarnation(incarnation), head=Seq(head))

    async def until_empty(self) -> None:
        while self.writer.waiting:
            await self.writer.step()

    def batches(self) -> list[list[tuple[RoomId, list[str]]]]:
        """What went into each transaction."""
        return [[(it.room, [draft.cid for draft in it.drafts]) for it in append] for append in self.log.appends]


async def bench(limits: WriterLimits | None = None, *, paces: Mapping[RoomId, float] = MappingProxyType({})) -> Bench:
    made = Bench(limits, paces)
    await open_room(made.store)
    await open_room(made.store, OTHER_ROOM)
    return made


@asynccontextmanager
async def running(writer: BatchWriter) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(writer.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@in_virtual_time
async def test_the_first_draft_into_an_idle_room_is_committed_at_once() -> None:
    it = await bench()
    await asyncio.sleep(5)
    before = it.elapsed
    it.put(said("a"))
    await it.writer.step()
    assert it.elapsed == before
    assert numbers([outcome for _, outcome in it.settled.of()]) == [1]


@in_virtual_time
async def test_under_load_a_room_s_batches_start_its_pace_apart_and_take_all_that_came_meanwhile() -> None:
    it = await bench(paces={ROOM: 0.25})
    async with running(it.writer):
        for i in range(20):
            it.put(said(f"c{i}"))
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.25)
    sizes = [len(drafts) for append in it.batches() for _, drafts in append]
    assert sizes[0] == 1, "the leading edge"
    assert sum(sizes) == 20
    assert len(sizes) == 5
    starts = [batches[0].at for batches in it.log.appends]
    assert all(after - before >= 249 for before, after in pairwise(starts))


@in_virtual_time
async def test_a_lone_message_does_not_wait_for_another_room_s_pace() -> None:
    it = await bench(paces={ROOM: 1.0})
    it.put(said("a"))
    await it.writer.step()
    it.put(said("b"))
    async with running(it.writer):
        await asyncio.sleep(0.1)
        it.put(said("c"), OTHER_ROOM)
        it.put(said("d"))
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert it.batches() == [[(ROOM, ["a"])], [(OTHER_ROOM, ["c"])]]
        await asyncio.sleep(0.8)
        assert len(it.batches()) == 2
        await asyncio.sleep(0.1)
    assert it.batches()[2:] == [[(ROOM, ["b", "d"])]]


@in_virtual_time
async def test_rooms_that_are_due_together_share_a_transaction() -> None:
    it = await bench()
    for room in (ROOM, OTHER_ROOM):
        it.put(said("a"), room)
    await it.writer.step()
    for room in (OTHER_ROOM, ROOM):
        it.put(said("b"), room)
    await it.writer.step()
    assert it.elapsed == 0.02
    assert it.batches()[1] == [(OTHER_ROOM, ["b"]), (ROOM, ["b"])]


@in_virtual_time
async def test_many_rooms_that_speak_now_and_then_do_not_make_a_transaction_each() -> None:
    it = await bench()
    rooms = [RoomId(f"room-{i}") for i in range(200)]
    for room in rooms:
        await open_room(it.store, room)
    async with running(it.writer):
        for room in rooms:
            it.put(said("hello"), room)
            await asyncio.sleep(0.005)  # 200 a second
        await asyncio.sleep(0.1)
    assert it.writer.waiting == 0
    assert len(it.batches()) <= 1.0 / WriterLimits().least_apart + 5


@in_virtual_time
async def test_a_store_that_takes_long_is_asked_seldom_and_for_more() -> None:
    it = await bench()
    rooms = [RoomId(f"room-{i}") for i in range(200)]
    for room in rooms:
        await open_room(it.store, room)
    it.log.takes = 0.009
    async with running(it.writer):
        for room in rooms:
            it.put(said("hello"), room)
            await asyncio.sleep(0.005)  # 200 a second
        await asyncio.sleep(0.1)
    assert it.writer.waiting == 0
    starts = [batches[0].at for batches in it.log.appends][10:]
    assert all(after - before >= 17 for before, after in pairwise(starts))


@in_virtual_time
async def test_a_full_batch_is_followed_after_a_tick_however_slow_the_room_s_pace() -> None:
    it = await bench(WriterLimits(max_batch_drafts=3), paces={ROOM: 1.0})
    for i in range(7):
        it.put(said(f"c{i}"))
    await it.until_empty()
    assert it.elapsed == 0.04
    it.put(said("later"))
    await it.until_empty()
    assert it.elapsed == 1.04


@in_virtual_time
async def test_a_room_that_is_in_a_hurry_does_not_wait_for_its_pace() -> None:
    it = await bench(paces={ROOM: 30.0})
    it.put(said("a"))
    async with running(it.writer):
        await asyncio.sleep(0.1)
        it.put(said("b"))
        await asyncio.sleep(1.0)
        assert it.writer.waiting == 1
        it.writer.hurry(ROOM)
        await asyncio.sleep(0.1)
        assert it.writer.waiting == 0


@in_virtual_time
async def test_closing_does_not_wait_for_anybody_s_pace() -> None:
    it = await bench(paces={ROOM: 30.0})
    it.put(said("a"))
    async with running(it.writer) as run:
        await asyncio.sleep(0.1)
        it.put(said("b"))
        await asyncio.sleep(0.1)
        assert it.writer.waiting == 1
        await it.writer.close(within=1)
        await run
    assert it.elapsed < 0.3
    assert [cid for cid, _ in it.settled.of()] == ["a", "b"]


@in_virtual_time
async def test_what_the_store_did_not_take_is_tried_again_without_waiting_for_the_room_s_pace() -> None:
    it = await bench(paces={ROOM: 1.0})
    it.log.plans.append("out")
    it.put(said("a"))
    await it.until_empty()
    assert it.elapsed == 0.05


@in_virtual_time
async def test_a_room_that_was_let_go_need_not_rest_when_it_comes_back() -> None:
    it = await bench(paces={ROOM: 1.0})
    it.put(said("a"))
    await it.writer.step()
    it.writer.forget(ROOM, epoch=ONE)
    it.put(said("b"))
    await it.writer.step()
    assert it.elapsed == 0.0


@in_virtual_time
async def test_the_slowest_transaction_is_told_once() -> None:
    it = await bench()
    assert it.writer.take_slowest() == 0.0
    it.log.plans.append("held")
    it.put(said("a"))
    step = asyncio.create_task(it.writer.step())
    await it.log.started.wait()
    await asyncio.sleep(0.7)
    it.log.release.set()
    await step
    assert round(it.writer.take_slowest(), 3) == 0.7
    assert it.writer.take_slowest() == 0.0


@in_virtual_time
async def test_a_batch_keeps_to_its_number_of_drafts_and_of_bytes() -> None:
    it = await bench(WriterLimits(max_batch_drafts=3, max_batch_bytes=1000))
    for i in range(5):
        it.put(said(f"few{i}", "x"))
    for i in range(4):
        it.put(said(f"big{i}", "가" * 150), OTHER_ROOM)
    it.put(said("huge", "x" * 2000), OTHER_ROOM)
    await it.until_empty()
    assert it.batches() == [
        [(ROOM, ["few0", "few1", "few2"]), (OTHER_ROOM, ["big0", "big1"])],
        [(ROOM, ["few3", "few4"]), (OTHER_ROOM, ["big2", "big3"])],
        [(OTHER_ROOM, ["huge"])],
    ]


@in_virtual_time
async def test_drafts_for_two_owners_never_share_a_batch() -> None:
    it = await bench()
    await open_room(it.store, epoch=2)
    it.put(said("old"), epoch=1)
    it.put(said("new"), epoch=2)
    it.put(said("stray"), epoch=2, incarnation="inc-9")
    await it.until_empty()
    assert it.batches() == [[(ROOM, ["old"])], [(ROOM, ["new"])], [(ROOM, ["stray"])]]
    outcomes = [outcome for _, outcome in it.settled.of()]
    assert outcomes[0] == Fenced(Epoch(2))
    assert isinstance(outcomes[1], Appended)
    assert outcomes[2] == Fenced(Epoch(2))


@in_virtual_time
async def test_a_room_is_not_cut_again_before_its_former_batch_is_settled() -> None:
    it = await bench()
    it.log.plans.append("held")
    async with running(it.writer):
        it.put(said("a"))
        await it.log.started.wait()
        it.put(said("b"))
        await asyncio.sleep(1)
        assert len(it.log.appends) == 1
        it.log.release.set()
        await it.writer.close(within=1)
    assert [cid for cid, _ in it.settled.of()] == ["a", "b"]


@in_virtual_time
async def test_no_more_drafts_are_taken_than_the_bound_allows() -> None:
    it = await bench(WriterLimits(max_waiting=3))
    it.log.always = "out"
    assert [it.put(said(f"c{i}")) for i in range(5)] == [True, True, True, False, False]
    assert it.writer.waiting == 3
    await it.until_empty()
    assert it.put(said("later"))


@in_virtual_time
async def test_a_store_that_is_out_for_a_moment_is_tried_again_and_nothing_is_lost_or_re_ordered() -> None:
    it = await bench()
    it.log.plans.extend(["out", "out", "out"])
    it.put(said("a"))
    await it.writer.step()
    it.put(said("b"))
    await it.until_empty()
    assert [(cid, numbers([outcome])) for cid, outcome in it.settled.of()] == [("a", [1]), ("b", [2])]
    assert it.elapsed == 0.35  # 0.05 + 0.1 + 0.2


@in_virtual_time
async def test_drafts_that_come_back_from_a_store_that_is_out_stand_before_those_put_meanwhile() -> None:
    it = await bench()
    it.log.plans.append("held out")
    it.put(said("a"))
    it.put(said("b"))
    step = asyncio.create_task(it.writer.step())
    await it.log.started.wait()
    it.put(said("c"))
    it.log.release.set()
    await step
    await it.until_empty()
    assert it.batches() == [[(ROOM, ["a", "b"])], [(ROOM, ["a", "b", "c"])]]


@in_virtual_time
async def test_while_the_store_is_out_every_draft_is_told_so_in_some_three_seconds() -> None:
    it = await bench()
    it.log.always = "out"
    told_after: dict[str, float] = {}
    put_at: dict[str, float] = {}

    def note(settled: Settled) -> None:
        for draft, outcome in settled.results:
            assert outcome == Unsettled("the test's store is out")
            told_after[draft.cid] = it.elapsed - put_at[draft.cid]

    it.settled.listener = note
    async with running(it.writer):
        for i in range(200):
            put_at[f"c{i}"] = it.elapsed
            assert it.put(said(f"c{i}"))
            await asyncio.sleep(0.1)
        await it.writer.close(within=10)
    assert len(told_after) == 200
    assert all(3.0 <= span <= 3.6 for span in told_after.values())


@in_virtual_time
async def test_after_an_outage_the_writer_is_as_quick_as_before() -> None:
    it = await bench()
    it.log.always = "out"
    it.put(said("a"))
    await it.until_empty()
    it.log.always = "well"
    await asyncio.sleep(1)
    before = it.elapsed
    it.put(said("b"))
    await it.writer.step()
    assert it.elapsed == before
    assert numbers([outcome for _, outcome in it.settled.of()]) == [1]
    it.log.plans.append("out")
    it.put(said("c"))
    await it.until_empty()
    assert it.elapsed - before < 0.1


@in_virtual_time
async def test_an_unclear_commit_is_tried_again_as_it_was_and_told_as_appended() -> None:
    it = await bench()
    it.log.plans.extend(["unclear", "unclear", "out"])
    it.put(said("a"))
    it.put(said("b", "oops"))
    it.put(deleted("c", 2))
    await it.writer.step()
    it.put(said("d"))
    await it.until_empty()
    assert it.log.appends[0] == it.log.appends[1] == it.log.appends[2] == it.log.appends[3]
    told = [outcome for _, outcome in it.settled.of()]
    assert numbers(told) == [1, 2, 3, 4]
    assert [outcome.entry for outcome in told if isinstance(outcome, Appended)] == await all_entries(it.store)


@in_virtual_time
async def test_an_unclear_commit_that_did_not_happen_happens_once() -> None:
    it = await bench()
    it.log.plans.extend(["void", "void"])
    it.put(said("a"))
    await it.until_empty()
    assert numbers([outcome for _, outcome in it.settled.of()]) == [1]
    assert len(await all_entries(it.store)) == 1


@in_virtual_time
async def test_a_retry_within_an_unclear_batch_is_still_a_duplicate() -> None:
    it = await bench()
    it.put(said("a"))
    await it.writer.step()
    it.log.plans.append("unclear")
    it.put(said("a"))
    it.put(said("b"))
    await it.until_empty()
    outcomes = [outcome for _, outcome in it.settled.of()]
    assert numbers(outcomes) == [1, 2]
    assert isinstance(outcomes[1], Duplicate)
    assert outcomes[1].seq == 1


@in_virtual_time
async def test_what_a_former_owner_had_committed_is_a_duplicate_also_in_an_unclear_batch() -> None:
    it = await bench()
    await append(it.store, said("a"))
    await open_room(it.store, epoch=2)
    it.log.plans.append("unclear")
    it.put(said("a"), epoch=2)
    it.put(said("b"), epoch=2)
    await it.until_empty()
    outcomes = [outcome for _, outcome in it.settled.of()]
    assert isinstance(outcomes[0], Duplicate)
    assert numbers(outcomes) == [2]


@in_virtual_time
async def test_a_retry_within_an_unclear_batch_is_a_duplicate_also_after_its_room_was_closed_and_opened_again() -> None:
    """In the same epoch. The writer had forgotten with the room what it had settled there, took the retry for what
    the unclear commit had made, and told it as appended a second time."""
    it = await bench()
    it.put(said("a"))
    it.put(said("b"))
    await it.until_empty()
    it.writer.forget(ROOM, epoch=ONE)
    opened = await open_room(it.store)
    assert isinstance(opened, Opened)
    it.log.plans.append("unclear")
    it.put(said("a"), head=opened.state.last_seq)
    it.put(said("c"), head=opened.state.last_seq)
    await it.until_empty()
    outcomes = [outcome for _, outcome in it.settled.of()[2:]]
    assert isinstance(outcomes[0], Duplicate)
    assert numbers(outcomes) == [3]


@in_virtual_time
async def test_what_was_settled_after_a_draft_was_put_is_a_duplicate_in_its_unclear_batch() -> None:
    """The head that came with the draft is older than the batch that was on its way then."""
    it = await bench()
    it.log.plans.extend(["held", "unclear"])
    it.put(said("a"))
    step = asyncio.create_task(it.writer.step())
    await it.log.started.wait()
    it.put(said("a"), head=0)
    it.put(said("b"), head=0)
    it.log.release.set()
    await step
    await it.until_empty()
    assert [type(outcome) for _, outcome in it.settled.of()] == [Appended, Duplicate, Appended]
    assert numbers([outcome for _, outcome in it.settled.of()]) == [1, 2]


@in_virtual_time
async def test_a_batch_that_was_committed_unclearly_and_fenced_then_is_told_by_the_new_owner() -> None:
    it = await bench()
    it.log.plans.append("unclear")
    it.put(said("a"))
    await it.writer.step()
    await open_room(it.store, epoch=2, incarnation="inc-2")
    await it.until_empty()
    assert it.settled.of() == [("a", Fenced(Epoch(2)))]
    again = (await it.store.append_batch([batch_of(said("a"), epoch=2, incarnation="inc-2")]))[ROOM][0]
    assert isinstance(again, Duplicate)
    assert (again.seq, again.epoch) == (1, ONE)
    assert it.writer.waiting == 0


@in_virtual_time
async def test_what_waits_behind_an_unclear_batch_is_fenced_with_it_when_the_host_drops_the_room() -> None:
    """The host forgets the room from within the very call that tells it so."""
    it = await bench()
    it.log.plans.append("void")
    it.put(said("a"))
    await it.writer.step()
    it.put(said("b"))
    it.put(said("c"))
    await open_room(it.store, epoch=2, incarnation="inc-2")

    def host(settled: Settled) -> None:
        if isinstance(settled.results[0][1], Fenced) and settled.epoch == ONE:
            it.writer.forget(settled.room, epoch=ONE)

    it.settled.listener = host
    await it.until_empty()
    assert [(cid, type(outcome)) for cid, outcome in it.settled.of()] == [("a", Fenced), ("b", Fenced), ("c", Fenced)]
    assert await all_entries(it.store) == []
    assert it.writer.waiting == 0


@in_virtual_time
async def test_an_unclear_batch_goes_with_others_and_each_room_gets_its_own_truth() -> None:
    it = await bench()
    it.log.plans.append("unclear")
    it.put(said("a"))
    it.put(said("x"), OTHER_ROOM)
    await it.writer.step()
    await open_room(it.store, OTHER_ROOM, epoch=2, incarnation="inc-2")
    third = RoomId("third")
    await open_room(it.store, third)
    it.put(said("new"), third)
    it.put(said("b"), head=0)
    await it.until_empty()
    assert [cid for cid, _ in it.settled.of()] == ["a", "b"]
    assert numbers([outcome for _, outcome in it.settled.of()]) == [1, 2]
    assert it.settled.of(OTHER_ROOM) == [("x", Fenced(Epoch(2)))]
    assert numbers([outcome for _, outcome in it.settled.of(third)]) == [1]


@in_virtual_time
async def test_an_unclear_batch_is_never_given_up_and_who_waits_behind_it_is_told_as_everybody_else() -> None:
    """They once waited without a word for as long as the commit was unclear: a standby's whole outage."""
    it = await bench()
    it.log.always = "void"
    it.put(said("a"))
    await it.writer.step()
    it.put(said("b"))
    it.log.always = "out"
    it.put(said("c"), OTHER_ROOM)
    while it.elapsed < 20:
        await it.writer.step()
    assert it.settled.of() == [("b", Unsettled("the test's store is out"))]
    assert it.settled.of(OTHER_ROOM) == [("c", Unsettled("the test's store is out"))]
    it.log.always = "well"
    it.put(said("d"), OTHER_ROOM)
    it.put(said("b"))
    await it.until_empty()
    assert [(cid, numbers([outcome])) for cid, outcome in it.settled.of()[1:]] == [("a", [1]), ("b", [2])]
    assert numbers([outcome for _, outcome in it.settled.of(OTHER_ROOM)]) == [1]


@in_virtual_time
async def test_an_unclear_batch_of_a_room_that_moved_meanwhile_is_fenced() -> None:
    it = await bench()
    it.log.plans.append("void")
    it.put(said("a"))
    await it.writer.step()
    await open_room(it.store, epoch=2, incarnation="inc-2")
    await it.until_empty()
    assert it.settled.of() == [("a", Fenced(Epoch(2)))]


@in_virtual_time
async def test_a_forgotten_room_s_drafts_are_fenced_at_once_and_other_rooms_do_not_notice() -> None:
    it = await bench()
    it.put(said("a"))
    it.put(said("b"))
    it.put(said("c"), OTHER_ROOM)
    it.writer.forget(ROOM, epoch=Epoch(5))
    assert it.settled.of() == [("a", Fenced(Epoch(5))), ("b", Fenced(Epoch(5)))]
    it.writer.forget(RoomId("never-heard-of"), epoch=Epoch(5))
    await it.until_empty()
    assert it.batches() == [[(OTHER_ROOM, ["c"])]]


@in_virtual_time
async def test_a_room_forgotten_while_its_batch_is_under_way_gets_that_batch_s_true_outcome_first() -> None:
    for plan, first in (("held", 1), ("held out", None), ("held unclear", None)):
        it = await bench()
        it.log.plans.append(plan)
        it.put(said("a"))
        step = asyncio.create_task(it.writer.step())
        await it.log.started.wait()
        it.put(said("b"))
        it.writer.forget(ROOM, epoch=Epoch(5))
        assert it.settled.of() == []
        it.put(said("of the next owner"), epoch=6)
        it.log.release.set()
        await step
        told = it.settled.of()
        assert [cid for cid, _ in told] == ["a", "b"]
        assert numbers([told[0][1]]) == ([1] if first else [])
        assert told[1][1] == Fenced(Epoch(5))
        assert it.writer.waiting == 1
        await it.until_empty()
        assert [cid for cid, _ in it.settled.of()] == ["a", "b", "of the next owner"]


@in_virtual_time
async def test_a_forgotten_room_s_unclear_batch_is_given_up() -> None:
    it = await bench()
    it.log.plans.append("unclear")
    it.put(said("a"))
    await it.writer.step()
    it.put(said("b"))
    it.writer.forget(ROOM, epoch=Epoch(5))
    assert it.settled.of() == [("a", Fenced(Epoch(5))), ("b", Fenced(Epoch(5)))]
    assert it.writer.waiting == 0


@in_virtual_time
async def test_the_host_may_put_and_forget_rooms_while_it_is_told() -> None:
    it = await bench()

    def host(settled: Settled) -> None:
        if settled.room == ROOM and settled.results[0][0].cid == "a":
            it.put(said("again"))
            it.writer.forget(OTHER_ROOM, epoch=ONE)

    it.settled.listener = host
    for plan in ("well", "out"):
        it.log.always = plan
        it.put(said("a"))
        it.put(said("b"), OTHER_ROOM)
        await it.until_empty()
    assert [cid for cid, _ in it.settled.of()] == ["a", "again", "a", "again"]
    assert numbers([outcome for _, outcome in it.settled.of()]) == [1, 2]
    assert [cid for cid, _ in it.settled.of(OTHER_ROOM)] == ["b", "b"]


@in_virtual_time
async def test_closing_commits_what_waits_and_takes_no_more() -> None:
    it = await bench()
    async with running(it.writer) as run:
        for i in range(100):
            it.put(said(f"c{i}"))
        await it.writer.close(within=1)
        await run
    assert not it.put(said("late"))
    assert len(await all_entries(it.store)) == 100
    assert it.writer.waiting == 0


@in_virtual_time
async def test_closing_an_idle_writer_ends_its_run() -> None:
    it = await bench()
    async with running(it.writer) as run:
        await asyncio.sleep(1)
        await it.writer.close(within=1)
        await run
    assert it.elapsed == 1


@in_virtual_time
async def test_closing_while_the_store_is_out_ends_at_its_deadline_and_tells_who_waited() -> None:
    it = await bench()
    it.log.always = "out"
    async with running(it.writer) as run:
        it.put(said("a"))
        await it.writer.close(within=1)
        assert it.elapsed == 1
        assert it.settled.of() == [("a", Unsettled("the node stops"))]
        await run


@in_virtual_time
async def test_closing_tells_nothing_of_a_batch_whose_fate_is_unknown() -> None:
    it = await bench()
    it.log.always = "void"
    async with running(it.writer) as run:
        it.put(said("a"))
        await asyncio.sleep(0.5)
        it.put(said("b"))
        await it.writer.close(within=1)
        await run
    assert it.settled.of() == [("b", Unsettled("the node stops"))]


@in_virtual_time
async def test_a_step_cancelled_over_its_transaction_is_settled_by_the_next() -> None:
    it = await bench()
    it.log.plans.extend(["held", "well"])
    it.put(said("a"))
    step = asyncio.create_task(it.writer.step())
    await it.log.started.wait()
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    await append(it.store, said("a"))
    await it.until_empty()
    assert numbers([outcome for _, outcome in it.settled.of()]) == [1]


@in_virtual_time
async def test_a_room_forgotten_during_a_step_that_is_cancelled_is_told_so() -> None:
    """Nobody would have told it later: nothing of the room was left to make a step for."""
    it = await bench()
    it.log.plans.append("held")
    it.put(said("a"))
    step = asyncio.create_task(it.writer.step())
    await it.log.started.wait()
    it.put(said("b"))
    it.writer.forget(ROOM, epoch=Epoch(5))
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    assert it.settled.of() == [("a", Fenced(Epoch(5))), ("b", Fenced(Epoch(5)))]
    assert it.writer.waiting == 0


@in_virtual_time
async def test_after_a_cancelled_step_the_room_s_later_drafts_wait_for_its_settlement() -> None:
    it = await bench()
    it.log.plans.extend(["held", "void", "out"])
    it.put(said("a"))
    step = asyncio.create_task(it.writer.step())
    await it.log.started.wait()
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    it.put(said("b"))
    await it.until_empty()
    assert it.batches() == [[(ROOM, ["a"])]] * 4 + [[(ROOM, ["b"])]]
    assert [(cid, numbers([outcome])) for cid, outcome in it.settled.of()] == [("a", [1]), ("b", [2])]


@in_virtual_time
async def test_a_batch_carries_the_wall_clock_of_its_cut() -> None:
    it = await bench()
    await asyncio.sleep(3)
    it.put(said("a"))
    await it.writer.step()
    assert it.log.appends[0] == [RoomBatch(ROOM, ONE, NODE, int(it.clock() * 1000), (said("a"),))]
