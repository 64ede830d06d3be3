"""A node's answers to what members ask of a room's history, over memory twins in virtual time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import RoomId, Seq
from persistence.contract.messages import Draft, Kind
from persistence.contract.store import Appended, Page
from persistence.store_memory import MemoryStore
from shard_node.contract.events import HistoryPage, HistoryRequest
from shard_node.hosted_room import HostedRoom
from shard_node.requests import MAX_READ_TRIES, Answer, RoomRequests
from tests.support.entries import LECTURER, draft
from tests.support.small_node import SmallNode, small_node
from tests.support.virtual_time import in_virtual_time

MATH = RoomId("math")
SECRET = "what should not have been said"


class SlowHistory(MemoryStore):
    """Reads at once and hands out what it has read only when `released`, as a store does that is far away."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.is_reading = asyncio.Event()
        self.released = asyncio.Event()

    async def read_before(self, room: RoomId, *, before: Seq | None, limit: int, max_bytes: int) -> Page:
        page = await super().read_before(room, before=before, limit=limit, max_bytes=max_bytes)
        if limit <= 200:  # a member's page, not the node's own reading when it opens the room
            self.reads += 1
            self.is_reading.set()
            await self.released.wait()
        return page


class Asking:
    """Members of one room who ask for its newest page."""

    def __init__(self, node: SmallNode, hosted: HostedRoom, history: SlowHistory) -> None:
        self.node, self.hosted, self.history = node, hosted, history
        self._requests = RoomRequests(node.host, history, self._later)
        self._tasks: list[asyncio.Task[None]] = []

    def ask(self) -> "asyncio.Future[HistoryPage | Refusal]":
        told: asyncio.Future[HistoryPage | Refusal] = asyncio.get_running_loop().create_future()
        member, _ = self.node.add_member(self.hosted)
        self._requests.act(self.hosted, member, HistoryRequest(), told.set_result)
        return told

    async def delete(self, target: int) -> None:
        deletion = Draft(f"d{target}", LECTURER, Kind.DELETE, target=Seq(target))
        assert isinstance(await self.node.outcome_of(self.hosted, deletion), Appended)

    def _later(self, answer: Answer, coroutine: Coroutine[Any, Any, Any]) -> None:
        async def run() -> None:
            try:
                answer(await coroutine)
            except Refusal as refusal:
                answer(refusal)

        self._tasks.append(asyncio.get_running_loop().create_task(run()))


def texts_of(answer: HistoryPage | Refusal) -> list[object]:
    assert isinstance(answer, HistoryPage)
    return [entry.text for entry in answer.entries if entry.kind is Kind.MESSAGE and not entry.deleted]


@in_virtual_time
async def test_a_text_deleted_while_a_page_is_read_is_in_nobodys_page() -> None:
    """Those who shared the read asked before the deletion, were answered after it, and were given the text once more:
    in a room where everybody had just seen it go."""
    history = SlowHistory()
    async with small_node(store=history) as node:
        hosted = await node.opened(MATH)
        asking = Asking(node, hosted, history)
        await node.outcome_of(hosted, draft("c1", "hello"))
        await node.outcome_of(hosted, draft("c2", SECRET))
        early = [asking.ask() for _ in range(3)]
        await history.is_reading.wait()
        await asking.delete(2)
        late = asking.ask()
        history.released.set()
        assert [texts_of(answer) for answer in await asyncio.gather(*early, late)] == [["hello"]] * 4
        assert history.reads <= 3, "who asks for the same, and is told the same, shares the reading"


@in_virtual_time
async def test_a_class_that_scrolls_up_together_reads_once() -> None:
    history = SlowHistory()
    async with small_node(store=history) as node:
        hosted = await node.opened(MATH)
        asking = Asking(node, hosted, history)
        await node.outcome_of(hosted, draft("c1", "hello"))
        answers = [asking.ask() for _ in range(20)]
        await history.is_reading.wait()
        history.released.set()
        assert [texts_of(answer) for answer in await asyncio.gather(*answers)] == [["hello"]] * 20
        assert history.reads == 1


@in_virtual_time
async def test_a_page_that_deletions_overtake_again_and_again_is_to_be_asked_for_later() -> None:
    history = SlowHistory()
    async with small_node(store=history) as node:
        hosted = await node.opened(MATH)
        asking = Asking(node, hosted, history)
        for number in range(1, MAX_READ_TRIES + 1):
            await node.outcome_of(hosted, draft(f"c{number}", SECRET))
        answer = asking.ask()
        for number in range(1, MAX_READ_TRIES + 1):
            async with asyncio.timeout(60):
                await history.is_reading.wait()
            history.is_reading.clear()
            await asking.delete(number)
            history.released.set()
            await asyncio.sleep(0)
            history.released.clear()
        refusal = await answer
        assert isinstance(refusal, Refusal)
        assert refusal.code is ErrorCode.BUSY
        assert refusal.retry_after_ms > 0
