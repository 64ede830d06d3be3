"""The way back: what a client does after a connection ended or was refused (protocol, sections 6 and 7).

next_step(ended) -> JoinAgain | AskDirector | GiveUp
"""

import random
from dataclasses import dataclass

from director.contract.errors import Action, ErrorDetail
from director.contract.ids import NodeName
from loadtest.contract.received import Moved

MAX_BACKOFF = 20.0
FIRST_BACKOFF = 0.5
RESET_AFTER_LIVE = 10.0
MOVED_TICKET_LASTS = 30.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection ended, was never made, stayed silent or lost a frame, and the node had not said why; `how` is for
    people."""

    node: NodeName
    how: str = "lost"


@dataclass(frozen=True, slots=True)
class SentAway:
    """The node said `bye`, or refused a call or a join, with this."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class MovedAway:
    """The node said `moved`, and its `after_ms` are over."""

    to: Moved


@dataclass(frozen=True, slots=True)
class Unrouted:
    """The director did not answer, or refused with `error`; `failed` is the hint that the question carried."""

    failed: NodeName | None
    error: ErrorDetail | None = None


Ended = Lost | SentAway | MovedAway | Unrouted


@dataclass(frozen=True, slots=True)
class JoinAgain:
    """After so many seconds join with the same address and ticket; ask the director if the ticket is over by then."""

    after: float


@dataclass(frozen=True, slots=True)
class JoinThere:
    """Join at once where the room has moved."""

    to: Moved


@dataclass(frozen=True, slots=True)
class AskDirector:
    """After so many seconds ask the director, with the hint that `failed` did not answer."""

    after: float
    failed: NodeName | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The same request can never succeed."""

    error: ErrorDetail


class Backoff:
    """How long to wait, with jitter: the first try within the window, then within spans that double up to 20 s."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._window: float | None = None
        self._doublings = 0

    def live_for(self, seconds: float, *, reconnect_window: float) -> None:
        """A connection that was live has ended; after 10 s live, and for the first loss, the count begins anew."""
        if seconds >= RESET_AFTER_LIVE or self._doublings == 0:
            self._doublings = 0
            self._window = reconnect_window

    def wait(self, *, at_least: float = 0.0) -> float:
        """Seconds until the next try. `at_least` is added, not taken as a floor: else all who were told the same would
        come back in the same moment."""
        if self._window is not None:
            span, self._window = self._window, None
        else:
            span = min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** min(self._doublings, 10))
            self._doublings += 1
        return at_least + self._rng.uniform(0.0, span)


def next_step(ended: Ended, backoff: Backoff) -> JoinAgain | JoinThere | AskDirector | GiveUp:
    """What to do now. Counts a try in `backoff`, except after `moved`."""
    match ended:
        case Lost(node, _):
            return AskDirector(backoff.wait(), failed=node)
        case MovedAway(to):
            return JoinThere(to)
        case Unrouted(failed, error):
            if error is None:
                return AskDirector(backoff.wait(), failed=failed)
            if error.action in (Action.RETRY, Action.REROUTE):
                return AskDirector(backoff.wait(at_least=error.retry_after_ms / 1000), failed=failed)
            return GiveUp(error)
        case SentAway(error):  # pragma: no branch
            if error.action == Action.RETRY:
                return JoinAgain(backoff.wait(at_least=error.retry_after_ms / 1000))
            if error.action == Action.REROUTE:
                return AskDirector(backoff.wait(at_least=error.retry_after_ms / 1000))
            return GiveUp(error)


def why_of(ended: Ended) -> str:
    """One word or two for a history: how the connection ended."""
    match ended:
        case Lost(_, how):
            return how
        case SentAway(error):
            return error.code
        case MovedAway():
            return "moved"
        case Unrouted(_, error):  # pragma: no branch
            return "no route" if error is None else error.code
