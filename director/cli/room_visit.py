"""RoomVisit: asking for a room, speaking in it and listening to it, with the stock-protocol client.

RoomClosedToUs   it did not work; the message says why and what to do
"""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from director.cli.transcript import harmless, line_of
from director.contract.errors import Action, ErrorDetail
from director.contract.ids import RoomId, UserId
from loadtest.client import CallRefused, HallClient, MemberState, NotDone
from loadtest.contract.received import Joined, Route
from loadtest.core.way_back import Unrouted
from loadtest.routing import FrontDesk, direct_http
from persistence.contract.messages import Entry, Kind

_JOIN_WITHIN = 20.0

_WHAT_TO_DO = {
    Action.RETRY: "try again in a moment",
    Action.REROUTE: "try again: the director will know the way",
    Action.STAY: "you may go on reading",
    Action.FIX: "the request itself has to change",
    Action.STOP: "this needs another identity or somebody's permission",
}
_WHY_ANEW = {
    "too_far": "too much was missed to be sent again; the newest entries follow",
    "new_log": "the room's log is a new one",
    None: "the room's newest entries follow",
}


class RoomClosedToUs(Exception):
    """What was asked for did not work; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks whom for which room. A `token` (the platform's JWT) replaces the demo identity."""

    director_url: str
    room: RoomId
    user: UserId
    name: str
    role: str
    token: str | None


async def show_route(visitor: Visitor, *, as_json: bool) -> None:
    """Print where the room is."""
    route = await _route(visitor)
    if as_json:
        print(msgspec.json.encode(route).decode())
    else:
        print(f"{route.room} is on {route.node} (epoch {route.epoch}): {route.url}{route.path}")


async def send_text(visitor: Visitor, text: str, *, kind: Kind, as_json: bool, within: float) -> None:
    """Join, say it, and print its number once it is stored; sent again with the same `cid` until then."""
    await _route(visitor)  # a director that is not there is told at once
    with _told_to_people():
        async with HallClient(
            visitor.director_url,
            visitor.room,
            user=visitor.user,
            name=visitor.name,
            role=visitor.role,
            token=visitor.token,
            tail=0,
        ) as client:
            await client.live(_JOIN_WITHIN)
            done = await client.send(text, kind=kind, timeout=within)
    print(msgspec.json.encode(done).decode() if as_json else done.seq)


async def follow(visitor: Visitor, *, history: int, as_json: bool) -> None:
    """Print what is said in the room until interrupted, over any number of lost connections."""
    await _route(visitor)
    loop = asyncio.get_running_loop()
    left = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, left.set)
    listening = _Listening(as_json=as_json)
    with _told_to_people():
        async with HallClient(
            visitor.director_url,
            visitor.room,
            user=visitor.user,
            name=visitor.name,
            role=visitor.role,
            token=visitor.token,
            tail=history,
            on_joined=listening.on_joined,
            on_entries=listening.on_entries,
            on_gap=listening.on_gap,
            on_state=listening.on_state,
        ) as client:
            ended = asyncio.create_task(client.until_stopped())
            leaving = asyncio.create_task(left.wait())
            await asyncio.wait({ended, leaving}, return_when=asyncio.FIRST_COMPLETED)
            listening.is_over = True
            leaving.cancel()
            if ended.done():
                ended.result()
            ended.cancel()


class _Listening:
    """Entries go to the output, what happens to the connection to the error output."""

    def __init__(self, *, as_json: bool) -> None:
        self.is_over = False
        self._as_json = as_json
        self._has_joined = False
        self._is_away = False

    def on_joined(self, joined: Joined) -> None:
        if not self._has_joined:
            snapshot = joined.snapshot
            notice = f"; notice: {harmless(snapshot.notice)}" if snapshot.notice else ""
            members = "1 member" if snapshot.members == 1 else f"{snapshot.members} members"
            _aside(f"{joined.room}: {members}, mode {snapshot.mode}{notice}")
        elif not joined.recovered:
            _aside(_WHY_ANEW[joined.reason])
        self._has_joined = True

    def on_entries(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            print(msgspec.json.encode(entry).decode() if self._as_json else line_of(entry))
        sys.stdout.flush()

    def on_gap(self, first: int, last: int) -> None:
        _aside(f"entries {first} to {last} were skipped, except those of staff")

    def on_state(self, state: MemberState) -> None:
        if state is MemberState.LIVE and self._is_away:
            _aside("back again")
            self._is_away = False
        elif state is MemberState.WAITING and self._has_joined and not self._is_away and not self.is_over:
            _aside("connection lost, coming back ...")
            self._is_away = True


def _aside(words: str) -> None:
    print(f"-- {words}", file=sys.stderr, flush=True)


async def _route(visitor: Visitor) -> Route:
    async with direct_http() as http:
        desk = FrontDesk(
            visitor.director_url, http, user=visitor.user, name=visitor.name, role=visitor.role, token=visitor.token
        )
        answer = await desk.route(visitor.room, failed=None)
    match answer:
        case Route():
            return answer
        case Unrouted(error=None):
            raise RoomClosedToUs(
                f"no director answers at {visitor.director_url}: start one with `hall up`, or name it with --director"
            )
        case Unrouted(error=error):
            raise RoomClosedToUs(_words_of(error))


@contextmanager
def _told_to_people() -> Iterator[None]:
    """The client's refusals as RoomClosedToUs."""
    try:
        yield
    except CallRefused as refused:
        detail = ErrorDetail(refused.code, refused.message, refused.action, False, refused.retry_after_ms)
        raise RoomClosedToUs(_words_of(detail)) from None
    except NotDone as late:
        raise RoomClosedToUs(f"{late}; try again, and look at the node's log if it stays so") from None


def _words_of(error: ErrorDetail | None) -> str:
    if error is None:
        return "no answer"
    advice = _WHAT_TO_DO[Action(error.action)] if error.action in list(Action) else "give up"
    after = f" ({error.retry_after_ms / 1000:g} s at least)" if error.retry_after_ms else ""
    return f"{error.code}: {error.message}\n{advice}{after}"
