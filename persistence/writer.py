"""The batch writer: one task a node that commits the drafts of all its rooms (design, section 4).

1. A draft into a room that was idle for its pace is committed at once; under load the batches of a room start at least
   its pace apart, or a tick where one was full. All rooms that are due go into one transaction, and transactions start
   a few milliseconds apart (core/turns.py).
2. While the store cannot do it, drafts go back to where they stood, and those that have waited too long are Unsettled.
3. A commit whose answer is lost is *unclear*: exactly the same batch is appended again until the store says what became
   of it, and until then its room's later drafts wait, for no longer than those of any other room.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby

from director.contract.ids import Epoch, Incarnation, RoomId, Seq
from persistence.contract.messages import Draft
from persistence.contract.store import (
    Appended,
    Fenced,
    Outcome,
    OutcomeUnknown,
    RoomBatch,
    RoomLog,
    StoreUnavailable,
    Unsettled,
)
from persistence.contract.writing import OnSettled, PaceOf, Settled, WriterTally
from persistence.core.redo import results_over_both_tries
from persistence.core.turns import SOON, Turns


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """What a writer takes at most. Transactions start `least_apart` to a tick apart where there are many of them.
    `max_wait` is how long a draft waits for a store that is out. Spans in seconds. A room's batch fits in half of what
    the room keeps for members that fall behind; it is shown in several frames."""

    max_waiting: int = 10_000
    max_batch_drafts: int = 256
    max_batch_bytes: int = 128 * 1024
    tick: float = 0.02
    least_apart: float = 0.008
    burst: int = 5
    max_wait: float = 3.0
    first_retry: float = 0.05
    max_retry: float = 0.5


@dataclass(frozen=True, slots=True)
class _Waiting:
    draft: Draft
    epoch: Epoch
    incarnation: Incarnation
    head: Seq
    size: int
    put_at: float


@dataclass(frozen=True, slots=True)
class _Cut:
    """A room's batch as it was taken from its queue. No entry up to `settled_to` is of its making."""

    batch: RoomBatch
    waiting: tuple[_Waiting, ...]
    settled_to: Seq


@dataclass(slots=True)
class _Lost:
    """A room that was let go while its batch was on its way: what is to be Fenced when that is settled."""

    epoch: Epoch
    waiting: list[_Waiting] = field(default_factory=list)


