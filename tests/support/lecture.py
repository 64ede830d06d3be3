"""A lecture in a real fleet: members that speak all the time, and others that drop out and come back."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from loadtest.client import HallClient
from loadtest.contract.history import HistoryEvent, Parted
from tests.support.newcomer import refusal_of

BACK_WITHIN = 45.0  # who was told to wait several times in a row waits up to 20 s the next time, too
SETTLED_WITHIN = 20.0
BETWEEN_MESSAGES = 0.2
ACKED_WITHIN = 8.0
PATIENCE = 60.0


class Hall(Protocol):
    """A fleet, of whatever make."""

    @property
    def director_url(self) -> str: ...

    def output(self) -> str:
        """All that the fleet has written so far."""
        ...


@dataclass(slots=True)
class Lecture:
    """Members of a few rooms; one in each speaks all the time, and one may drop out."""

    fleet: Hall
    http: httpx.AsyncClient
    rooms: list[str]
    speakers: list[HallClient]
    listeners: list[HallClient]
    sent: int = 0
    spoken: asyncio.Event = field(default_factory=asyncio.Event)
    excused: set[str] = field(default_factory=set)
    partings: list[Parted] = field(default_factory=list)

    def record(self, event: HistoryEvent) -> None:
        """As a recorder of the members: how their connections ended."""
        if isinstance(event, Parted):
            self.partings.append(event)

    def excuse(self, rooms: set[str]) -> None:
        """In these rooms something is going to be noticed."""
        self.excused |= rooms

    async def speak(self) -> None:
        """Send in all rooms until cancelled; a send that fails or hangs fails the test."""
        clock = asyncio.get_running_loop().time

        async def one(speaker: HallClient) -> None:
            while True:
                asked_at = clock()
                await speaker.send(f"{speaker.room} {self.sent}", timeout=PATIENCE)
                took = clock() - asked_at
                assert took < ACKED_WITHIN or speaker.room in self.excused, f"{speaker.room}: acked after {took:.1f} s"
                self.sent += 1
                self.spoken.set()
                await asyncio.sleep(BETWEEN_MESSAGES)  # the pace of people

        async with asyncio.TaskGroup() as tasks:
            for speaker in self.speakers:
                tasks.create_task(one(speaker))

    async def said(self, more: int) -> None:
        """Wait until so many more messages have been acknowledged, at the pace of people."""
        target = self.sent + more
        async with asyncio.timeout(60):
            while self.sent < target:
                self.spoken.clear()
                await self.spoken.wait()

    async def drop_and_come_back(self) -> None:
        """A listener of each room loses its connection, and is back in time with all that was said."""
        await asyncio.gather(*(listener.drop() for listener in self.listeners))
        await asyncio.gather(*(listener.live(BACK_WITHIN) for listener in self.listeners))

    def members_in(self, rooms: set[str]) -> list[HallClient]:
        return [member for member in (*self.speakers, *self.listeners) if member.room in rooms]

    async def about(self, room: str) -> Any:
        answer = await self.http.get(f"/rooms/{room}", params={"user": "staff", "role": "lecturer"})
        return answer.json()

    async def until(self, holds: Callable[[list[Any]], bool], what: str) -> None:
        """Wait until something holds of what the director says of the rooms."""
        try:
            async with asyncio.timeout(SETTLED_WITHIN):
                while not holds(told := [await self.about(room) for room in self.rooms]):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)  # nobody tells when a director has learned something
        except TimeoutError:
            raise AssertionError(f"{what}: {told}\n{self.fleet.output()}") from None

    def nobody_noticed(self) -> None:
        """Every speaker has been on its first connection all the time."""
        steady = [speaker for speaker in self.speakers if speaker.room not in self.excused]
        joins = {speaker.room: (speaker.times_started, speaker.times_resumed) for speaker in steady}
        assert set(joins.values()) <= {(1, 0)}, f"{joins}\n{self.fleet.output()}"


@asynccontextmanager
async def lecture(fleet: Hall, name: str) -> AsyncIterator[Lecture]:
    """A lecture in six rooms on all nodes, under way."""
    rooms = [f"{name}-{number}" for number in range(6)]
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=fleet.director_url, trust_env=False, timeout=10)
        )

        at = Lecture(fleet, http, rooms, [], [])

        async def members(user: str) -> list[HallClient]:
            clients = [
                HallClient(fleet.director_url, room, user=user, rng=random.Random(room), recorder=at) for room in rooms
            ]
            for client in clients:
                await stack.enter_async_context(client)
            await asyncio.gather(*(client.live(30.0) for client in clients))
            return clients

        at.speakers, at.listeners = await members("speaker"), await members("listener")
        speaking = asyncio.create_task(at.speak())
        try:
            await at.said(12)
            yield at
            await at.said(12)
            at.nobody_noticed()
            heads = {speaker.room: speaker.position for speaker in at.speakers}
            for listener in at.listeners:
                head = heads[listener.room]
                assert head is not None
                assert await listener.reached(head.seq, 10.0)
        finally:
            speaking.cancel()
            outcome = (await asyncio.gather(speaking, return_exceptions=True))[0]
            assert isinstance(outcome, asyncio.CancelledError), outcome


async def nothing_is_said(at: Lecture, name: str) -> None:
    """While the store takes nothing: who is in stays in, who drops comes back, and whoever wants to say something or to
    come to a new room is told why not."""
    sent = at.sent
    await at.drop_and_come_back()
    assert await refusal_of(at.fleet.director_url, f"{name}-new") == "STORE_UNAVAILABLE"
    stay = at.speakers[0]._stay
    assert stay is not None
    answer = await stay.call("send", {"cid": "one-more", "text": "does anybody hear me?"})
    assert answer["error"]["code"] == "STORE_UNAVAILABLE"
    assert at.sent <= sent + len(at.rooms), "but for what was on its way"


def owners(told: list[Any]) -> list[tuple[Any, ...]]:
    return [(room["owner"], room["incarnation"], room["epoch"]) for room in told]


def all_live(told: list[Any]) -> bool:
    """Whether the director says of every room that its owner's lease holds; it may learn of owner and lease apart."""
    return all(room["owner_lives"] for room in told)
