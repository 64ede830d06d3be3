"""A node's figures: each rises by what happens, and stays when the room that it happened in is gone."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Epoch, Incarnation, LogId, RoomId
from director.contract.ticket import Ticket
from director.ticket_jwt import JwtTicketBook
from persistence.contract.messages import Author
from persistence.contract.store import Outcome, OutcomeUnknown, RoomBatch, StoreUnavailable
from persistence.store_memory import MemoryStore
from shard_node.core.admission import JOIN_BURST, Budgets
from shard_node.core.lag import LagProbe
from shard_node.fanout.showing import STUCK_AFTER
from shard_node.gateway import RoomGateway
from shard_node.housekeeping import Housekeeping
from shard_node.metrics import NodeMetrics
from tests.support.connections import FakeConnection
from tests.support.entries import LECTURER, STUDENT
from tests.support.small_node import SmallNode, small_node
from tests.support.virtual_time import in_virtual_time

MATH = RoomId("math")


class MoodyStore(MemoryStore):
    """Is away when it is told to be, and loses its next answer when it is told so."""

    is_away = False
    loses_answer = False

    async def append_batch(self, batches: Sequence[RoomBatch]) -> Mapping[RoomId, tuple[Outcome, ...]]:
        if self.is_away:
            raise StoreUnavailable("away")
        outcomes = await super().append_batch(batches)
        if self.loses_answer:
            self.loses_answer = False
            raise OutcomeUnknown("the answer is lost")
        return outcomes


class Watched:
    """A node with its gateway and chores in the test's hand, and what it says of itself."""

    def __init__(self, node: SmallNode) -> None:
        now = asyncio.get_running_loop().time
        clock = FleetClock()
        clock.take(0, sent_at=now(), received_at=now())
        self.node = node
        self.budgets = Budgets(now())
        self._lag = LagProbe(now())
        self._tickets = JwtTicketBook("k" * 32)
        self.gateway = RoomGateway(
            host=node.host,
            history=node.store,
            tickets=self._tickets,
            clock=clock,
            now=now,
            may_admit=node.keeper.may_admit,
            is_stopping=lambda: False,
            lag=self._lag,
            budgets=self.budgets,
            spawn=lambda coroutine: coroutine.close(),
        )
        self.chores = Housekeeping(
            node.host,
            now=now,
            lag=self._lag,
            slowest_commit=node.writer.take_slowest,
            learn=lambda: None,
            linger=0.0,
        )
        self._metrics = NodeMetrics(
            node.host, node.keeper, self._lag, self.budgets, node.writer.tally, waiting=lambda: node.writer.waiting
        )
        self._before = self._told()

    def _told(self) -> dict[str, float]:
        text = self._metrics.exposition().decode()
        return {
            sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def rises(self) -> dict[str, float]:
        """What has changed since this was last asked, by short names; buckets and seconds are left out."""
        told = self._told()
        before, self._before = self._before, told
        return {
            name.removeprefix("hall_node_"): value - before.get(name, 0.0)
            for name, value in told.items()
            if value != before.get(name, 0.0)
            and name.startswith("hall_node_")
            and "_bucket" not in name
            and "seconds" not in name
        }

    async def join(self, author: Author = STUDENT, *, since: Any = None, takes: int | None = None) -> FakeConnection:
        hosted = self.node.host.room_of(MATH)
        epoch = Epoch(1) if hosted is None else hosted.room.epoch
        ticket = Ticket(MATH, author.id, author.name, author.role, self.node.name, epoch, 600_000)
        connection = FakeConnection(f"sid-{next(self.node.sids)}", takes)
        auth = {"v": 1, "ticket": self._tickets.sign(ticket), "since": since}
        connection.admission = await self.gateway.connecting(auth)
        self.gateway.connected(connection)
        return connection

    async def ask(self, connection: FakeConnection, name: str, **body: Any) -> Any:
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.gateway.event(connection, name, [body], told.set_result)
        return await told


def position_of(connection: FakeConnection) -> dict[str, Any]:
    ((_, joined),) = connection.events("joined")
    position: dict[str, Any] = joined["pos"]
    return position


@in_virtual_time
async def test_joins_are_told_apart_by_what_who_joined_was_given() -> None:
    async with small_node() as node:
        await node.opened(MATH)
        it = Watched(node)
        first = await it.join()
        assert it.rises() == {"members": 1, "connections": 1, "joins_total new": 1, "gate_total joins admitted": 1}
        at = position_of(first)
        await it.join(since=at)
        again = it.rises()
        assert again["joins_total recovered"] == again["gate_total resumes admitted"] == again["connections"] == 1
        assert "members" not in again, "one person by two connections"
        await it.join(LECTURER, since={**at, "log": "another"})
        assert it.rises()["joins_total new_log"] == 1
        it.gateway.disconnected(first)
        assert it.rises() == {"leaves_total": 1, "connections": -1}


@in_virtual_time
async def test_a_crowd_is_counted_at_the_gate_and_by_the_code_that_it_was_told() -> None:
    async with small_node() as node:
        await node.opened(MATH)
        it = Watched(node)
        for _ in range(int(JOIN_BURST)):
            it.budgets.joins.ask(asyncio.get_running_loop().time())
        it.rises()
        with pytest.raises(Refusal) as refused:
            await it.join()
        assert refused.value.code is ErrorCode.BUSY
        assert it.rises() == {"gate_total joins refused": 1, "joins_refused_total busy": 1}


@in_virtual_time
async def test_a_message_is_counted_on_each_step_of_its_way() -> None:
    async with small_node() as node:
        await node.opened(MATH)
        it = Watched(node)
        ann, _ = await it.join(), await it.join(LECTURER)
        it.rises()
        assert (await it.ask(ann, "send", cid="c1", text="hello")).seq == 1
        assert it._before.keys() >= {"hall_node_settle_seconds_count", "hall_node_transaction_seconds_count"}
        before = dict(it._before)
        rises = it.rises()
        size = rises.pop("frame_bytes_sum")
        assert size > 100
        assert rises == {
            "gate_total sends admitted": 1,
            "events_total send": 1,
            "transactions_total committed": 1,
            "transaction_drafts_count": 1,
            "transaction_drafts_sum": 1,
            "entries_total": 1,
            "frame_bytes_count": 1,
            "deliveries_total": 2,
        }
        for name in ("settle_seconds", "transaction_seconds", "fanout_seconds"):
            assert it._before[f"hall_node_{name}_count"] - before[f"hall_node_{name}_count"] == 1, name

        assert (await it.ask(ann, "send", cid="c1", text="hello")).dup
        again = it.rises()
        assert again["drafts_unappended_total duplicate"] == again["events_total send"] == 1
        assert "entries_total" not in again


@in_virtual_time
async def test_what_is_answered_with_an_error_is_counted_by_its_code() -> None:
    async with small_node() as node:
        await node.opened(MATH)
        it = Watched(node)
        ann = await it.join()
        it.rises()
        await it.ask(ann, "dance")
        await it.ask(ann, "send", cid="c1", text="")
        await it.ask(ann, "mode", cid="c2", mode="closed", slow_ms=0)
        it.gateway.malformed("send", binary=False, oversized=True)
        rises = it.rises()
        assert {name: rises[name] for name in rises if "refused" in name} == {
            "events_refused_total unsupported": 1,
            "events_refused_total bad_request": 1,
            "events_refused_total forbidden": 1,
            "events_refused_total too_large": 1,
        }
        assert rises["events_total send"] == rises["events_total mode"] == 1


@in_virtual_time
async def test_who_falls_behind_is_skipped_or_sent_away_is_counted_and_no_room_takes_that_with_it() -> None:
    async with small_node() as node:
        hosted = await node.opened(MATH)
        it = Watched(node)
        lee = await it.join(LECTURER)
        slow = await it.join(takes=1)
        slow.takes = 1
        it.rises()
        for number in range(250):
            if number % 50 == 0:
                await asyncio.sleep(3.0)
            assert (await it.ask(lee, "send", cid=f"c{number}", text="hello")).ok
        rises = it.rises()
        assert (rises["fell_behind_total"], rises["behind"]) == (1, 1)
        frames = rises["frame_bytes_count"]
        assert rises["deliveries_total"] == frames + 1, "one took all, the other one frame"
        slow.takes = 1
        it.chores.step()
        rises = it.rises()
        assert (rises["gaps_total"], rises["deliveries_total"]) == (1, 1)
        await asyncio.sleep(STUCK_AFTER + 1)
        it.chores.step()
        rises = it.rises()
        assert (rises["byes_total slow"], rises["behind"], rises["connections"]) == (1, -1, -1)
        node.host.drop(MATH, ErrorCode.NOT_OWNER)
        rises = it.rises()
        assert (rises["rooms_dropped_total not_owner"], rises["byes_total not_owner"], rises["rooms"]) == (1, 1, -1)
        assert not any(value < 0 for name, value in rises.items() if name.endswith("_total"))
        assert hosted.members.connections == 1


@in_virtual_time
async def test_a_store_that_is_away_and_one_that_gave_the_room_to_another_are_told() -> None:
    store = MoodyStore()
    async with small_node(store=store) as node:
        await node.opened(MATH)
        it = Watched(node)
        ann = await it.join()
        it.rises()
        store.is_away = True
        waiting = asyncio.create_task(it.ask(ann, "send", cid="c1", text="hello"))
        await asyncio.sleep(0.01)
        assert it.rises()["waiting"] == 1
        assert (await waiting).error.code is ErrorCode.STORE_UNAVAILABLE
        rises = it.rises()
        assert rises["transactions_total unavailable"] >= 3
        assert rises["drafts_unappended_total unsettled"] == rises["events_refused_total store_unavailable"] == 1
        assert rises["waiting"] == -1

        store.is_away, store.loses_answer = False, True
        assert (await it.ask(ann, "send", cid="c3", text="hello")).seq == 1
        rises = it.rises()
        assert (
            rises["transactions_total unclear"] == rises["transactions_total committed"] == rises["entries_total"] == 1
        )

        await store.open_room(MATH, epoch=Epoch(900), incarnation=Incarnation("other"), fresh_log=LogId("l"))
        assert (await it.ask(ann, "send", cid="c2", text="hello")).error.code is ErrorCode.NOT_OWNER
        rises = it.rises()
        assert rises["fences_total"] == rises["drafts_unappended_total fenced"] == 1
        assert rises["rooms_dropped_total not_owner"] == rises["byes_total not_owner"] == 1


@in_virtual_time
async def test_openings_and_closings_are_counted_by_their_outcome() -> None:
    async with small_node() as node:
        it = Watched(node)
        await node.opened(MATH)
        assert it.rises() == {"openings_total opened": 1, "rooms": 1}
        with pytest.raises(Refusal, match="does not own"):
            await node.host.open(RoomId("art"))
        assert it.rises() == {"openings_total not_owner": 1}
        node.host.close_idle(0.0)
        assert it.rises() == {"rooms_closed_total": 1, "rooms": -1}


@in_virtual_time
async def test_the_lease_s_age_and_what_the_guard_makes_of_it_are_told() -> None:
    async with small_node() as node:
        await node.opened(MATH)
        it = Watched(node)
        assert it._before["hall_node_lease_age_seconds"] == 0.0
        assert it._before["hall_node_guard serve"] == 1
        node.hall.is_silent = True
        await asyncio.sleep(2.5)
        it.rises()
        assert 2.0 <= it._before["hall_node_lease_age_seconds"] <= 3.5
        assert it._before["hall_node_guard renew"] == 1
        node.hall.is_silent = False
        node.keeper._lose()
        it.rises()
        assert it._before["hall_node_leases_lost_total"] == 1


@in_virtual_time
async def test_no_figure_names_a_room_or_a_person() -> None:
    async with small_node() as node:
        await node.opened(MATH)
        it = Watched(node)
        ann = await it.join(Author(STUDENT.id, "Ann Oddname", STUDENT.role))
        await it.ask(ann, "send", cid="oddcid", text="oddtext")
        told = json.dumps(it._metrics.exposition().decode())
        for name in (MATH, "Oddname", "oddcid", "oddtext", f" {STUDENT.id}"):
            assert name not in told.replace('node="', "")
