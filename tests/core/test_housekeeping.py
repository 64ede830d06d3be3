"""The node's regular chores, over a node without sockets in virtual time."""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from director.contract.ids import RoomId
from shard_node.contract.events import NodeMode
from shard_node.core.lag import BEAT_EVERY, LagProbe
from shard_node.fanout.showing import STUCK_AFTER
from shard_node.hosted_room import HostedRoom
from shard_node.housekeeping import MAX_TOLD, Housekeeping
from tests.support.connections import FakeConnection, fake_member
from tests.support.entries import draft
from tests.support.small_node import SmallNode, small_node
from tests.support.virtual_time import in_virtual_time

MATH, ART = RoomId("math"), RoomId("art")


@dataclass(slots=True)
class Chores:
    """Housekeeping of a small node, and what it asks for and tells."""

    node: SmallNode
    commits: list[float] = field(default_factory=list)
    lessons: int = 0
    keeping: Housekeeping = field(init=False)
    lag: LagProbe = field(init=False)

    def __post_init__(self) -> None:
        now = asyncio.get_running_loop().time
        self.lag = LagProbe(now())
        self.keeping = Housekeeping(
            self.node.host,
            now=now,
            lag=self.lag,
            slowest_commit=lambda: max(self.commits, default=0.0),
            learn=self._learn,
            linger=60.0,
        )

    def _learn(self) -> None:
        self.lessons += 1

    def join(self, hosted: HostedRoom, name: str, *, takes: int | None = None) -> FakeConnection:
        member, connection = fake_member(name, shown=hosted.room.head, takes=takes)
        self.node.host.add(hosted, member)
        return connection

    async def go_on(self, seconds: float) -> None:
        """So many seconds of chores."""
        for _ in range(round(seconds / BEAT_EVERY)):
            await asyncio.sleep(BEAT_EVERY)
            self.lag.beat(asyncio.get_running_loop().time())
            self.keeping.step()


def members_told(connection: FakeConnection) -> list[Any]:
    return [news["members"] for _, news in connection.events("ambient")]


@in_virtual_time
async def test_a_member_that_stays_stuck_gets_bye_and_is_ended_and_nobody_else_is() -> None:
    async with small_node() as node:
        it = Chores(node)
        hosted = await node.opened(MATH)
        stuck, healthy = it.join(hosted, "stuck", takes=0), it.join(hosted, "healthy")
        await node.outcome_of(hosted, draft())
        await it.go_on(STUCK_AFTER - 1)
        assert node.ended == []
        await it.go_on(2)
        assert [connection.sid for connection in node.ended] == [stuck.sid]
        assert [(name, body["code"], body["action"]) for name, body in stuck.events("bye")] == [
            ("bye", "SLOW", "reroute")
        ]
        assert [member.connection for member in hosted.members] == [healthy]


@in_virtual_time
async def test_a_member_that_reads_again_is_shown_the_rest_within_a_beat() -> None:
    async with small_node() as node:
        it = Chores(node)
        hosted = await node.opened(MATH)
        slow = it.join(hosted, "slow", takes=0)
        await node.outcome_of(hosted, draft())
        slow.takes = None
        await it.go_on(BEAT_EVERY)
        assert slow.ranges() == [("frame", 1, 1)]


@in_virtual_time
async def test_counts_come_every_two_seconds_while_they_change() -> None:
    async with small_node() as node:
        it = Chores(node)
        hosted = await node.opened(MATH)
        ann = it.join(hosted, "ann")
        await it.go_on(2.2)
        ben = it.join(hosted, "ben")
        hosted.reactions["👏"] += 2
        await it.go_on(2)
        node.host.remove(hosted, ben)
        await it.go_on(10)
        assert members_told(ann) == [1, 2, 1]
        assert ann.events("ambient")[1][1]["reactions"] == {"👏": 2}
        assert ann.events("ambient")[0][1]["node_mode"] == "normal"


@in_virtual_time
async def test_counts_of_many_rooms_are_not_told_all_at_one_beat() -> None:
    async with small_node() as node:
        it = Chores(node)
        crowds = []
        for room in (MATH, ART):
            hosted = await node.opened(room)
            crowds.append([it.join(hosted, f"{room}{number}") for number in range(MAX_TOLD - 500)])
        await it.go_on(3)
        assert not any(connection.packets for crowd in crowds for connection in crowd), "a crowd has come"
        told = [0]
        for _ in range(30):
            await it.go_on(BEAT_EVERY)
            told.append(sum(len(connection.packets) for crowd in crowds for connection in crowd))
        assert told[-1] == 2 * (MAX_TOLD - 500)
        assert max(after - before for before, after in pairwise(told)) <= MAX_TOLD


@in_virtual_time
async def test_slow_commits_and_a_late_loop_make_the_node_gather_and_ease_lets_it_go() -> None:
    async with small_node() as node:
        it = Chores(node)
        hosted = await node.opened(MATH)
        ann = it.join(hosted, "ann")
        modes = [node.host.overload.mode]
        for commit in (0.3, 2.0, 0.0):
            it.commits = [commit]
            await it.go_on(8)
            modes.append(node.host.overload.mode)
        assert modes == [NodeMode.NORMAL, NodeMode.BATCHED, NodeMode.CALM, NodeMode.NORMAL]
        assert "batched" in [news["node_mode"] for _, news in ann.events("ambient")]
        for _ in range(4):
            await asyncio.sleep(0.8)
            await it.go_on(BEAT_EVERY)
        assert node.host.overload.mode is NodeMode.CALM
        assert round(node.host.overload.strain.lag, 1) == 0.8


@in_virtual_time
async def test_what_waits_for_members_counts_as_outgoing() -> None:
    async with small_node() as node:
        it = Chores(node)
        hosted = await node.opened(MATH)
        for number in range(3):
            it.join(hosted, f"m{number}").unsent = 40 << 20
        await it.go_on(3)
        assert node.host.overload.strain.outgoing == 120 << 20
        assert node.host.overload.mode is NodeMode.BATCHED


@in_virtual_time
async def test_empty_rooms_are_closed_and_joins_are_learnt_from_meanwhile() -> None:
    async with small_node() as node:
        it = Chores(node)
        await node.opened(MATH)
        await it.go_on(59)
        assert node.host.room_of(MATH) is not None
        await it.go_on(2)
        assert node.host.room_of(MATH) is None
        assert 55 <= it.lessons <= 61


@in_virtual_time
async def test_it_runs_by_itself_until_it_is_cancelled() -> None:
    async with small_node() as node:
        it = Chores(node)
        running = asyncio.create_task(it.keeping.run())
        await asyncio.sleep(3.05)
        assert it.lessons in (2, 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
