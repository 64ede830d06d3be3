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
    _buckets: dict[UserId, TokenBucket] = field(default_factory=dict)
    _told: Ambient | None = None

    @property
    def is_idle(self) -> bool:
        return self.empty_since is not None and not self._waiting

    def wait_for(self, draft: Draft, on_outcome: OnOutcome) -> None:
        """Remember whom to tell what became of a draft. The draft is told apart from an equal one by its identity."""
        self._waiting[id(draft)] = (draft, on_outcome)

    def settle(self, results: Sequence[tuple[Draft, Outcome]], now: float) -> None:
        """Answer those who asked, then show what was committed. Raises ValueError if the numbers leave a hole."""
        entries: list[Entry] = []
        for draft, outcome in results:
            self.room.withdraw(draft)
            if isinstance(outcome, Appended):
                entries.append(outcome.entry)
            _, on_outcome = self._waiting.pop(id(draft), (draft, _nobody))
            on_outcome(outcome)
        if entries:
            for frame in self.room.show(entries):
                self.members.show(frame, now)

    def give_up(self, draft: Draft) -> None:
        """The draft was not put: nobody waits for it."""
        self.room.withdraw(draft)
        del self._waiting[id(draft)]

    def fail_waiting(self, code: ErrorCode, message: str) -> None:
        """Tell all who wait that this room will not answer here: their retry with the same `cid` will be told."""
        waiting, self._waiting = self._waiting, {}
        for _, on_outcome in waiting.values():
            on_outcome(Refusal(code, message))

    def seconds_until_allowed(self, user: UserId, rate: Rate, now: float) -> float:
        """0.0 if the user may ask for something now, and it is counted."""
        bucket = self._buckets.get(user)
        if bucket is None:
            bucket = self._buckets[user] = TokenBucket(rate, now)
        return bucket.take(now)

    def forget_bucket(self, user: UserId) -> None:
        """The user's last connection left."""
        self._buckets.pop(user, None)

    def tell_ambient(self) -> None:
        """Tell the newest counts if they changed since last told; to be called every 2 s at most."""
        newest = Ambient(members=len(self.members), reactions=dict(self.reactions))
        if newest != self._told and (self._told is not None or newest.members or newest.reactions):
            self._told = newest
            self.reactions.clear()
            self.members.tell("ambient", newest)


def _nobody(outcome: Outcome | Refusal) -> None:
    """Who asked has gone."""
