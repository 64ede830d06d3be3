"""The crowd of `hall torture`: members in many rooms who talk, moderate, drop their connection and come back.

Those of a room who talk are on the stock client. Where there are more, the rest only listens, on a wire of ours: else
the clients of a large crowd would cost the machine more than the fleet.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from director.contract.ids import Role
from loadtest.client import CallRefused, HallClient, NotDone
from loadtest.connection import Connection
from loadtest.contract.received import refusal_of
from loadtest.core.history_check import HistoryCheck
from loadtest.core.recovery_times import LifeLines
from loadtest.recording import Recorder
from loadtest.wire_connection import WireConnection
from loadtest.wire_http import WireAnswer, WireHttp
from persistence.contract.messages import Mode

MAX_JOIN_WAIT = 60.0
MAX_SEND_WAIT = 60.0
MAX_CATCH_UP = 90.0
_JOINING_AT_ONCE = 10
_STAFF_EVERY = 6.0
_DROPS_EVERY = 40.0
_MAX_DROPS = 2.0  # a second, of all members
_MAX_TALKING = 6  # in each room
_POLLING = 12  # every so many members one that stays on long-polling
_WORDS = ("proof", "the", "lemma", "which line?", "left to the reader", "follows", "질문 있습니다", "감사합니다", "λ")


@dataclass(frozen=True, slots=True)
class CrowdSize:
    """How many rooms, members in all, and sends a second in each room."""

    rooms: int = 12
    members: int = 72
    rate: float = 2.0


class Crowd:
    """Members, spread over rooms; the first of each room is its lecturer. All is recorded. `unrouted` counts the
    directors' refusals by their codes."""

    def __init__(
        self,
        size: CrowdSize,
        director_url: str,
        *,
        recorder: Recorder,
        lines: LifeLines,
        seed: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._size = size
        self._director_url = director_url
        self._recorder = recorder
        self._lines = lines
        self._rng = random.Random(seed)
        self._clock, self._sleep = clock, sleep
        self.unrouted: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self._members: list[HallClient] = []
        self._lives: list[asyncio.Task[None]] = []
        self._http = WireHttp(on_answer=self._note_refusal)

    @property
    def live(self) -> int:
        """How many members are live now."""
        return sum(member.is_live for member in self._members)

    def live_on(self, node: str) -> int:
        """How many members are live on a node."""
        return self._lines.live_on(node)

    async def join(self) -> int:
        """Let everybody in; who is late goes on trying. How many were live in time."""
        gate = asyncio.Semaphore(_JOINING_AT_ONCE)
        for number in range(self._size.members):
            room, place = number % self._size.rooms, number // self._size.rooms
            member = HallClient(
                self._director_url,
                f"torture-{room + 1:02d}",
                user=f"member-{place + 1}",
                role=Role.STUDENT if place else Role.LECTURER,
                recorder=self._recorder,
                http=self._http,
                rng=random.Random(self._rng.getrandbits(64)),
                clock=self._clock,
                transports=("polling",) if number % _POLLING == _POLLING - 1 else ("websocket",),
                dial=Connection if place < _MAX_TALKING else WireConnection,
            )
            self._members.append(member)

        async def join(member: HallClient) -> bool:
            async with gate:
                await member.__aenter__()
                with contextlib.suppress(NotDone):
                    await member.live(MAX_JOIN_WAIT)
                return member.is_live

        return sum(await asyncio.gather(*(join(member) for member in self._members)))

    def begin(self) -> None:
        """Talk, moderate and drop, from now on."""
        pause = min(self._size.members / self._size.rooms, _MAX_TALKING) / self._size.rate
        drops_every = max(_DROPS_EVERY, self._size.members / _MAX_DROPS)
        for number, member in enumerate(self._members):
            rng = random.Random(self._rng.getrandbits(64))
            self._start(self._drop(member, rng, drops_every))
            if number < self._size.rooms * _MAX_TALKING:
                self._start(self._talk(member, rng, pause))
            if number < self._size.rooms:
                self._start(self._moderate(member, rng))

    async def quiesce(self, check: HistoryCheck) -> int:
        """Say nothing new, wait for what was asked and until everybody has caught up; how many were not back then."""
        self._stopping.set()
        await asyncio.gather(*self._lives)
        await asyncio.gather(*(self._catch_up(member, check) for member in self._members))
        return sum(not member.is_live for member in self._members)

    async def leave(self) -> None:
        """Everybody goes; idempotent."""
        self._stopping.set()
        for life in self._lives:
            life.cancel()
        members, self._members = self._members, []
        await asyncio.gather(*self._lives, return_exceptions=True)
        outcomes = await asyncio.gather(
            *(member.__aexit__(None, None, None) for member in members), return_exceptions=True
        )
        self._http.close()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _note_refusal(self, answer: WireAnswer) -> None:
        if answer.status_code != 200:
            with contextlib.suppress(msgspec.DecodeError):
                error = refusal_of(msgspec.json.decode(answer.content))
                self.unrouted[error.code if error else str(answer.status_code)] += 1

    def _start(self, life: Awaitable[None]) -> None:
        self._lives.append(asyncio.ensure_future(life))

    async def _talk(self, member: HallClient, rng: random.Random, pause: float) -> None:
        while await self._goes_on(rng.expovariate(1 / pause)):
            words = " ".join(rng.choices(_WORDS, k=rng.randint(1, 12)))
            with contextlib.suppress(CallRefused, NotDone):
                await member.send(words, timeout=MAX_SEND_WAIT)

    async def _moderate(self, lecturer: HallClient, rng: random.Random) -> None:
        while await self._goes_on(rng.expovariate(1 / _STAFF_EVERY)):
            with contextlib.suppress(CallRefused, NotDone):
                position = lecturer.position
                match rng.choice(["delete", "delete", "notice", "slow", "staff"]):
                    case "delete" if position is not None and position.seq:
                        await lecturer.delete(max(1, position.seq - rng.randrange(20)), timeout=MAX_SEND_WAIT)
                    case "slow":
                        await self._mode_for_a_while(lecturer, Mode.OPEN, 500)
                    case "staff":
                        await self._mode_for_a_while(lecturer, Mode.STAFF, 0)
                    case _:
                        text = rng.choice([None, "a break of ten minutes"])
                        await lecturer.notice(text, timeout=MAX_SEND_WAIT)

    async def _mode_for_a_while(self, lecturer: HallClient, mode: Mode, slow_ms: int) -> None:
        await lecturer.mode(mode, slow_ms=slow_ms, timeout=MAX_SEND_WAIT)
        await self._goes_on(2.0)
        await lecturer.mode(Mode.OPEN, timeout=MAX_SEND_WAIT)

    async def _drop(self, member: HallClient, rng: random.Random, every: float) -> None:
        while await self._goes_on(rng.expovariate(1 / every)):
            if not member.is_live:
                continue
            self._lines.dropping(f"{member.room}/{member.user}")
            await member.drop(hold=True)
            await self._goes_on(rng.uniform(0.2, 5.0))
            member.rejoin()

    async def _goes_on(self, seconds: float) -> bool:
        """Wait so long, or until the end; whether it goes on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return not self._stopping.is_set()

    async def _catch_up(self, member: HallClient, check: HistoryCheck) -> None:
        with contextlib.suppress(NotDone, CallRefused):
            await member.live(MAX_CATCH_UP)
        await member.reached(check.highest_ack(member.room), MAX_CATCH_UP)
        member.finish()
