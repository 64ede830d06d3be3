"""A stay: one connection of a member to its room, from the join to its end, and what it adds to the timeline."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from director.contract.ids import NodeName
from loadtest.contract.received import Frame, Joined, Moved, Route
from loadtest.core.timeline import Applied, Foreign, Held, Started, Timeline
from loadtest.core.way_back import Ended, Lost, MovedAway, why_of
from loadtest.scribe import Scribe
from shard_node.contract.events import Position

MAX_HOLE_WAIT = 1.0

Transport = Literal["websocket", "polling"]


class Line(Protocol):
    """One connection to a node, of whatever client. `ended` gets the reason as soon as it is of no more use."""

    ended: asyncio.Future[Ended]

    async def join(self, route: Route, *, since: Position | None, tail: int, transports: Sequence[Transport]) -> None:
        """Connect and wait for `joined`, at most 15 s. How it failed, if it did, stands in `ended`."""
        ...

    async def call(self, event: str, body: dict[str, Any]) -> Any:
        """Emit `event` and return its ack. Raises NoAnswer."""
        ...

    def end(self, why: Ended) -> None:
        """Say that it is of no more use; the first reason counts."""
        ...

    def cut(self) -> None:
        """Break the transport without a word."""
        ...

    async def close(self) -> None:
        """Leave in order, within a few seconds even if the node is silent."""
        ...


class Dial(Protocol):
    """Makes the line of a stay; it connects when it joins."""

    def __call__(
        self,
        node: NodeName,
        *,
        on_joined: Callable[[Joined], None],
        on_frame: Callable[[Frame, bool], None],
        on_moved: Callable[[Moved], None],
    ) -> Line: ...


class Stay:
    """Joins where `route` says, once. `on_news` is called in order with what the timeline gained: first that of
    `joined`, which then stands in `joined`."""

    def __init__(
        self,
        route: Route,
        timeline: Timeline,
        *,
        dial: Dial,
        scribe: Scribe,
        clock: Callable[[], float],
        on_news: Callable[[Applied | Started], None],
    ) -> None:
        self.joined: Joined | None = None
        self._route, self._timeline = route, timeline
        self._scribe, self._clock, self._on_news = scribe, clock, on_news
        self._since = timeline.position
        self._joined_at = 0.0
        self._moved: Moved | None = None
        self._hole_timer: asyncio.TimerHandle | None = None
        self._line = dial(route.node, on_joined=self._take_joined, on_frame=self._take_frame, on_moved=self._move)

    @property
    def is_live(self) -> bool:
        """Joined, and nothing says that the connection has ended."""
        return self.joined is not None and not self._line.ended.done()

    @property
    def seconds(self) -> float:
        """How long it has been since `joined`."""
        return self._clock() - self._joined_at

    async def last(self, *, tail: int, transports: Sequence[Transport]) -> None:
        """Join, and be there until it is over; call `close` then, whatever came. A cancellation leaves it open."""
        await self._line.join(self._route, since=self._since, tail=tail, transports=transports)
        # wait() leaves the future whole when this task is cancelled
        await asyncio.wait({self._line.ended})

    async def call(self, event: str, body: dict[str, Any]) -> Any:
        """Emit `event` and return its ack. Raises NoAnswer."""
        return await self._line.call(event, body)

    def end(self, why: Ended) -> None:
        """Say that it is over; the first reason counts."""
        self._line.end(why)

    def cut(self) -> None:
        """Break the connection without a word, as a lost network does."""
        self._line.cut()

    def leave(self) -> None:
        """Say that it is over because the member leaves."""
        self._line.end(Lost(self._route.node, "left"))

    def part(self, *, is_leaving: bool) -> Ended:
        """Take note of the end, once, and say why it came."""
        self._fill_hole()
        ended = self._line.ended.result() if self._line.ended.done() else Lost(self._route.node, "left")
        if self.joined is not None:
            self._scribe.parted(self._clock(), "left" if is_leaving else why_of(ended))
        return MovedAway(self._moved) if self._moved is not None and isinstance(ended, Lost) else ended

    async def close(self) -> None:
        """Disconnect, and free everything within a few seconds."""
        await self._line.close()

    def _take_joined(self, joined: Joined) -> None:
        self._joined_at = self._clock()
        self._scribe.admitted(self._joined_at, self._route.node, self._since, joined)
        self.joined = joined
        self._on_news(self._timeline.join(joined))

    def _take_frame(self, frame: Frame, is_gap: bool) -> None:
        self._scribe.shown(self._clock(), frame, "gap" if is_gap else "frame")
        match self._timeline.take(frame, is_gap=is_gap):
            case Applied() as applied:
                self._on_news(applied)
            case Held():
                pass
            case Foreign():
                self._join_again()
        if not self._timeline.has_hole:
            self._fill_hole()
        elif self._hole_timer is None:
            self._hole_timer = asyncio.get_running_loop().call_later(MAX_HOLE_WAIT, self._join_again)

    def _fill_hole(self) -> None:
        if self._hole_timer is not None:
            self._hole_timer.cancel()
            self._hole_timer = None

    def _join_again(self) -> None:
        self._line.end(Lost(self._route.node, "hole"))

    def _move(self, moved: Moved) -> None:
        self._moved = moved
        asyncio.get_running_loop().call_later(moved.after_ms / 1000, self._line.end, MovedAway(moved))
