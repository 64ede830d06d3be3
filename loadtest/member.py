"""Member: somebody in one room: joins, keeps the position, and comes back by the rules (protocol, section 7)."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Self

from director.contract.ids import Role, RoomId, UserId
from loadtest.connection import Connection
from loadtest.contract.received import Joined, Route
from loadtest.core.timeline import Applied, Started, Timeline
from loadtest.core.way_back import (
    MOVED_TICKET_LASTS,
    AskDirector,
    Backoff,
    Ended,
    GiveUp,
    JoinAgain,
    JoinThere,
    Unrouted,
    next_step,
)
from loadtest.lookout import Lookout
from loadtest.recording import Recorder
from loadtest.routing import CallRefused, FrontDesk, Http, NotDone, direct_http
from loadtest.scribe import Scribe
from loadtest.stay import Dial, Stay, Transport
from persistence.contract.messages import Entry
from shard_node.contract.events import Position


class MemberState(StrEnum):
    """Where a member is on its way."""

    ROUTING = "routing"
    CONNECTING = "connecting"
    LIVE = "live"
    WAITING = "waiting"
    AWAY = "away"
    STOPPED = "stopped"


class Member:
    """Somebody who joins, keeps its position, and comes back by the rules until the block is left.

    Callbacks are plain functions, called in order: `on_joined(joined)`, then `on_entries(entries)` for what it brought
    and for each frame (not with an empty tuple), `on_gap(from, to)` for a range that was not given, `on_state(state)`.
    After a `joined` that is not `recovered` the list begins anew and may repeat entries that were given before.
    """

    def __init__(
        self,
        director_url: str,
        room: str,
        *,
        user: str,
        name: str | None = None,
        role: str = Role.STUDENT,
        token: str | None = None,
        tail: int = 50,
        on_joined: Callable[[Joined], None] | None = None,
        on_entries: Callable[[tuple[Entry, ...]], None] | None = None,
        on_gap: Callable[[int, int], None] | None = None,
        on_state: Callable[[MemberState], None] | None = None,
        recorder: Recorder | None = None,
        http: Http | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        transports: Sequence[Transport] = ("websocket",),
        dial: Dial = Connection,
    ) -> None:
        """`token` is the platform's JWT; without one the director's demo identities are used (`user`, `name`, `role`).
        `clock` defaults to the loop's, which is the machine's monotonic clock; `dial` to the stock client."""
        self.room = RoomId(room)
        self.user = UserId(user)
        self.state = MemberState.ROUTING
        self.joined: Joined | None = None
        self.entries_seen = 0
        self.times_resumed = 0
        self.times_started = 0
        self._tail = tail
        self._on_joined, self._on_entries, self._on_gap, self._on_state = on_joined, on_entries, on_gap, on_state
        self._scribe = Scribe(recorder, self.room, self.user)
        self._own_http = direct_http() if http is None else None
        desk_http = http or self._own_http
        assert desk_http is not None
        self._desk = FrontDesk(director_url, desk_http, user=self.user, name=name or user, role=role, token=token)
        self._rng = rng or random.Random()
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._sleep = sleep
        self._transports = tuple(transports)
        self._dial = dial
        self._timeline = Timeline()
        self._backoff = Backoff(self._rng)
        self._stay: Stay | None = None
        self._may_come = asyncio.Event()
        self._may_come.set()
        self._lookout = Lookout()
        self._life: asyncio.Task[None] | None = None
        self._is_leaving = False
        self._closing: set[asyncio.Future[None]] = set()

    # --- being a member

    @property
    def position(self) -> Position | None:
        """The last entry applied and the highest epoch that has served it; None before the first `joined`."""
        return self._timeline.position

    @property
    def is_live(self) -> bool:
        """Joined, and nothing says that the connection has ended."""
        return self.state is MemberState.LIVE and self._stay is not None and self._stay.is_live

    async def __aenter__(self) -> Self:
        self._life = asyncio.create_task(self._live_on(), name=f"hall client {self.user} in {self.room}")
        self._life.add_done_callback(lambda _: self._stopped())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave in order, within a few seconds even if the node is silent."""
        assert self._life is not None
        # A cancellation alone may get lost in the stock client, which swallows it in places: so the flag, too.
        self._is_leaving = True
        if self._stay is not None:
            self._stay.leave()
        self._life.cancel()
        outcome = (await asyncio.gather(self._life, return_exceptions=True))[0]
        if self._closing:
            await asyncio.wait(self._closing)
        if self._own_http is not None:
            await self._own_http.aclose()
        if error is None and isinstance(outcome, Exception) and not isinstance(outcome, CallRefused):
            raise outcome

    async def live(self, timeout: float = 15.0) -> Joined:
        """Wait until joined. Raises NotDone after `timeout` seconds, CallRefused if the client may not join."""
        await self._wait_for(lambda: self.is_live, timeout)
        assert self.joined is not None
        return self.joined

    async def reached(self, seq: int, timeout: float) -> bool:
        """Wait until entry `seq` is applied, at most `timeout` seconds; answers whether it is."""
        try:
            await self._wait_for(lambda: self.position is not None and self.position.seq >= seq, timeout)
        except (NotDone, CallRefused):
            return False
        return True

    async def until_stopped(self) -> None:
        """Wait for the end of this member's life. Raises CallRefused if it may not come back."""
        assert self._life is not None
        await asyncio.wait({self._life})
        if not self._life.cancelled():
            self._life.result()

    def finish(self) -> None:
        """Put down that this member has had the time to catch up and, if it is live, was given the log's end."""
        self._scribe.finished(self._clock(), live=self.is_live)

    async def drop(self, *, hold: bool = False) -> None:
        """Cut the transport without a word. The client then comes back by itself; with `hold`, after `rejoin`."""
        if hold:
            self._may_come.clear()
        if self._stay is not None:
            self._stay.cut()
        await asyncio.sleep(0)

    def rejoin(self) -> None:
        """Come back after `drop(hold=True)`."""
        self._may_come.set()

    # --- coming and coming back

    async def _live_on(self) -> None:
        step: AskDirector | JoinAgain | JoinThere = AskDirector(0.0)
        route: Route | None = None
        ticket_ends_at = 0.0
        while not self._is_leaving:
            match step:
                case JoinThere(to):
                    await self._stay_away(0.0)
                    now = self._clock()
                    ticket_ends_at = now + MOVED_TICKET_LASTS
                    route = Route(
                        self.room, to.node, to.url, to.path, to.epoch, to.ticket, int(MOVED_TICKET_LASTS * 1000)
                    )
                case JoinAgain(after):
                    await self._stay_away(after)
                    if route is None or self._clock() > ticket_ends_at:
                        step = AskDirector(0.0)
                        continue
                case AskDirector(after, failed):
                    await self._stay_away(after)
                    self._enter(MemberState.ROUTING)
                    asked_at = self._clock()
                    answer = await self._desk.route(self.room, failed=failed)
                    if isinstance(answer, Unrouted):
                        step = self._next(answer)
                        continue
                    route = answer
                    ticket_ends_at = asked_at + route.ticket_expires_in_ms / 1000
                    await self._stay_away(route.connect_after_ms / 1000)
            step = self._next(await self._be_joined(route))

    def _next(self, ended: Ended) -> AskDirector | JoinAgain | JoinThere:
        step = next_step(ended, self._backoff)
        if isinstance(step, GiveUp):
            raise CallRefused(step.error)
        return step

    async def _stay_away(self, seconds: float) -> None:
        if seconds > 0:
            self._enter(MemberState.WAITING)
            await self._sleep(seconds)
        if not self._may_come.is_set():
            self._enter(MemberState.AWAY)
            await self._may_come.wait()

    async def _be_joined(self, route: Route) -> Ended:
        self._enter(MemberState.CONNECTING)
        stay = self._stay = Stay(
            route, self._timeline, dial=self._dial, scribe=self._scribe, clock=self._clock, on_news=self._take_news
        )
        if self._is_leaving:
            stay.leave()
        try:
            await stay.last(tail=self._tail, transports=self._transports)
        finally:
            ended = stay.part(is_leaving=self._is_leaving)
            if stay.joined is not None:
                self._backoff.live_for(stay.seconds, reconnect_window=stay.joined.reconnect_window_ms / 1000)
            self._enter(MemberState.WAITING)
            closing = asyncio.ensure_future(stay.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)
        return ended

    def _take_news(self, news: Applied | Started) -> None:
        """What the stay has brought: with its `joined` first."""
        stay = self._stay
        assert stay is not None
        if stay.joined is not self.joined:
            self.joined = stay.joined
            if isinstance(news, Applied):
                self.times_resumed += 1
            else:
                self.times_started += 1
            if self._on_joined is not None and self.joined is not None:
                self._on_joined(self.joined)
        for first, last in news.skipped if isinstance(news, Applied) else ():
            if self._on_gap is not None:
                self._on_gap(first, last)
        self.entries_seen += len(news.entries)
        if news.entries and self._on_entries is not None:
            self._on_entries(news.entries)
        self._lookout.look()
        self._enter(MemberState.LIVE)

    # --- telling those who wait

    def _enter(self, state: MemberState) -> None:
        if state is self.state:
            return
        self.state = state
        if self._on_state is not None:
            self._on_state(state)
        self._lookout.look()

    def _stopped(self) -> None:
        self._enter(MemberState.STOPPED)
        self._lookout.close()

    async def _wait_for(self, is_so: Callable[[], bool], timeout: float | None) -> None:
        """Wait until `is_so`, which is asked whenever the state or the position changes."""
        try:
            await self._lookout.until(is_so, timeout)
        except TimeoutError:
            raise NotDone(f"{self.user} in {self.room} is {self.state} after {timeout:g} s") from None
        if self._lookout.is_closed:
            await self.until_stopped()
            raise NotDone(f"{self.user} in {self.room} has left")
