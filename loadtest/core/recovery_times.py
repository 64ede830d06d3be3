"""Recovery times: from what members recorded, how many lost their connection to a fault and how soon they were back."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.contract.history import NOT_DONE, Acked, Admitted, Asked, Denied, HistoryEvent, Parted

SHARES = (50, 95, 99, 100)


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """When a fault began and until when what happens is put down to it, on the recorders' clock."""

    begun_at: float
    watched_until: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """`affected` members lost their connection, `back` of them came back to stay. `seconds` are from the fault's
    beginning until 50, 95, 99 and 100 % of the affected were live again; None where that never came. `slowest_send` is
    the longest time from asking to the ack of what was asked for meanwhile, `failed_sends` how many gave up. `dropped`
    times a member cut its own connection meanwhile, and `returned` times it came back."""

    affected: int
    back: int
    seconds: tuple[float | None, ...]
    slowest_send: float | None
    failed_sends: int
    dropped: int = 0
    returned: int = 0


class LifeLines:
    """Hears events, as a recorder, and remembers when each member was live and how long what it sent took."""

    def __init__(self) -> None:
        self._changes: dict[str, list[tuple[float, bool]]] = defaultdict(list)
        self._node_of: dict[str, str] = {}
        self._dropping: set[str] = set()
        self._dropped: list[tuple[float, str]] = []
        self._asked: dict[tuple[str, str], float] = {}
        self._sends: list[tuple[float, float | None]] = []

    def dropping(self, client: str) -> None:
        """The client itself is about to cut its connection: no fault is to blame for that."""
        self._dropping.add(client)

    def record(self, event: HistoryEvent) -> None:
        """Hear one event; each client's in order."""
        match event:
            case Admitted():
                self._changes[event.client].append((event.heard_at, True))
                self._node_of[event.client] = event.node
                self._dropping.discard(event.client)
            case Parted():
                self._node_of.pop(event.client, None)
                if event.client in self._dropping:
                    self._dropped.append((event.heard_at, event.client))
                elif event.why != "left":
                    self._changes[event.client].append((event.heard_at, False))
            case Asked():
                self._asked[event.client, event.cid] = event.heard_at
            case Acked():
                self._sent(event.client, event.cid, event.heard_at)
            case Denied():
                self._sent(event.client, event.cid, None if event.code == NOT_DONE else event.heard_at)
            case _:
                pass

    def live_on(self, node: str) -> int:
        """How many members are live on a node by now."""
        return sum(its == node for its in self._node_of.values())

    def recovery_of(self, span: FaultSpan) -> Recovery:
        """What a fault did to the members."""
        returns = [_return_of(changes, span) for changes in self._changes.values()]
        affected = sorted(at for at in returns if at is not None)
        back = [at - span.begun_at for at in affected if at < math.inf]
        sends = [took for asked_at, took in self._sends if span.begun_at <= asked_at < span.watched_until]
        dropped = [(at, client) for at, client in self._dropped if span.begun_at <= at < span.watched_until]
        return Recovery(
            affected=len(affected),
            back=len(back),
            seconds=tuple(_until(share, back, len(affected)) for share in SHARES),
            slowest_send=max((took for took in sends if took is not None), default=None),
            failed_sends=sends.count(None),
            dropped=len(dropped),
            returned=sum(self._was_live_after(at, client) for at, client in dropped),
        )

    def _was_live_after(self, at: float, client: str) -> bool:
        return any(is_live and live_at > at for live_at, is_live in self._changes[client])

    def _sent(self, client: str, cid: str, at: float | None) -> None:
        asked_at = self._asked.pop((client, cid), None)
        if asked_at is not None:
            self._sends.append((asked_at, None if at is None else at - asked_at))


def _return_of(changes: Sequence[tuple[float, bool]], span: FaultSpan) -> float | None:
    """When a member was back to stay: None if it was not affected, infinity if it never was."""
    back_at: float | None = None
    for at, is_live in changes:
        if at < span.begun_at:
            continue
        if not is_live and at < span.watched_until:
            back_at = math.inf
        elif is_live and back_at == math.inf:
            back_at = at
    return back_at


def _until(share: int, back: Sequence[float], affected: int) -> float | None:
    """Seconds until `share` percent of the affected were back; `back` ascends."""
    place = max(1, math.ceil(affected * share / 100))
    return back[place - 1] if affected and place <= len(back) else None