class BatchWriter:
    """A DraftWriter over a RoomLog.

    `run` it in one task, or `step` it by hand. `on_settled` is called from within `step` and `forget`, per room in the
    order in which drafts were put; it may call `put` and `forget`. `wall_ms` is the Unix time that entries carry, `now`
    a monotonic clock in seconds. `pace_of` is asked when a batch is cut; without it every room's pace is a tick.
    """

    def __init__(
        self,
        log: RoomLog,
        on_settled: OnSettled,
        *,
        wall_ms: Callable[[], int],
        now: Callable[[], float],
        pace_of: PaceOf | None = None,
        limits: WriterLimits | None = None,
    ) -> None:
        self._log = log
        self._on_settled = on_settled
        self._wall_ms = wall_ms
        self._now = now
        self._limits = limits or WriterLimits()
        self._pace_of = pace_of or (lambda room: self._limits.tick)
        self._queues: dict[RoomId, deque[_Waiting]] = {}
        self._in_flight: dict[RoomId, _Cut] = {}
        self._unclear: dict[RoomId, _Cut] = {}
        self._lost: dict[RoomId, _Lost] = {}
        self._settled_to: dict[RoomId, Seq] = {}
        self._turns = Turns(least=self._limits.least_apart, most=self._limits.tick, burst=self._limits.burst)
        self._taken = 0
        self._wakes_at = float("inf")
        self._retry_in = 0.0
        self._slowest = 0.0
        self.tally = WriterTally()
        self._closing = self._ended = False
        self._woken = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many drafts have been taken and have no outcome yet."""
        return self._taken

    def take_slowest(self) -> float:
        """Seconds of the slowest transaction that ended since this was last called; 0.0 if none did."""
        slowest, self._slowest = self._slowest, 0.0
        return slowest

    def put(self, room: RoomId, draft: Draft, *, epoch: Epoch, incarnation: Incarnation, head: Seq) -> bool:
        """Take a draft; False, and nothing is taken, if as many as the bound allows are waiting, or after `close`.
        `head` is as the contract says."""
        if self._closing or self._taken >= self._limits.max_waiting:
            return False
        size = len((draft.text or "").encode(errors="replace"))
        if room not in self._queues:
            self._queues[room] = deque()
            if self._turns.due_at(room) < self._wakes_at:
                self._woken.set()
        self._queues[room].append(_Waiting(draft, epoch, incarnation, head, size, self._now()))
        self._taken += 1
        return True

    def forget(self, room: RoomId, *, epoch: Epoch) -> None:
        """Let go of a room that is closed or lost: what waits is Fenced with `epoch`, and so is a batch whose commit is
        unclear. A batch on its way to the store gets its true outcome first. Nothing of the room is kept afterwards."""
        self._settled_to.pop(room, None)
        self._turns.forget(room)
        waiting = self._queues.pop(room, deque())
        if room in self._in_flight:
            self._lost.setdefault(room, _Lost(epoch)).waiting += waiting
            return
        unclear = self._unclear.pop(room, None)
        self._refuse(room, [*(unclear.waiting if unclear else ()), *waiting], Fenced(epoch))

    def hurry(self, room: RoomId) -> None:
        """Let what waits of the room go into the next transaction, whatever its pace."""
        self._turns.forget(room)
        self._woken.set()

    async def run(self) -> None:
        """Commit drafts as they come, until closed and empty. Ends with what the store raises beyond its contract."""
        while not self._ended and not (self._closing and self._taken == 0):
            await self.step()

    async def step(self) -> None:
        """Wait for drafts and for their turn, append them once, and settle what the store decided.

        Cancelled while the store is at work, the batch is unclear; the next step settles it.
        """
        while (due_at := self._due_at()) is None or due_at > self._now() + SOON:
            if due_at is None and self._closing:
                return
            self._wakes_at = float("inf") if due_at is None else due_at
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due_at is None else due_at - self._now()):
                    await self._woken.wait()
        await self._append_once()

    async def close(self, *, within: float) -> None:
        """Take nothing more and let `run`, which must be running, commit what waits; returns when that is done.

        After `within` seconds the drafts still waiting are Unsettled. A batch that is on its way to the store then, or
        whose commit is unclear, gets no outcome, for none is known.
        """
        self._closing = True
        self._woken.set()
        try:
            async with asyncio.timeout(within):
                while self._taken:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            self._ended = True
            for room in list(self._queues):
                self._refuse(room, self._queues.pop(room, ()), Unsettled("the node stops"))

    def _due_at(self) -> float | None:
        """When the next transaction is due; None while there is nothing to do."""
        if self._unclear or (self._closing and self._queues):
            return self._turns.start_at
        return self._turns.next_of(self._queues) if self._queues else None

    async def _append_once(self) -> None:
        now = self._now()
        self._turns.started(now)
        redone, self._unclear = self._unclear, {}
        due = [it for it in self._queues if it not in redone and (self._closing or self._turns.has_rested(it, now))]
        cuts = {room: self._cut(room, now) for room in due}
        self._in_flight = redone | cuts
        try:
            try:
                outcomes = await self._log.append_batch([cut.batch for cut in self._in_flight.values()])
            finally:
                took = self._now() - now
                self._slowest = max(self._slowest, took)
                self.tally.seconds.note(took)
                self.tally.drafts.note(sum(len(cut.waiting) for cut in self._in_flight.values()))
                self._turns.ended(took=took)
        except OutcomeUnknown as error:
            self.tally.ended["unclear"] += 1
            self._hold(self._in_flight)
            self._back_off(str(error))
        except StoreUnavailable as error:
            self.tally.ended["unavailable"] += 1
            self._hold(redone)
            self._put_back(cuts)
            self._back_off(str(error))
        except asyncio.CancelledError:
            self._hold(self._in_flight)
            raise
        else:
            self._retry_in = 0.0
            self.tally.ended["committed"] += 1
            self._settle(outcomes, redone)
        finally:
            lost, self._lost = self._lost, {}
            for room, it in lost.items():
                self._refuse(room, it.waiting, Fenced(it.epoch))

    def _cut(self, room: RoomId, now: float) -> _Cut:
        """Take a room's first drafts of one owner, as many as a batch may hold, and let the room rest."""
        queue = self._queues[room]
        first, size, taken = queue[0], 0, list[_Waiting]()
        while queue and len(taken) < self._limits.max_batch_drafts:
            it = queue[0]
            size += it.size
            same_owner = (it.epoch, it.incarnation) == (first.epoch, first.incarnation)
            if taken and (size > self._limits.max_batch_bytes or not same_owner):
                break
            taken.append(queue.popleft())
        rest = self._limits.tick
        if not queue:
            del self._queues[room]
            rest = self._pace_of(room)
        self._turns.rest(room, until=now + rest)
        drafts = tuple(it.draft for it in taken)
        batch = RoomBatch(room, first.epoch, first.incarnation, self._wall_ms(), drafts)
        # a head is as old as its put, and a batch may have been settled since
        return _Cut(batch, tuple(taken), max(taken[-1].head, self._settled_to.get(room, Seq(0))))

    def _hold(self, cuts: Mapping[RoomId, _Cut]) -> None:
        """Keep batches whose commit is unclear as they are."""
        self._in_flight = {}
        for room, cut in cuts.items():
            if room in self._lost:
                self._lost[room].waiting[:0] = cut.waiting
            else:
                self._unclear[room] = cut

    def _put_back(self, cuts: Mapping[RoomId, _Cut]) -> None:
        """Return drafts of which nothing was committed to the heads of their queues."""
        for room, cut in cuts.items():
            if room in self._lost:
                self._lost[room].waiting[:0] = cut.waiting
            else:
                self._queues.setdefault(room, deque()).extendleft(reversed(cut.waiting))
                self._turns.forget(room)

    def _back_off(self, why: str) -> None:
        """Let the store rest, and give up what has waited too long for it."""
        limits = self._limits
        self._retry_in = min(max(limits.first_retry, 2 * self._retry_in), limits.max_retry)
        now = self._now()
        self._turns.hold(until=now + self._retry_in)
        for room in list(self._queues):
            # what is told of one room may make the host forget another
            queue, late = self._queues.get(room, deque()), list[_Waiting]()
            while queue and queue[0].put_at + limits.max_wait <= now:
                late.append(queue.popleft())
            if late and not queue:
                del self._queues[room]
            self._refuse(room, late, Unsettled(why))

    def _settle(self, outcomes: Mapping[RoomId, tuple[Outcome, ...]], redone: Mapping[RoomId, _Cut]) -> None:
        now, settle_seconds = self._now(), self.tally.settle_seconds
        while self._in_flight:
            # one by one, for the same reason
            room = next(iter(self._in_flight))
            cut = self._in_flight.pop(room)
            batch = cut.batch
            if room in redone:
                results = results_over_both_tries(batch, outcomes[room], settled_to=cut.settled_to)
            else:
                results = tuple(zip(batch.drafts, outcomes[room], strict=True))
            numbers = [outcome.entry.seq for _, outcome in results if isinstance(outcome, Appended)]
            if numbers and room not in self._lost:
                self._settled_to[room] = max(numbers)
            for it in cut.waiting:
                settle_seconds.note(now - it.put_at)
            self._deliver(room, batch.epoch, results)

    def _refuse(self, room: RoomId, waiting: Iterable[_Waiting], outcome: Fenced | Unsettled) -> None:
        for epoch, some in groupby(waiting, key=lambda it: it.epoch):
            self._deliver(room, epoch, tuple((it.draft, outcome) for it in some))

    def _deliver(self, room: RoomId, epoch: Epoch, results: tuple[tuple[Draft, Outcome], ...]) -> None:
        self._taken -= len(results)
        self._emptied.set()
        self._on_settled(Settled(room, epoch, results))
