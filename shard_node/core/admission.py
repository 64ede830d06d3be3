"""How many may come at once: budgets for joins, resumes and sends, and the pace at which a node can take members.

A crowd that is refused is not sent away to come back all at once: each refusal names the next free slot.
"""

from dataclasses import dataclass

from shard_node.core.throttle import Rate, TokenBucket

MIN_JOIN_RATE = 200.0
MAX_JOIN_RATE = 5_000.0
FIRST_JOIN_RATE = 1_000.0
JOIN_BURST = 2_000.0
MIN_MEASURED_JOINS = 20
SHARE_FOR_JOINS = 0.8
BUSY_FROM = 0.8
LEARNING = 0.3
MIN_WINDOW = 0.25
MAX_WINDOW = 20.0
RESUMES_PER_JOIN = 2.0
SEND_RATE = Rate(per_second=5_000, burst=10_000)


class Gate:
    """A budget. `ask` gives 0.0 (come in), or the seconds until a slot of one's own; it counts both."""

    __slots__ = ("_bucket", "_next_at", "_rate", "admitted", "refused")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._bucket = TokenBucket(rate, now)
        self._next_at = now
        self.admitted = self.refused = 0

    def ask(self, now: float) -> float:
        """Ask for one admission at monotonic `now`."""
        if self._bucket.take(now) == 0.0:
            self.admitted += 1
            return 0.0
        self.refused += 1
        slot_at = max(now, self._next_at) + 1 / self._rate.per_second
        # those who asked long ago are in or gone: slots beyond the window begin anew
        self._next_at = slot_at if slot_at - now <= MAX_WINDOW else now
        return min(slot_at - now, MAX_WINDOW)

    def pace(self, rate: Rate) -> None:
        """Go on at another rate; what was promised stands."""
        self._rate = rate
        self._bucket.pace(rate)


@dataclass(slots=True)
class JoinMeter:
    """Joins a second that this node can take, learnt from what joins have cost it. Begins with 1,000."""

    rate: float = FIRST_JOIN_RATE

    def learn(self, *, joins: int, cpu: float, span: float) -> None:
        """Take in that `span` seconds saw `joins` joins and cost `cpu` seconds of processor in all. Few joins teach
        nothing; and while the processor had time left, what else it did is not held against the joins."""
        if joins < MIN_MEASURED_JOINS or cpu <= 0:
            return
        seen = SHARE_FOR_JOINS * joins / cpu
        if seen < self.rate and cpu < BUSY_FROM * span:
            return
        self.rate = min(MAX_JOIN_RATE, max(MIN_JOIN_RATE, self.rate + LEARNING * (seen - self.rate)))

    def window_of(self, members: int) -> float:
        """Seconds over which the members of a room should spread their return."""
        return min(MAX_WINDOW, max(MIN_WINDOW, members / self.rate))


class Budgets:
    """The gates of one node. Joins and resumes have their own, so that a crowd of new ones holds nobody's return up."""

    def __init__(self, now: float) -> None:
        self.meter = JoinMeter()
        self.joins = Gate(self._join_rate, now)
        self.resumes = Gate(self._resume_rate, now)
        self.sends = Gate(SEND_RATE, now)

    def learn(self, *, joins: int, cpu: float, span: float) -> None:
        """Take in what joins have cost, and pace the gates accordingly."""
        self.meter.learn(joins=joins, cpu=cpu, span=span)
        self.joins.pace(self._join_rate)
        self.resumes.pace(self._resume_rate)

    @property
    def _join_rate(self) -> Rate:
        return Rate(self.meter.rate, burst=JOIN_BURST)

    @property
    def _resume_rate(self) -> Rate:
        return Rate(RESUMES_PER_JOIN * self.meter.rate, burst=RESUMES_PER_JOIN * JOIN_BURST)
