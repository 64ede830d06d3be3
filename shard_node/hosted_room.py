"""A room that this node owns, with its members and the drafts that wait for the store's word."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import UserId
from director.contract.ownership import RoomRecord
from persistence.contract.messages import Draft, Entry, Kind
from persistence.contract.store import Appended, Outcome
from shard_node.contract.events import NodeMode
from shard_node.core.ambient import AmbientNews
from shard_node.core.pace import Pace
from shard_node.core.room import Disallowed, Room
from shard_node.core.tally import NodeTally
from shard_node.core.throttle import Rate, TokenBucket
from shard_node.fanout.connection import Connection
from shard_node.fanout.members import Member, Members
from shard_node.fanout.packets import event_packet
from shard_node.fanout.showing import Showing

MAX_KEPT_BUCKETS = 256
MAX_HELD = 10_000
"""Drafts that a frozen room keeps; as many may wait for the store."""

OnOutcome = Callable[[Outcome | Refusal | Disallowed], None]


class HostedRoom:
    """One epoch of a room on this node, from its opening to its end. `now` is monotonic, `cpu` counts the seconds that
    this thread has run."""

    def __init__(
        self,
        record: RoomRecord,
        room: Room,
        *,
        now: Callable[[], float],
        cpu: Callable[[], float] | None = None,
        tally: NodeTally | None = None,
    ) -> None:
        self.record = record
        self.room = room
        self.members = Members()
        self.pace = Pace()
        self._tally = tally or NodeTally()
        self.showing = Showing(self.members, now=now, cpu=cpu, learn=self.pace.learn, tally=self._tally)
        self.empty_since: float | None = now()
        self.reactions: Counter[str] = Counter()
        self._now = now
        self._news = AmbientNews(now())
        self._waiting: dict[int, tuple[Draft, OnOutcome]] = {}
        self._none_waits = asyncio.Event()
        self._held: list[tuple[Draft, OnOutcome]] | None = None
        self._asked: Counter[tuple[UserId, str]] = Counter()
        self._buckets: dict[UserId, TokenBucket] = {}

    @property
    def is_idle(self) -> bool:
        return self.empty_since is not None and not self._waiting and not self.is_frozen

    # members

    def add(self, member: Member) -> None:
        """Register a member in the step in which it is told the head."""
        self.members.add(member)
        self.empty_since = None
        self._news.stir()

    def remove(self, connection: Connection) -> None:
        """A connection left; idempotent. What its user has used up stays so for one who comes back at once."""
        member = self.members.member_of(connection)
        if member is None:
            return
        self.members.remove(connection)
        self._news.stir()
        if not self.members.has(member.author.id):
            self._forget_bucket(member.author.id)
        if not self.members.connections:
            self.empty_since = self._now()

    def tell_ambient(self, mode: NodeMode, *, most: int) -> int:
        """Let the newest counts be told, if it is time and they have changed, to no more than `most` members at once;
        how many have been told. To be called again and again: the others follow."""
        news = self._news.newest(members=len(self.members), reactions=self.reactions, mode=mode, now=self._now())
        if news is not None:
            self.reactions.clear()
            self.members.tell(event_packet("ambient", news))
        return self.members.tell_on(most)

    def pace_in(self, mode: NodeMode) -> float:
        """How far apart the room's batches are to start, in seconds; those of a frozen room are not gathered."""
        return 0.0 if self.is_frozen else self.pace.seconds_for(self.members.connections, mode)

    # drafts

    def wait_for(self, draft: Draft, on_outcome: OnOutcome) -> None:
        """Remember whom to tell what became of a draft. The draft is told apart from an equal one by its identity."""
        self._waiting[id(draft)] = (draft, on_outcome)
        self._asked[draft.by.id, draft.cid] += 1

    def is_asked(self, draft: Draft) -> bool:
        """Whether the same author's same `cid` waits already: a retry shares the fate of the first try."""
        return self._asked[draft.by.id, draft.cid] > 0

    def settle(self, results: Sequence[tuple[Draft, Outcome]]) -> None:
        """Answer those who asked, then show what was committed. Raises ValueError if the numbers leave a hole."""
        entries: list[Entry] = []
        for draft, outcome in results:
            self.room.withdraw(draft)
            if isinstance(outcome, Appended):
                entries.append(outcome.entry)
            else:
                self._tally.unappended[type(outcome).__name__.lower()] += 1
            _, on_outcome = self._pop(draft)
            on_outcome(outcome)
        if entries:
            self._tally.appended += len(entries)
            strikes = any(entry.kind is Kind.DELETE for entry in entries)
            self.showing.show(self.room.show(entries), strikes=strikes)

    def give_up(self, draft: Draft) -> None:
        """The draft was not put: nobody waits for it."""
        self.room.withdraw(draft)
        self._pop(draft)

    def _pop(self, draft: Draft) -> tuple[Draft, OnOutcome]:
        waiting = self._waiting.pop(id(draft), None)
        if waiting is None:
            return draft, _nobody
        self._forget_asked(draft)
        if not self._waiting:
            self._none_waits.set()
        return waiting

    def _forget_asked(self, draft: Draft) -> None:
        key = draft.by.id, draft.cid
        self._asked[key] -= 1
        if not self._asked[key]:
            del self._asked[key]

    def fail_waiting(self, code: ErrorCode, message: str) -> None:
        """Tell all who wait that this room will not answer here: their retry with the same `cid` will be told."""
        waiting, self._waiting = list(self._waiting.values()), {}
        held, self._held = self._held or [], None
        self._asked.clear()
        self._none_waits.set()
        for _, on_outcome in (*waiting, *held):
            on_outcome(Refusal(code, message))

    # frozen

    @property
    def is_frozen(self) -> bool:
        """Whether what is posted is held, as the room is about to move."""
        return self._held is not None

    @property
    def held_by(self) -> frozenset[UserId]:
        """Whose drafts are held."""
        return frozenset(draft.by.id for draft, _ in self._held or ())

    def freeze(self) -> None:
        """Hold what is posted from now on."""
        self._held = []

    def hold(self, draft: Draft, on_outcome: OnOutcome) -> None:
        """Keep a draft that may be put when the room is thawed. Raises Refusal with FROZEN if too many are kept."""
        assert self._held is not None
        if len(self._held) >= MAX_HELD:
            self.room.withdraw(draft)
            raise Refusal(ErrorCode.FROZEN, "the room is moving; try again", retry_after_ms=500)
        self._held.append((draft, on_outcome))
        self._asked[draft.by.id, draft.cid] += 1

    def thaw(self) -> list[tuple[Draft, OnOutcome]]:
        """Hold nothing any more; what was held, in order, of which nobody remembers that it was asked."""
        held, self._held = self._held or [], None
        for draft, _ in held:
            self._forget_asked(draft)
        return held

    async def until_settled(self) -> None:
        """Wait until the store has said what became of all that was put."""
        while self._waiting:
            self._none_waits.clear()
            await self._none_waits.wait()

    def go_on_as(self, fresh: "HostedRoom") -> bool:
        """Take record and room of one that was opened anew with the same log; its members are shown the rest as if they
        had fallen behind. False, and nothing is changed, if it is no continuation of this one."""
        if fresh.room.log != self.room.log or fresh.room.head < self.room.head:
            return False
        self.showing.leave_rest()  # another owner may have deleted what it says
        self.record, self.room = fresh.record, fresh.room
        now = self._now()
        for member in self.members:
            if member.shown < self.room.head:
                self.members.fell_behind(member, now)
        return True

    # limits

    def seconds_until_allowed(self, user: UserId, rate: Rate, now: float) -> float:
        """0.0 if the user may ask for something now, and it is counted."""
        bucket = self._buckets.get(user)
        if bucket is None:
            bucket = self._buckets[user] = TokenBucket(rate, now)
        return bucket.take(now)

    def _forget_bucket(self, user: UserId) -> None:
        now = self._now()
        if len(self._buckets) > 2 * len(self.members) + MAX_KEPT_BUCKETS:
            self._buckets = {known: bucket for known, bucket in self._buckets.items() if not bucket.is_full(now)}
        bucket = self._buckets.get(user)
        if bucket is not None and bucket.is_full(now):
            del self._buckets[user]


def _nobody(outcome: Outcome | Refusal | Disallowed) -> None:
    """Who asked has gone."""
