"""The hall in memory: what Redis holds, for tests and for a process that is a whole fleet by itself.

Twin of the keys and scripts in lua/; the modules that end in `_memory` are the ports on it. Nothing here awaits,
so each method is atomic as a script is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import NodeLease
from director.contract.operations import Operation
from director.contract.orders import Order
from director.contract.ownership import Interrupted, MembersCounted, NodeGone, Notice, RoomRecord
from director.past_memory import PastMoves

NO_EPOCH = Epoch(0)


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease and the instant of the hall's clock at which it lapses."""

    lease: NodeLease
    lapses_at: float


@dataclass(frozen=True, slots=True)
class ToldOperation:
    """An operation as it was told last, when by the server's clock, and whether somebody wants it cancelled."""

    operation: Operation
    heard_at_ms: int
    is_unwanted: bool = False


@dataclass(frozen=True, slots=True)
class SavedHall:
    """What a replica of a hall has, at a moment. `has_orders` tells whether there have ever been any."""

    number: int = 0
    epoch: Epoch = NO_EPOCH
    rooms: dict[RoomId, RoomRecord] = field(default_factory=dict)
    leases: dict[NodeName, HeldLease] = field(default_factory=dict)
    known: dict[NodeName, NodeLease] = field(default_factory=dict)
    dead: dict[tuple[NodeName, Incarnation], str] = field(default_factory=dict)
    past: PastMoves = field(default_factory=PastMoves)
    orders: dict[str, Order] = field(default_factory=dict)
    has_orders: bool = False
    operations: dict[str, ToldOperation] = field(default_factory=dict)


class MemoryHall:
    """The state. `clock` gives seconds and decides when leases lapse; `server_clock` Unix time in seconds.

    `settle` is the settle time; without one nothing waits, as in a process that is a whole fleet by itself. Faults for
    tests: `is_silent = True` lets every call fail as if Redis did not answer, `is_mute = True` loses notices on their
    way, `wipe` loses all data, and `fail_over` what came after a `save`.
    """

    def __init__(
        self, *, clock: Callable[[], float], server_clock: Callable[[], float] | None = None, settle: float = 0.0
    ) -> None:
        self._clock = clock
        self._server_clock = server_clock or clock
        self._settle = settle
        self._listeners: set[asyncio.Queue[Notice | Interrupted]] = set()
        self._life = 0
        self.is_silent = False
        self.is_mute = False
        self._begin(SavedHall())

    def _begin(self, saved: SavedHall) -> None:
        self._life += 1
        self.generation = f"memory-{self._life}"
        self.number = saved.number
        self.epoch = saved.epoch
        self.rooms: dict[RoomId, RoomRecord] = dict(saved.rooms)
        self.known: dict[NodeName, NodeLease] = dict(saved.known)
        self.dead: dict[tuple[NodeName, Incarnation], str] = dict(saved.dead)
        self.past = saved.past.copy()
        self.orders: dict[str, Order] = dict(saved.orders)
        self.has_orders = saved.has_orders
        # in the order in which they were told of, so that those that are over come first
        self.operations: dict[str, ToldOperation] = dict(saved.operations)
        self.verdicts: list[float] = []
        self.resumed_until = float("-inf")
        self.steward: tuple[str, float] = ("", float("-inf"))
        self._leases: dict[NodeName, HeldLease] = dict(saved.leases)
        self._heard_at: float | None = None
        self._settled_at = float("-inf")

    def wipe(self) -> None:
        """Lose everything and begin another generation, as a Redis that was started anew; listeners are interrupted."""
        self._begin(SavedHall())
        self.interrupt()

    def save(self) -> SavedHall:
        """What a replica would have now."""
        return SavedHall(
            self.number,
            self.epoch,
            dict(self.rooms),
            dict(self._leases),
            dict(self.known),
            dict(self.dead),
            self.past.copy(),
            dict(self.orders),
            self.has_orders,
            dict(self.operations),
        )

    def fail_over(self, saved: SavedHall) -> None:
        """Go on from what was saved, in another generation: a replica that was promoted, or a restart from a file."""
        self._begin(saved)
        self.interrupt()

    def interrupt(self) -> None:
        """Tell all listeners that they may have missed something."""
        for listener in self._listeners:
            listener.put_nowait(Interrupted())

    def answer(self) -> None:
        """Called first by every operation: raises ControlPathUnavailable while the hall is silent."""
        if self.is_silent:
            raise ControlPathUnavailable("the hall in memory was told to be silent")
        now = self._clock()
        if self._heard_at is None or now - self._heard_at > self._settle:
            self._settled_at = now + self._settle
        self._heard_at = now

    @property
    def settles_in(self) -> float:
        """What is left of the settle time in seconds."""
        return max(0.0, self._settled_at - self._clock())

    @property
    def now(self) -> float:
        return self._clock()

    @property
    def server_at_ms(self) -> int:
        return int(self._server_clock() * 1000)

    def leases(self) -> dict[NodeName, HeldLease]:
        """The leases that stand."""
        now = self._clock()
        self._leases = {node: held for node, held in self._leases.items() if held.lapses_at > now}
        return self._leases

    def lapsed(self) -> list[NodeLease]:
        """The last words of nodes whose lease lapsed and that nobody has declared dead."""
        standing = self.leases()
        return [lease for node, lease in self.known.items() if node not in standing]

    def holds(self, node: NodeName, incarnation: Incarnation) -> bool:
        """Whether that incarnation holds the lease of `node`."""
        held = self.leases().get(node)
        return held is not None and held.lease.incarnation == incarnation

    def keep(self, lease: NodeLease, *, expire: float) -> None:
        """Write a lease that lapses in `expire` seconds."""
        self._leases[lease.node] = HeldLease(lease, self._clock() + expire)
        self.known[lease.node] = lease

    def bury(self, node: NodeName, incarnation: Incarnation, *, why: str) -> bool:
        """Write down that an incarnation is dead and take all that it holds; answers whether it held the lease."""
        was_held = self.holds(node, incarnation)
        if (node, incarnation) in self.dead:
            return was_held
        self.dead[node, incarnation] = why
        if was_held:
            del self._leases[node]
        last = self.known.get(node)
        if last is not None and last.incarnation == incarnation:
            del self.known[node]
            self.publish(NodeGone(self.generation, self.next_number(), node, incarnation, why))
        return was_held

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def next_epoch(self) -> Epoch:
        self.epoch = Epoch(self.epoch + 1)
        return self.epoch

    def raise_epoch(self, floor: Epoch) -> None:
        self.epoch = max(self.epoch, floor)

    def publish(self, notice: Notice) -> None:
        """Tell all listeners; a count of no room is no news."""
        if self.is_mute or (isinstance(notice, MembersCounted) and not notice.members):
            return
        for listener in self._listeners:
            listener.put_nowait(notice)

    @contextmanager
    def _listening(self) -> Iterator[asyncio.Queue[Notice | Interrupted]]:
        listener: asyncio.Queue[Notice | Interrupted] = asyncio.Queue()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def notices(self) -> AsyncIterator[Notice | Interrupted]:
        """As RoomOwners.notices; a silent hall goes on telling what it has told."""
        with self._listening() as listener:
            yield Interrupted()
            while True:
                yield await listener.get()
