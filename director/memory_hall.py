"""The hall in memory: what Redis holds, for tests and for a process that is a whole fleet by itself.

Twin of the keys and scripts in lua/; `ownership_memory` and `leases_memory` are the ports on it. Nothing here awaits,
so each method is atomic as a script is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.lease import NodeLease
from director.contract.ownership import Interrupted, MembersCounted, NodeGone, Notice, RoomRecord


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease and the instant of the hall's clock at which it lapses."""

    lease: NodeLease
    lapses_at: float


class MemoryHall:
    """The state. `clock` gives seconds and decides when leases lapse; `server_clock` Unix time in seconds.

    Faults for tests: `is_silent = True` lets every call fail as if Redis did not answer, `is_mute = True` loses
    notices on their way, and `wipe` loses all data.
    """

    def __init__(self, *, clock: Callable[[], float], server_clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._server_clock = server_clock or clock
        self._listeners: set[asyncio.Queue[Notice | Interrupted]] = set()
        self._life = 0
        self.is_silent = False
        self.is_mute = False
        self._clear()

    def _clear(self) -> None:
        self._life += 1
        self.generation = f"memory-{self._life}"
        self.number = 0
        self.epoch = Epoch(0)
        self.rooms: dict[RoomId, RoomRecord] = {}
        self._leases: dict[NodeName, HeldLease] = {}

    def wipe(self) -> None:
        """Lose everything and begin another generation, as a Redis that was started anew; listeners are interrupted."""
        self._clear()
        self.interrupt()

    def interrupt(self) -> None:
        """Tell all listeners that they may have missed something."""
        for listener in self._listeners:
            listener.put_nowait(Interrupted())

    def answer(self) -> None:
        """Called first by every operation: raises ControlPathUnavailable while the hall is silent."""
        if self.is_silent:
            raise ControlPathUnavailable("the hall in memory was told to be silent")

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

    def holds(self, node: NodeName, incarnation: Incarnation) -> bool:
        """Whether that incarnation holds the lease of `node`."""
        held = self.leases().get(node)
        return held is not None and held.lease.incarnation == incarnation

    def keep(self, lease: NodeLease, *, expire: float) -> None:
        """Write a lease that lapses in `expire` seconds."""
        self._leases[lease.node] = HeldLease(lease, self._clock() + expire)

    def drop(self, node: NodeName, incarnation: Incarnation, *, why: str) -> bool:
        """Remove a lease if that incarnation holds it; answers whether it did."""
        self.answer()
        if not self.holds(node, incarnation):
            return False
        del self._leases[node]
        self.publish(NodeGone(self.generation, self.next_number(), node, incarnation, why))
        return True

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
