"""A fault plan: what is broken when, and for how long; the same for the same seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

LEAD_IN = 5.0
MAX_GAP = 10.0
MIN_GAP = 4.0
APART = 65.0  # longer than a verdict on a lapsed lease counts
TAIL = 30.0
LONGEST = 30.0
_OVERLAPS = 0.25
_LONG_ENOUGH = 4.0


class FaultKind(StrEnum):
    """What can be broken, and what operators do meanwhile: the last three should be noticed by nobody."""

    KILL = "kill"
    FREEZE = "freeze"
    SHORT_FREEZE = "short-freeze"
    FREEZE_IN_TRANSACTION = "freeze-in-transaction"
    REDIS_PAUSE = "redis-pause"
    REDIS_KILL = "redis-kill"
    REDIS_WIPE = "redis-wipe"
    REDIS_FAILOVER = "redis-failover"
    DIRECTOR_KILL = "director-kill"
    CUT_REDIS = "cut-redis"
    CUT_STORE = "cut-store"
    CUT_CLIENTS = "cut-clients"
    VANISH = "vanish"
    STORE_LOCK = "store-lock"
    STORE_PAUSE = "store-pause"
    STORE_KILL = "store-kill"
    DISK_FULL = "disk-full"
    CLOCK_STEP = "clock-step"
    MOVE = "move"
    DRAIN = "drain"
    RESTART = "restart"


ALL_KINDS = tuple(FaultKind)
# A file is locked and full, and reached by no network; a server the other way round.
NEEDS_FILE = frozenset({FaultKind.STORE_LOCK, FaultKind.DISK_FULL, FaultKind.FREEZE_IN_TRANSACTION})
NEEDS_STORE_SERVER = frozenset({FaultKind.CUT_STORE})
# Somebody else's server is not ours to stop.
NEEDS_OWN_STORE_SERVER = frozenset({FaultKind.STORE_PAUSE, FaultKind.STORE_KILL})

ON_A_NODE = frozenset(
    {
        FaultKind.KILL,
        FaultKind.FREEZE,
        FaultKind.SHORT_FREEZE,
        FaultKind.CUT_REDIS,
        FaultKind.CUT_STORE,
        FaultKind.CUT_CLIENTS,
        FaultKind.VANISH,
        FaultKind.CLOCK_STEP,
        FaultKind.MOVE,
        FaultKind.DRAIN,
        FaultKind.RESTART,
    }
)
REDIS, STORE, ALL_DIRECTORS = "redis", "store", "directors"
_ON_THE_STORE = NEEDS_FILE | NEEDS_OWN_STORE_SERVER
_ON_REDIS = frozenset({FaultKind.REDIS_PAUSE, FaultKind.REDIS_KILL, FaultKind.REDIS_WIPE, FaultKind.REDIS_FAILOVER})


class Manner(StrEnum):
    """How it is broken, where a kind knows several ways."""

    PLAIN = ""
    KEEPING_DATA = "keeping its data"
    EMPTY = "coming back empty"
    BLACK_HOLE = "black hole"
    NOTHING_ARRIVES = "one direction: nothing arrives"
    NOTHING_RETURNS = "one direction: nothing returns"
    RESET = "reset"
    SLOW = "slow"
    AHEAD = "an hour ahead"
    BEHIND = "an hour behind"


_CUT = (Manner.BLACK_HOLE, Manner.NOTHING_ARRIVES, Manner.NOTHING_RETURNS)
_MANNERS: dict[FaultKind, tuple[Manner, ...]] = {
    FaultKind.REDIS_KILL: (Manner.KEEPING_DATA, Manner.EMPTY),
    FaultKind.CUT_REDIS: (*_CUT, Manner.RESET, Manner.SLOW),
    FaultKind.CUT_STORE: (*_CUT, Manner.RESET, Manner.SLOW),
    FaultKind.CUT_CLIENTS: (*_CUT, Manner.RESET, Manner.SLOW),
    FaultKind.CLOCK_STEP: (Manner.AHEAD, Manner.BEHIND),
}

# Seconds that a fault lasts, at least and at most; what is not here is over at once.
_LASTS: dict[FaultKind, tuple[float, float]] = {
    FaultKind.FREEZE: (9.0, 14.0),  # longer than any lease
    FaultKind.SHORT_FREEZE: (2.0, 2.0),
    FaultKind.FREEZE_IN_TRANSACTION: (8.0, 12.0),
    FaultKind.REDIS_PAUSE: (10.0, LONGEST),
    FaultKind.REDIS_FAILOVER: (8.0, 12.0),  # the former master wakes after another has become it
    FaultKind.CUT_REDIS: (8.0, 15.0),
    FaultKind.CUT_STORE: (6.0, 12.0),
    FaultKind.CUT_CLIENTS: (6.0, 18.0),
    FaultKind.VANISH: (18.0, 24.0),  # longer than clients take to notice
    FaultKind.STORE_LOCK: (3.0, 6.0),
    FaultKind.STORE_PAUSE: (10.0, LONGEST),
    FaultKind.STORE_KILL: (3.0, 8.0),
    FaultKind.DISK_FULL: (4.0, 8.0),
    FaultKind.CLOCK_STEP: (6.0, 10.0),
    FaultKind.DRAIN: (8.0, 15.0),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """`target` (a process, or `store`) is broken from `begins` to `ends`, in seconds from the plan's beginning."""

    number: int
    kind: FaultKind
    target: str
    manner: Manner
    begins: float
    ends: float

    @property
    def words(self) -> str:
        """For people: what, whom and how."""
        manner = f", {self.manner}" if self.manner else ""
        return f"{self.kind} {self.target}{manner}"


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """All faults by their beginning, and how long the whole takes in seconds."""

    faults: tuple[Fault, ...]
    seconds: float

    def watched_until(self, fault: Fault) -> float:
        """Until when what happens is put down to `fault`: the next beginning after its end, or the plan's end."""
        return min((other.begins for other in self.faults if other.begins > fault.ends), default=self.seconds)


