"""The rooms that a node owns, over memory twins in virtual time."""

import asyncio
import json
from collections.abc import Mapping, Sequence

import pytest

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Epoch, Incarnation, LogId, RoomId
from director.memory_hall import MemoryHall
from persistence.contract.messages import Mode
from persistence.contract.store import (
    Appended,
    Duplicate,
    Fenced,
    Outcome,
    OutcomeUnknown,
    RoomBatch,
    StoreUnavailable,
)
from persistence.store_memory import MemoryStore
from shard_node.core.overload import Strain
from shard_node.core.room import Disallowed
from shard_node.fanout.showing import SLICE
from tests.support.entries import OTHER, draft, message, mode_draft
from tests.support.small_node import Wire, small_node
from tests.support.virtual_time import in_virtual_time

MATH = RoomId("math")


def events_of(wire: Wire) -> list[tuple[str, dict[str, object]]]:
    return [tuple(json.loads(text[1:])) for text in wire.texts()]


@in_virtual_time
async def test_a_message_is_shown_after_its_commit_and_its_author_is_told_first() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        _, wire = node.add_member(hosted)
        told: list[str] = []
        refused = node.host.post(hosted, draft(), lambda outcome: told.append(f"told {len(wire.texts())}"))
        assert refused is None
        assert wire.texts() == [], "nothing is shown before it is committed"
        outcome = await node.outcome_of(hosted, draft("c2"))
        assert isinstance(outcome, Appended)
        assert outcome.entry.seq == 2
        assert told == ["told 0"]
        ((name, frame),) = events_of(wire)
        assert (name, frame["from"], frame["to"]) == ("frame", 1, 2)


@in_virtual_time
async def test_a_room_that_is_anothers_is_not_opened() -> None:
    async with small_node() as node:
        with pytest.raises(Refusal) as refused:
            await node.host.open(MATH)
        assert refused.value.code is ErrorCode.NOT_OWNER


@in_virtual_time
async def test_openings_of_one_room_at_once_are_one_opening() -> None:
    async with small_node() as node:
        await node.claim(MATH)
        first, second = await asyncio.gather(node.host.open(MATH), node.host.open(MATH))
        assert first is second


@in_virtual_time
async def test_an_owner_behind_the_stores_epoch_claims_above_it() -> None:
    async with small_node() as node:
        await node.store.open_room(
            MATH, epoch=Epoch(900), incarnation=Incarnation("former"), fresh_log=LogId("the only log")
        )
        hosted = await node.opened(MATH)
        assert hosted.room.epoch > 900
        assert hosted.room.log == "the only log"
        assert (await node.owners.room_record(MATH)) == hosted.record


class _BrokenStore(MemoryStore):
    """A store whose openings fail."""

    async def open_room(self, *args: object, **kwargs: object) -> None:  # type: ignore[override]
        raise StoreUnavailable("disk full")


class _HungStore(MemoryStore):
    """A store that never answers an opening."""

    async def open_room(self, *args: object, **kwargs: object) -> None:  # type: ignore[override]
        await asyncio.Event().wait()


@pytest.mark.parametrize("store", [_BrokenStore, _HungStore])
def test_a_store_that_does_not_open_a_room_is_a_temporary_error(store: type[MemoryStore]) -> None:
    @in_virtual_time
    async def run() -> None:
        async with small_node(store=store()) as node:
            await node.claim(MATH)
            with pytest.raises(Refusal) as refused:
                await asyncio.wait_for(node.host.open(MATH), 3.5)
            assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
            assert node.host.room_of(MATH) is None
            assert await node.owners.room_record(MATH) is None, "given back, so that another node can take it"
            assert not node.host.store_ok
            await asyncio.sleep(11)
            assert node.host.store_ok

    run()


class _ForgetfulStore(MemoryStore):
    """A store that commits and then loses as many answers as it is told to."""

    lose = 0

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        outcomes = await super().append_batch(batches)
        if self.lose:
            self.lose -= 1
            raise OutcomeUnknown("the test lost the answer")
        return outcomes


@in_virtual_time
async def test_a_retry_stays_a_retry_though_its_room_was_opened_again_and_its_commit_is_unclear() -> None:
    store = _ForgetfulStore()
    async with small_node(store=store) as node:
        hosted = await node.opened(MATH)
        await node.outcome_of(hosted, draft("c1"))
        node.host.drop(MATH, ErrorCode.NOT_OWNER)
        again = await node.host.open(MATH)
        assert again.room.epoch == hosted.room.epoch
        store.lose = 1
        outcome = await node.outcome_of(again, draft("c1"))
        assert isinstance(outcome, Duplicate)
        assert outcome.seq == 1
        assert node.host.room_of(MATH) is again


@in_virtual_time
async def test_a_fenced_owner_tells_its_members_to_go_and_shows_nothing_more() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        member, wire = node.add_member(hosted)
        await node.store.open_room(MATH, epoch=Epoch(900), incarnation=Incarnation("other"), fresh_log=LogId("unused"))
        outcome = await node.outcome_of(hosted, draft())
        assert isinstance(outcome, Fenced)
        assert node.host.room_of(MATH) is None
        assert [name for name, _ in events_of(wire)] == ["bye"]
        assert events_of(wire)[0][1]["code"] == "NOT_OWNER"
        assert node.ended == [member.connection]


@in_virtual_time
async def test_those_who_wait_when_a_room_is_dropped_are_told_once() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        told: list[object] = []
        node.host.post(hosted, draft(), told.append)
        node.host.drop(MATH, ErrorCode.LEASE_LOST)
        node.host.drop(MATH, ErrorCode.LEASE_LOST)
        await asyncio.sleep(1)
        assert [type(one) for one in told] == [Refusal]


