"""WireMember: a member of a room that lives in one greenlet: it reads, comes back by the rules, and asks in turn.

The same rules as HallClient's, from the same core (timeline, way_back); blocking instead of asyncio.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import msgspec

from director.contract.errors import Action, ErrorDetail
from director.contract.ids import NodeName, RoomId, UserId
from loadtest.contract.history import NOT_DONE
from loadtest.contract.received import Bye, Frame, Joined, Moved, Route, refusal_of
from loadtest.core.stamp import asked_at_of, stamped_cid
from loadtest.core.timeline import Applied, Foreign, Timeline
from loadtest.core.way_back import (
    MOVED_TICKET_LASTS,
    AskDirector,
    Backoff,
    Ended,
    GiveUp,
    JoinAgain,
    JoinThere,
    Lost,
    MovedAway,
    SentAway,
    Unrouted,
    next_step,
    why_of,
)
from loadtest.recording import Recorder
from loadtest.scribe import Scribe
from loadtest.wire import JoinDenied, LineLost, Wire
from shard_node.contract.events import PROTOCOL_VERSION, Changed

_JOINED_WITHIN = 15.0
_ACK_WITHIN = 10.0
_HOLE_WITHIN = 1.0


class Gauge(Protocol):
    """Takes measurements: spans in seconds, and why something failed."""

    def joined(self, seconds: float, failure: str | None) -> None: ...
    def sent(self, event: str, seconds: float, failure: str | None) -> None: ...
    def delivered(self, seconds: float) -> None: ...


class Dismissed(Exception):
    """The member may not come back."""


class WireMember:
    """One person in one room. `route(failed)` asks the director; `clock` and `sleep` are monotonic and blocking."""

    def __init__(
        self,
        room: RoomId,
        user: UserId,
        *,
        route: Callable[[NodeName | None], Route | Unrouted],
        gauge: Gauge,
        recorder: Recorder | None,
        rng: random.Random,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.room, self.user = room, user
        self._route, self._gauge = route, gauge
        self._rng, self._clock, self._sleep = rng, clock, sleep
        self._scribe = Scribe(recorder, room, user)
        self._timeline = Timeline()
        self._backoff = Backoff(rng)
        self._wire: Wire | None = None
        self._at: Route | None = None
        self._ticket_ends_at = 0.0
        self._step: AskDirector | JoinAgain | JoinThere = AskDirector(0.0)
        self._live_since: float | None = None
        self._window = 0.0
        self._hole_since: float | None = None
        self._moved: Moved | None = None
        self._leave_at = 0.0

    def read_until(self, until: float) -> None:
        """Be there and apply what comes, until `until`; come back after losses. Raises Dismissed."""
        while self._clock() < until:
            if self._be_live(until):
                self._take_next(until)

    def ask(self, event: str, body: dict[str, Any], *, within: float) -> ErrorDetail | None:
        """Ask for something that adds an entry, with one `cid` until it is settled; why not, if it was refused for good
        or `within` seconds went by."""
        began_at = self._clock()
        cid = stamped_cid(began_at, self._rng)
        self._scribe.asked(began_at, cid)
        refusal: ErrorDetail | None = ErrorDetail(NOT_DONE, "no answer in time", Action.STAY, True, 0)
        while self._clock() < began_at + within:
            if not self._be_live(began_at + within):
                continue
            answer = self._one_try(event, {"cid": cid, **body})
            if answer is None:
                continue
            error = refusal_of(answer)
            if error is None:
                done = msgspec.convert(answer, Changed)
                now = self._clock()
                self._scribe.acked(now, cid, done)
                self._gauge.sent(event, now - began_at, None)
                return None
            if error.action == Action.RETRY:
                self.read_until(self._clock() + error.retry_after_ms / 1000 + self._rng.uniform(0.0, 0.2))
            elif error.action == Action.REROUTE:
                self._end(SentAway(error))
            else:
                refusal = error
                break
        assert refusal is not None
        self._scribe.denied(self._clock(), cid, refusal.code)
        self._gauge.sent(event, self._clock() - began_at, refusal.code)
        return refusal

    def drop(self) -> None:
        """Cut the transport without a word; the next call comes back."""
        self._lose("cut")

    def leave(self) -> None:
        """Leave in order."""
        if self._wire is not None:
            self._wire.leave()
            self._part("left")

    # --- coming and coming back

    def _be_live(self, until: float) -> bool:
        """Join if need be; whether it is joined. Sleeps no longer than `until`."""
        if self._live_since is not None:
            return True
        match self._step:
            case JoinThere(to):
                self._ticket_ends_at = self._clock() + MOVED_TICKET_LASTS
                self._join(Route(self.room, to.node, to.url, to.path, to.epoch, to.ticket, 0))
            case JoinAgain(after) if self._at is not None and self._clock() + after < self._ticket_ends_at:
                if self._slept(after, until):
                    self._join(self._at)
            case JoinAgain(after):
                self._step = AskDirector(after)
            case AskDirector(after, failed):
                if self._slept(after, until):
                    self._ask_director(failed)
        return self._live_since is not None

    def _slept(self, after: float, until: float) -> bool:
        left = until - self._clock()
        if after > left:
            self._sleep(max(0.0, left))
            assert not isinstance(self._step, JoinThere)
            self._step = replace(self._step, after=after - max(0.0, left))
            return False
        self._sleep(after)
        return True

    def _ask_director(self, failed: NodeName | None) -> None:
        asked_at = self._clock()
        answer = self._route(failed)
        if isinstance(answer, Unrouted):
            self._end(answer)
            return
        self._ticket_ends_at = asked_at + answer.ticket_expires_in_ms / 1000
        self._sleep(answer.connect_after_ms / 1000)
        self._join(answer)

    def _join(self, route: Route) -> None:
        self._at = route
        began_at = self._clock()
        since = self._timeline.position
        auth = {"v": PROTOCOL_VERSION, "ticket": route.ticket, "since": msgspec.to_builtins(since), "tail": 50}
        try:
            self._wire = Wire(route, auth, clock=self._clock)
            heard = self._wire.read(until=began_at + _JOINED_WITHIN)
            if heard is None or heard[0] != "joined":
                raise LineLost("no joined came")
            joined = msgspec.convert(heard[1], Joined)
        except (LineLost, JoinDenied) as error:
            self._gauge.joined(self._clock() - began_at, str(error))
            self._end(SentAway(error.error) if isinstance(error, JoinDenied) else Lost(route.node, str(error)))
            return
        now = self._clock()
        self._gauge.joined(now - began_at, None)
        self._scribe.admitted(now, route.node, since, joined)
        self._live_since, self._window, self._hole_since = now, joined.reconnect_window_ms / 1000, None
        self._timeline.join(joined)

    def _end(self, why: Ended) -> None:
        if self._moved is not None and isinstance(why, Lost):
            why = MovedAway(self._moved)
        if self._wire is not None:
            self._wire.cut()
        self._part(why_of(why))
        step = next_step(why, self._backoff)
        if isinstance(step, GiveUp):
            raise Dismissed(step.error.code)
        self._step = step

    def _lose(self, how: str) -> None:
        if self._wire is not None and self._at is not None:
            self._end(Lost(self._at.node, how))

    def _part(self, why: str) -> None:
        self._wire, self._moved = None, None
        if self._live_since is not None:
            self._backoff.live_for(self._clock() - self._live_since, reconnect_window=self._window)
            self._live_since = None
            self._scribe.parted(self._clock(), why)

    # --- what the node says

    def _one_try(self, event: str, body: dict[str, Any]) -> Any:
        """The ack, or None if it did not come."""
        until = self._clock() + _ACK_WITHIN
        try:
            assert self._wire is not None
            wanted = self._wire.emit(event, body)
        except LineLost as error:
            self._lose(str(error))
            return None
        while self._clock() < until and self._live_since is not None:
            heard = self._take_next(until)
            if heard is not None and heard[0] == wanted:
                return heard[1]
        return None

    def _take_next(self, until: float) -> tuple[str, Any] | tuple[int, Any] | None:
        assert self._wire is not None
        if self._moved is not None:
            until = min(until, self._leave_at)
        if self._hole_since is not None:
            until = min(until, self._hole_since + _HOLE_WITHIN)
        try:
            heard = self._wire.read(until=until)
        except LineLost as error:
            self._lose(str(error))
            return None
        match heard:
            case ("frame" | "gap" as event, body):
                self._take_frame(msgspec.convert(body, Frame), is_gap=event == "gap")
            case ("bye", body):
                bye = msgspec.convert(body, Bye)
                self._end(SentAway(ErrorDetail(bye.code, bye.message, bye.action, True, bye.retry_after_ms)))
            case ("moved", body):
                self._moved = msgspec.convert(body, Moved)
                self._leave_at = self._clock() + self._moved.after_ms / 1000
            case _:
                pass
        if self._moved is not None and self._clock() >= self._leave_at and self._live_since is not None:
            self._end(MovedAway(self._moved))
        elif self._hole_since is not None and self._clock() >= self._hole_since + _HOLE_WITHIN:
            self._lose("hole")
        return heard

    def _take_frame(self, frame: Frame, *, is_gap: bool) -> None:
        now = self._clock()
        self._scribe.shown(now, frame, "gap" if is_gap else "frame")
        applied = self._timeline.take(frame, is_gap=is_gap)
        if isinstance(applied, Foreign):
            self._lose("hole")
        elif isinstance(applied, Applied):
            for entry in applied.entries:
                asked_at = asked_at_of(entry.cid)
                if asked_at is not None:
                    self._gauge.delivered(now - asked_at)
        self._hole_since = None if not self._timeline.has_hole else self._hole_since or now
