"""Members of some rooms in a real fleet, some of which talk all the time; in the end the history checker judges."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from director.cli.room_logs import read_logs
from director.cli.torture_judge import rows_of_stale_owners
from director.contract.ids import Role
from loadtest.client import HallClient
from loadtest.connection import Connection
from loadtest.contract.history import Admitted, HistoryEvent, Parted
from loadtest.core.history_check import HistoryCheck
from loadtest.routing import direct_http
from loadtest.wire_connection import WireConnection
from tests.support.fleet import Fleet
from tests.support.speaker import Speaker

IN_WITHIN = 60.0
SETTLED_WITHIN = 60.0
JOINING_AT_ONCE = 20


@dataclass(slots=True)
class Assembly:
    """Everybody, and what became of their connections."""

    fleet: Fleet
    check: HistoryCheck = field(default_factory=HistoryCheck)
    speakers: list[Speaker] = field(default_factory=list)
    others: list[HallClient] = field(default_factory=list)
    admitted: list[Admitted] = field(default_factory=list)
    parted: list[Parted] = field(default_factory=list)
    at: dict[str, str] = field(default_factory=dict)

    @property
    def members(self) -> list[HallClient]:
        return [*(speaker.client for speaker in self.speakers), *self.others]

    def record(self, event: HistoryEvent) -> None:
        """As a recorder of the members."""
        self.check.record(event)
        if isinstance(event, Admitted):
            self.admitted.append(event)
            self.at[event.client] = event.node
        elif isinstance(event, Parted):
            self.parted.append(event)

    async def said(self, more: int) -> None:
        """Wait until every speaker has said so much more."""
        enough = [len(speaker.acked) + more for speaker in self.speakers]
        async with asyncio.timeout(SETTLED_WITHIN):
            while any(len(it.acked) < least for it, least in zip(self.speakers, enough, strict=True)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # at the pace of people

    async def all_at(self, nodes: set[str]) -> None:
        """Wait until everybody is live, and at one of these nodes."""
        try:
            async with asyncio.timeout(SETTLED_WITHIN):
                while not (set(self.at.values()) <= nodes and all(it.is_live for it in self.members)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)  # no event tells of all of them
        except TimeoutError:
            raise AssertionError(f"not at {nodes}: {self.at}\n{self.fleet.output()}") from None


@asynccontextmanager
async def assembly(fleet: Fleet, rooms: Sequence[str], *, listeners: int, speakers: int = 2) -> AsyncIterator[Assembly]:
    """So many listeners and speakers in each room. Afterwards everybody has everything that was acknowledged, and the
    history checker, which knows the store, finds nothing."""
    them = Assembly(fleet)
    async with AsyncExitStack() as stack, direct_http() as http:

        def client(room: str, number: int) -> HallClient:
            is_speaker = number < speakers
            return HallClient(
                fleet.director_url,
                room,
                user=f"m{number}",
                role=Role.STUDENT if number else Role.LECTURER,
                recorder=them,
                http=http,
                rng=random.Random(f"{room} {number}"),
                transports=("polling",) if number in (1, speakers) else ("websocket",),
                dial=Connection if is_speaker or number == speakers else WireConnection,
            )

        gate = asyncio.Semaphore(JOINING_AT_ONCE)

        async def come(member: HallClient) -> None:
            async with gate:
                await member.live(IN_WITHIN)

        for room in rooms:
            cast = [client(room, number) for number in range(speakers + listeners)]
            them.speakers += [Speaker(member) for member in cast[:speakers]]
            them.others += cast[speakers:]
        for member in them.members:
            await stack.enter_async_context(member)
        await asyncio.gather(*map(come, them.members))
        talking = [asyncio.create_task(speaker.speak(0.05)) for speaker in them.speakers]
        try:
            await them.said(5)
            yield them
            await them.said(5)
        finally:
            for speaker in them.speakers:
                speaker.silent = True
            _, late = await asyncio.wait(talking, timeout=SETTLED_WITHIN)
            for task in late:
                task.cancel()
        assert not late, fleet.output()
        for task in talking:
            task.result()
        for member in them.members:
            assert await member.reached(them.check.highest_ack(member.room), SETTLED_WITHIN), fleet.output()
            member.finish()
    findings = them.check.judge(await read_logs(them.check.rooms, store_url=fleet.store_url, director_url=""))
    assert findings.violations == ()
    assert not await rows_of_stale_owners(fleet.store_url)
