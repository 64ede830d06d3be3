"""Replay: the people of a chat say in some rooms what they said, and some lose their connection on the way."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from loadtest.client import CallRefused, HallClient, NotDone
from loadtest.core.history_check import HistoryCheck
from loadtest.core.latency import Latency
from loadtest.core.replay_plan import Absence, ReplayPlan, RoomPlan, Saying
from loadtest.recording import Recorder, Recorders
from loadtest.routing import direct_http

MAX_JOIN_WAIT = 90.0
MAX_SEND_WAIT = 90.0
MAX_CATCH_UP = 45.0
_JOINING_AT_ONCE = 20
_LEAVING_AT_ONCE = 100
_LAG_EVERY = 0.1
_MAX_UNANSWERED = 16  # in each room


@dataclass(slots=True)
class Pulse:
    """How far a replay is; read it whenever you like."""

    members: int
    sayings: int
    joined: int = 0
    asked: int = 0
    acked: int = 0
    failed: int = 0
    away: int = 0
    not_back: int = 0


class Replay:
    """Runs a plan once, against the fleet behind `director_url`. Every event goes to `check` and to `recorder`.
    `pulse` tells how far it is, `lag` how late this process' own event loop was while the chat was played.
    `seed` decides the clients' back-off and ids."""

    def __init__(
        self,
        plan: ReplayPlan,
        director_url: str,
        *,
        check: HistoryCheck,
        recorder: Recorder,
        seed: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._plan = plan
        self._director_url = director_url
        self._check = check
        self._recorder = Recorders(check, recorder)
        self._rng, self._clock, self._sleep = random.Random(seed), clock, sleep
        members = sum(len(room.users) for room in plan.rooms)
        self.pulse = Pulse(members, sum(len(room.sayings) for room in plan.rooms))
        self.lag = Latency()
        self._began_at = 0.0

    async def run(self) -> None:
        """Join everybody, play the chat, wait until all have caught up, and leave. A node may die meanwhile."""
        async with direct_http() as http:
            casts = [(room, [self._member(room, user, http) for user in room.users]) for room in self._plan.rooms]
            everybody = [member for _, cast in casts for member in cast]
            try:
                gate = asyncio.Semaphore(_JOINING_AT_ONCE)
                await asyncio.gather(*(self._join(member, gate) for member in everybody))
                self._began_at = self._clock()
                watching = asyncio.create_task(self._watch_lag())
                try:
                    async with asyncio.TaskGroup() as group:
                        for room, cast in casts:
                            self._play(room, cast, group)
                finally:
                    watching.cancel()
                await asyncio.gather(*(self._catch_up(member) for member in everybody))
            finally:
                await self._leave(everybody)

    def _member(self, room: RoomPlan, user: str, http: httpx.AsyncClient) -> HallClient:
        chance = random.Random(self._rng.getrandbits(64))
        return HallClient(
            self._director_url, room.room, user=user, recorder=self._recorder, http=http, rng=chance, clock=self._clock
        )

    async def _join(self, member: HallClient, gate: asyncio.Semaphore) -> None:
        async with gate:
            await member.__aenter__()
            # Who is late goes on trying; the end counts who never came.
            with contextlib.suppress(NotDone):
                await member.live(MAX_JOIN_WAIT)
                self.pulse.joined += 1

    def _play(self, room: RoomPlan, cast: Sequence[HallClient], group: asyncio.TaskGroup) -> None:
        # A machine too slow for the speed asked for then plays the chat slower, in place of drowning its own clients in
        # deliveries until they miss their pings.
        unanswered = asyncio.Semaphore(_MAX_UNANSWERED)
        for number, member in enumerate(cast):
            sayings = [saying for saying in room.sayings if saying.member == number]
            if sayings:
                group.create_task(self._say(member, sayings, unanswered))
        for absence in room.absences:
            group.create_task(self._be_away(cast[absence.member], absence))

    async def _say(self, member: HallClient, sayings: Sequence[Saying], unanswered: asyncio.Semaphore) -> None:
        for saying in sayings:
            await self._until(saying.after)
            async with unanswered:
                self.pulse.asked += 1
                try:
                    await member.send(saying.text, timeout=MAX_SEND_WAIT)
                    self.pulse.acked += 1
                except (CallRefused, NotDone):
                    self.pulse.failed += 1

    async def _be_away(self, member: HallClient, absence: Absence) -> None:
        await self._until(absence.after)
        self.pulse.away += 1
        await member.drop(hold=True)
        await self._sleep(absence.seconds)
        member.rejoin()
        self.pulse.away -= 1

    async def _until(self, after: float) -> None:
        await self._sleep(max(0.0, self._began_at + after - self._clock()))

    async def _catch_up(self, member: HallClient) -> None:
        end = self._check.highest_ack(member.room)
        await member.reached(end, MAX_CATCH_UP)
        self.pulse.not_back += not member.is_live
        member.finish()

    async def _watch_lag(self) -> None:
        while True:
            due = self._clock() + _LAG_EVERY
            await self._sleep(_LAG_EVERY)
            self.lag.add(max(0.0, self._clock() - due))

    async def _leave(self, everybody: Sequence[HallClient]) -> None:
        gate = asyncio.Semaphore(_LEAVING_AT_ONCE)

        async def leave(member: HallClient) -> None:
            async with gate:
                await member.__aexit__(None, None, None)

        left = await asyncio.gather(*(leave(member) for member in everybody), return_exceptions=True)
        for outcome in left:
            if isinstance(outcome, BaseException):
                raise outcome
