"""A member that falls far behind: it is skipped forward, told of the lecture, and nobody else notices (protocol 5)."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.crowd import gauge, small_socket
from tests.support.fleet import Fleet, running_fleet
from tests.support.raw_client import WITHIN, RawClient, fresh_cid, fresh_room, member, raw_client, route

STUDENTS = 16
LONG = "가" * 2_000


async def shown_to(client: RawClient, head: int) -> None:
    """Read frames until number `head`; only the last one is looked at."""
    while (await client.until("frame"))["to"] < head:
        pass


class Class:
    """Students that talk at length, and a lecturer that says a word now and then. All of them read."""

    def __init__(self, students: list[RawClient], lecturer: RawClient) -> None:
        self._students = students
        self._lecturer = lecturer
        self.head = 0
        self.staff: list[int] = []

    async def say(self) -> None:
        """64 long messages and the lecturer's; returns when those here have been shown all."""
        bodies = [{"cid": fresh_cid(), "text": LONG} for _ in range(4)]
        talk = [
            student.ask_all("send", [{**body, "cid": fresh_cid()} for body in bodies]) for student in self._students
        ]
        word = self._lecturer.ask("send", {"cid": fresh_cid(), "text": f"word {len(self.staff)}"})
        said, *acks = await asyncio.gather(word, *talk)
        assert said["ok"] and all(ack["ok"] for own in acks for ack in own), (said, acks)  # noqa: PT018
        self.staff.append(said["seq"])
        self.head = max(said["seq"], *(ack["seq"] for own in acks for ack in own))
        await asyncio.gather(*(shown_to(client, self.head) for client in (*self._students, self._lecturer)))

    async def take_down(self, seq: int) -> None:
        """The lecturer deletes an entry."""
        ack = await self._lecturer.ask("delete", {"cid": fresh_cid(), "target": seq})
        self.staff.append(ack["seq"])
        self.head = ack["seq"]


async def read_on(client: RawClient, *, to: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All frames and all gaps up to a number; they follow one another, and frames are whole."""
    position = 0
    frames: list[dict[str, Any]] = []
    gaps: list[dict[str, Any]] = []
    while position < to:
        name, body = await client.packet()
        if name not in ("frame", "gap"):
            assert name == "ambient", (name, body)
            continue
        seqs = [entry["seq"] for entry in body["entries"]]
        assert body["from"] == position + 1
        if name == "frame":
            assert seqs == list(range(body["from"], body["to"] + 1))
        else:
            assert seqs == sorted(seqs)
        position = body["to"]
        (frames if name == "frame" else gaps).append(body)
    return frames, gaps


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet that does not mind late answers to its pings, so that what a member reads is all that counts."""
    with running_fleet(nodes=1, data=tmp_path_factory.mktemp("hall") / "data", env={"HALL_PING_TIMEOUT": "60"}) as it:
        yield it


async def test_who_reads_again_far_behind_is_given_a_gap_with_the_lecture_in_it(patient: Fleet) -> None:
    fleet = patient
    room = fresh_room()
    place = await route(fleet, room, user="slow")
    async with AsyncExitStack() as stack:
        students = [
            (await stack.enter_async_context(member(fleet, room, user=f"s{number}")))[0] for number in range(STUDENTS)
        ]
        lee, _ = await stack.enter_async_context(member(fleet, room, user="lee", role="lecturer"))
        slow = await stack.enter_async_context(raw_client(place, sock=await small_socket(place)))
        await slow.join({"v": 1, "ticket": place.ticket})
        slow.socket.transport.pause_reading()
        talk = Class(students, lee)
        async with asyncio.timeout(4 * WITHIN):
            while not await gauge(place, "hall_node_behind"):
                await talk.say()
            for _ in range(4):
                await talk.say()
            await talk.take_down(talk.staff[-3])
        slow.socket.transport.resume_reading()
        frames, gaps = await read_on(slow, to=talk.head)
        assert gaps, "it lacks more than the room holds"
        skipped = {seq for gap in gaps for seq in range(gap["from"], gap["to"] + 1)}
        told = {entry["seq"]: entry for gap in gaps for entry in gap["entries"]}
        assert set(told) == skipped & set(talk.staff), "the lecture and nothing else"
        shown = {entry["seq"]: entry for frame in frames for entry in frame["entries"]} | told
        gone = shown[talk.staff[-4]]
        assert gone["deleted"] is True
        assert "text" not in gone
        assert set(talk.staff) <= set(shown)
        assert len(shown) < talk.head
        await talk.say()
        position = talk.head
        tail: list[int] = []
        while not tail or tail[-1] < position:
            frame = await slow.until("frame")
            tail += [entry["seq"] for entry in frame["entries"]]
        assert tail == list(range(tail[0], position + 1))
        assert (await slow.ask("send", {"cid": fresh_cid(), "text": "I am here"}))["ok"]


async def test_a_node_tells_how_much_it_has_to_do(fleet: Fleet) -> None:
    place = await route(fleet, fresh_room())
    async with raw_client(place) as client:
        await client.join({"v": 1, "ticket": place.ticket})
        modes = [await gauge(place, f'hall_node_mode{{mode="{mode}"}}') for mode in ("normal", "batched", "calm")]
        assert sum(modes) == 1
        assert await gauge(place, "hall_node_pace_seconds") >= 0.02
        for name in ("lag_seconds", "outgoing_bytes", "commit_seconds"):
            assert await gauge(place, f"hall_node_{name}") >= 0
        assert (await client.until("ambient"))["node_mode"] in ("normal", "batched", "calm")
