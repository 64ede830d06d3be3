"""A room that this node owns, with its members and the drafts that wait for the store's word."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import UserId
from director.contract.ownership import RoomRecord
from persistence.contract.messages import Draft, Entry
from persistence.contract.store import Appended, Outcome
from shard_node.contract.events import Ambient
from shard_node.core.room import Room
from shard_node.core.throttle import Rate, TokenBucket
from shard_node.fanout.members import Members

MAX_KEPT_BUCKETS = 256

OnOutcome = Callable[[Outcome | Refusal], None]


@dataclass(slots=True, eq=False)
class HostedRoom:
    """One epoch of a room on this node, from its opening to its end."""

    record: RoomRecord
    room: Room
    members: Members
    empty_since: float | None
    reactions: Counter[str] = field(default_factory=Counter)
    _waiting: dict[int, tuple[Draft, OnOutcome]] = field(default_factory=dict)
    _asked: Counter[tuple[UserId, str]] = field(default_factory=Counter)
    _buckets: dict[UserId, TokenBucket] = field(default_factory=dict)
    _told: Ambient | None = None

    @property
    def is_idle(self) -> bool:
        return self.empty_since is not None and not self._waiting

    def wait_for(self, draft: Draft, on_outcome: OnOutcome) -> None:
        """Remember whom to tell what became of a draft. The draft is told apart from an equal one by its identity."""
        self._waiting[id(draft)] = (draft, on_outcome)
        self._asked[draft.by.id, draft.cid] += 1

    def is_asked(self, draft: Draft) -> bool:
        """Whether the same author's same `cid` waits already: a retry shares the fate of the first try."""
        return self._asked[draft.by.id, draft.cid] > 0

    def settle(self, results: Sequence[tuple[Draft, Outcome]], now: float) -> None:
        """Answer those who asked, then show what was committed. Raises ValueError if the numbers leave a hole."""
        entries: list[Entry] = []
        for draft, outcome in results:
            self.room.withdraw(draft)
            if isinstance(outcome, Appended):
                entries.append(outcome.entry)
            _, on_outcome = self._pop(draft)
            on_outcome(outcome)
        if entries:
            for frame in self.room.show(entries):
                self.members.show(frame, now)

    def give_up(self, draft: Draft) -> None:
        """The draft was not put: nobody waits for it."""
        self.room.withdraw(draft)
        self._pop(draft)

    def _pop(self, draft: Draft) -> tuple[Draft, OnOutcome]:
        waiting = self._waiting.pop(id(draft), None)
        if waiting is None:
            return draft, _nobody
        key = draft.by.id, draft.cid
        self._asked[key] -= 1
        if not self._asked[key]:
            del self._asked[key]
        return waiting

    def fail_waiting(self, code: ErrorCode, message: str) -> None:
        """Tell all who wait that this room will not answer here: their retry with the same `cid` will be told."""
        waiting, self._waiting = self._waiting, {}
        self._asked.clear()
        for _, on_outcome in waiting.values():
            on_outcome(Refusal(code, message))

    def seconds_until_allowed(self, user: UserId, rate: Rate, now: float) -> float:
        """0.0 if the user may ask for something now, and it is counted."""
        bucket = self._buckets.get(user)
        if bucket is None:
            bucket = self._buckets[user] = TokenBucket(rate, now)
        return bucket.take(now)

    def forget_bucket(self, user: UserId, now: float) -> None:
        """The user's last connection left. What was used up stays so for one who comes back at once."""
        if len(self._buckets) > 2 * len(self.members) + MAX_KEPT_BUCKETS:
            self._buckets = {known: bucket for known, bucket in self._buckets.items() if not bucket.is_full(now)}
        bucket = self._buckets.get(user)
        if bucket is not None and bucket.is_full(now):
            del self._buckets[user]

    def tell_ambient(self) -> None:
        """Tell the newest counts if they changed since last told; to be called every 2 s at most."""
        newest = Ambient(members=len(self.members), reactions=dict(self.reactions))
        if newest.reactions or newest != self._told:
            self._told = newest
            self.reactions.clear()
            self.members.tell("ambient", newest)


def _nobody(outcome: Outcome | Refusal) -> None:
    """Who asked has gone."""