@in_virtual_time
async def test_rows_that_name_another_owner_are_noticed_without_a_message() -> None:
    async with small_node() as node:
        await node.opened(MATH)
        await node.opened("art")
        await node.store.open_room(MATH, epoch=Epoch(900), incarnation=Incarnation("x"), fresh_log=LogId("unused"))
        await node.host.confirm_rows()
        assert [hosted.record.room for hosted in node.host] == ["art"]


@in_virtual_time
async def test_an_empty_room_is_closed_after_a_while_and_its_record_removed() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        member, _ = node.add_member(hosted)
        await asyncio.sleep(100)
        node.host.close_idle(60)
        assert node.host.room_of(MATH) is hosted, "somebody is in it"
        node.host.remove(hosted, member.connection)
        node.host.remove(hosted, member.connection)
        await asyncio.sleep(59)
        node.host.close_idle(60)
        assert node.host.room_of(MATH) is hosted
        await asyncio.sleep(1)
        node.host.close_idle(60)
        assert node.host.room_of(MATH) is None
        await asyncio.sleep(0.1)
        assert await node.owners.room_record(MATH) is None


@in_virtual_time
async def test_a_closed_room_opens_again_where_it_was_with_its_log() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        await node.outcome_of(hosted, draft())
        await asyncio.sleep(100)
        node.host.close_idle(60)
        await asyncio.sleep(0.1)
        again = await node.opened(MATH)
        assert (again.room.log, again.room.head) == (hosted.room.log, 1)
        assert again.room.epoch > hosted.room.epoch


@in_virtual_time
async def test_a_draft_that_the_mode_forbids_is_not_put() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        await node.outcome_of(hosted, mode_draft(Mode.CLOSED))
        assert isinstance(node.host.post(hosted, draft("late"), lambda _: None), Disallowed)
        assert node.writer.waiting == 0


@in_virtual_time
async def test_counts_are_reported_when_they_change() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        assert node.host.changed_counts() == {MATH: 0}
        node.host.note_reported({MATH: 0})
        assert node.host.changed_counts() == {}
        node.add_member(hosted)
        node.add_member(hosted, OTHER)
        node.add_member(hosted, OTHER)
        assert node.host.changed_counts() == {MATH: 2}, "people, not connections"
        assert len(hosted.members) == 2
        assert hosted.members.connections == 3


@in_virtual_time
async def test_a_large_room_s_batches_start_further_apart_and_the_node_s_mode_counts() -> None:
    async with small_node() as node:
        assert node.host.pace_of(MATH) == 0.0, "a room that is not here need not wait"
        hosted = await node.opened(MATH)
        node.add_member(hosted)
        assert node.host.pace_of(MATH) == 0.02
        hosted.pace.learn(0.01, 1)
        assert node.host.pace_of(MATH) == 0.08
        for second in (0.0, 1.0):
            node.host.overload.judge(Strain(lag=9.0), second)
        assert node.host.pace_of(MATH) == 1.0


@in_virtual_time
async def test_a_room_s_messages_are_gathered_at_its_pace() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        _, wire = node.add_member(hosted)
        hosted.pace.learn(1.0, 1)
        told: list[Outcome | Refusal] = []
        for number in range(21):
            node.host.post(hosted, draft(f"c{number}"), told.append)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.25)
        assert len(told) == 21
        assert len(events_of(wire)) <= 6


@in_virtual_time
async def test_a_room_that_was_dropped_shows_nothing_behind_its_bye() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        wires = [node.add_member(hosted)[1] for _ in range(SLICE + 3)]
        hosted.showing.show(hosted.room.show([message(1)]))
        node.host.drop(MATH, ErrorCode.LEASE_LOST)
        await asyncio.sleep(1)
        assert [name for name, _ in events_of(wires[0])] == ["frame", "bye"]
        assert [name for name, _ in events_of(wires[-1])] == ["bye"]


@in_virtual_time
async def test_nodes_that_own_a_room_one_after_the_other_write_one_log() -> None:
    hall = MemoryHall(clock=asyncio.get_running_loop().time)
    store = MemoryStore()
    async with small_node("node-1", hall=hall, store=store) as one, small_node("node-2", hall=hall, store=store) as two:
        first = await one.opened(MATH)
        await one.outcome_of(first, draft("a"))
        await one.keeper.release()
        await two.claim(MATH, replacing=first.record)
        second = await two.host.open(MATH)
        assert isinstance(await two.outcome_of(second, draft("b")), Appended)
        assert isinstance(await one.outcome_of(first, draft("c")), Fenced), "the old owner's word no longer counts"
        page = await store.read_after(MATH, after=0, limit=10, max_bytes=10_000)  # type: ignore[arg-type]
        assert [(entry.seq, entry.cid) for entry in page.entries] == [(1, "a"), (2, "b")]


@in_virtual_time
async def test_a_retry_shares_the_fate_of_the_first_try_though_the_room_is_being_closed() -> None:
    """It was told MODE_CLOSED while the first try was on its way to be committed."""
    async with small_node() as node:
        hosted = await node.opened(MATH)
        told: list[object] = []
        assert node.host.post(hosted, draft("x"), told.append) is None
        assert node.host.post(hosted, mode_draft(Mode.CLOSED), told.append) is None
        assert node.host.post(hosted, draft("x"), told.append) is None
        assert isinstance(node.host.post(hosted, draft("y"), told.append), Disallowed)
        await asyncio.sleep(1)
        assert [type(outcome) for outcome in told] == [Appended, Appended, Duplicate]