def plan_once(
    kinds: Sequence[FaultKind],
    *,
    seconds: float,
    seed: int,
    nodes: Sequence[str],
    directors: Sequence[str],
    lasts: float | None,
) -> FaultPlan:
    """Each of `kinds` once, in their order and far apart, to measure one alone: on the first node, in its first manner.
    `lasts` is how long each takes that is not over at once, if that is wanted. The run takes `seconds` at least."""
    rng = random.Random(seed)
    faults: list[Fault] = []
    now = LEAD_IN
    for number, kind in enumerate(kinds, start=1):
        shortest, most = _LASTS.get(kind, (0.0, 0.0))
        ends = now + (lasts if lasts is not None and most else rng.uniform(shortest, most))
        target = _targets_of(kind, nodes, directors)[0]
        faults.append(Fault(number, kind, target, _MANNERS.get(kind, (Manner.PLAIN,))[0], now, ends))
        now = ends + APART
    return FaultPlan(tuple(faults), max(seconds, faults[-1].ends + TAIL))


def plan_faults(
    kinds: Sequence[FaultKind], *, seconds: float, seed: int, nodes: Sequence[str], directors: Sequence[str]
) -> FaultPlan:
    """A schedule of `seconds` that goes through all of `kinds` in a drawn order, again and again.

    Faults come one at a time with a gap to recover in, but for one in four that begins in the midst of a long one on
    something else. The gaps are shorter, and Redis' pauses too, where the time is too short for all kinds. At least one
    fault is planned, however short the time.
    """
    rng = random.Random(seed)
    share = seconds / len(kinds)
    gap = min(MAX_GAP, max(MIN_GAP, share - 8.0))
    longest = max(10.0, share)
    faults: list[Fault] = []
    waiting: list[FaultKind] = []
    now, busy_until, avoid = LEAD_IN, 0.0, ""
    while True:
        waiting = waiting or rng.sample(list(kinds), len(kinds))
        kind = waiting.pop(0)
        targets = _targets_of(kind, nodes, directors)
        target = rng.choice([name for name in targets if name != avoid] or targets)
        shortest, most = _LASTS.get(kind, (0.0, 0.0))
        lasts = rng.uniform(shortest, max(shortest, min(most, longest)))
        manner = rng.choice(_MANNERS.get(kind, (Manner.PLAIN,)))
        if manner is Manner.RESET:
            lasts = 0.0
        fault = Fault(len(faults) + 1, kind, target, manner, now, now + lasts)
        if faults and fault.ends + gap > seconds:
            break
        stands_alone = now >= busy_until
        faults.append(fault)
        busy_until = max(busy_until, fault.ends)
        is_long = lasts >= _LONG_ENOUGH and stands_alone
        if is_long and waiting and _are_apart(kind, waiting[0]) and rng.random() < _OVERLAPS:
            now, avoid = fault.begins + rng.uniform(0.2, 0.8) * lasts, target
        else:
            now, avoid = busy_until + gap * rng.uniform(0.8, 1.2), ""
    return FaultPlan(tuple(faults), max(seconds, busy_until + gap))


def _targets_of(kind: FaultKind, nodes: Sequence[str], directors: Sequence[str]) -> Sequence[str]:
    if kind in ON_A_NODE:
        return nodes
    if kind in _ON_REDIS:
        return (REDIS,)
    return (*directors, ALL_DIRECTORS) if kind is FaultKind.DIRECTOR_KILL else (STORE,)


def _are_apart(kind: FaultKind, other: FaultKind) -> bool:
    """Whether two faults at once are of different things: of two nodes, or of different parts."""
    return kind in ON_A_NODE or not any({kind, other} <= group for group in (_ON_REDIS, _ON_THE_STORE))
