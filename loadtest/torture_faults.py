"""The faults of `hall torture`: each is a small class that breaks something in `begin` and mends it in `end`.

NotToday   the fault cannot be had here, or met nobody; it is reported as left out

A failover of Redis by Sentinel would be one class more; a Ground with a Sentinel set offers it then.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from director.contract.ids import NodeName
from loadtest.core.fault_plan import ALL_DIRECTORS, Fault, FaultKind, Manner
from loadtest.fault_proxy import FaultProxy
from loadtest.small_disk import SmallDisk

SLOW_LATENCY = 0.3
CLOCK_STEP_MS = 3_600_000
_CATCH_WITHIN = 5.0


class NotToday(Exception):
    """The fault is left out; the message says why."""


class Ground(Protocol):
    """The fleet under torture. Processes are `redis`, directors and nodes by name."""

    nodes: Sequence[NodeName]
    directors: Sequence[str]
    store_file: Path | None
    disk: SmallDisk | None
    no_disk: str

    def pid_of(self, process: str) -> int:
        """The process' id. Raises NotToday while it is not running."""
        ...

    def to_redis(self, node: NodeName) -> FaultProxy:
        """The only way from the node to Redis."""
        ...

    def to_node(self, node: NodeName) -> FaultProxy:
        """The only way from clients to the node."""
        ...

    def step_clock(self, node: NodeName, offset_ms: int) -> None:
        """Set the node's wall clock off by so much."""
        ...

    async def flush_redis(self) -> None:
        """Empty it while it runs."""
        ...

    def forget_redis(self) -> None:
        """Take its files away, so that it starts empty."""
        ...


class Act(Protocol):
    """One fault. `end` is called once after `begin`, also when `begin` raised, and mends all."""

    async def begin(self) -> None: ...

    async def end(self) -> None: ...


class _Once:
    """A fault that is over as soon as it has happened."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._ground = ground
        self._fault = fault

    async def end(self) -> None:
        return None


class Kill(_Once):
    """kill -9, of one or of all directors; the supervisor starts them again."""

    async def begin(self) -> None:
        target = self._fault.target
        pids = [
            self._ground.pid_of(name) for name in (self._ground.directors if target == ALL_DIRECTORS else (target,))
        ]
        for pid in pids:
            _signal(pid, signal.SIGKILL)


class KillRedis(Kill):
    """kill -9 of Redis, which comes back with its data, or empty."""

    async def begin(self) -> None:
        if self._fault.manner is Manner.EMPTY:
            self._ground.forget_redis()
        await super().begin()


class WipeRedis(_Once):
    """FLUSHALL."""

    async def begin(self) -> None:
        await self._ground.flush_redis()


class Freeze:
    """SIGSTOP, later SIGCONT."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._ground = ground
        self._target = fault.target
        self._pid: int | None = None

    async def begin(self) -> None:
        self._pid = self._ground.pid_of(self._target)
        _signal(self._pid, signal.SIGSTOP)

    async def end(self) -> None:
        if self._pid is not None:
            _signal(self._pid, signal.SIGCONT)


class FreezeInTransaction:
    """A node is frozen while it holds the store's write lock; it goes on later, unless it was killed for that."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._store = _file_of(ground)
        self._pid: int | None = None

    async def begin(self) -> None:
        said = await (await _grip("catch", self._store, _CATCH_WITHIN)).communicate()
        word = said[0].decode().strip()
        if not word.isdigit():
            raise NotToday("no node was met in a transaction")
        self._pid = int(word)

    async def end(self) -> None:
        if self._pid is not None:
            _signal(self._pid, signal.SIGCONT)


class LockStore:
    """Another process holds the store's write lock, and is none that anybody would kill."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._store = _file_of(ground)
        self._seconds = fault.ends - fault.begins
        self._holder: asyncio.subprocess.Process | None = None

    async def begin(self) -> None:
        self._holder = await _grip("hold", self._store, self._seconds)
        assert self._holder.stdout is not None
        if await self._holder.stdout.readline() != b"held\n":
            raise NotToday("the write lock was not to be had")

    async def end(self) -> None:
        if self._holder is not None:
            with suppress(ProcessLookupError):
                self._holder.kill()
            await self._holder.wait()


class FillDisk:
    """The store's disk is full."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        if ground.disk is None:
            raise NotToday(ground.no_disk)
        self._store = _file_of(ground)
        self._disk = ground.disk

    async def begin(self) -> None:
        await (await _grip("empty", self._store)).wait()
        self._disk.fill()

    async def end(self) -> None:
        self._disk.free()


class Cut:
    """A proxied way fails in one of several manners."""

    def __init__(self, proxy: FaultProxy, manner: Manner) -> None:
        self._proxy = proxy
        self._manner = manner

    async def begin(self) -> None:
        match self._manner:
            case Manner.BLACK_HOLE:
                self._proxy.swallow()
            case Manner.NOTHING_ARRIVES:
                self._proxy.swallow(back=False)
            case Manner.NOTHING_RETURNS:
                self._proxy.swallow(toward=False)
            case Manner.SLOW:
                self._proxy.delay(toward=SLOW_LATENCY, back=SLOW_LATENCY)
            case _:
                self._proxy.reset()

    async def end(self) -> None:
        self._proxy.restore()


class StepClock:
    """A node's wall clock is set an hour off, and back."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._ground = ground
        self._node = NodeName(fault.target)
        self._offset_ms = -CLOCK_STEP_MS if fault.manner is Manner.BEHIND else CLOCK_STEP_MS

    async def begin(self) -> None:
        self._ground.step_clock(self._node, self._offset_ms)

    async def end(self) -> None:
        self._ground.step_clock(self._node, 0)


ACTS: Mapping[FaultKind, Callable[[Ground, Fault], Act]] = {
    FaultKind.KILL: Kill,
    FaultKind.FREEZE: Freeze,
    FaultKind.SHORT_FREEZE: Freeze,
    FaultKind.FREEZE_IN_TRANSACTION: FreezeInTransaction,
    FaultKind.REDIS_PAUSE: Freeze,
    FaultKind.REDIS_KILL: KillRedis,
    FaultKind.REDIS_WIPE: WipeRedis,
    FaultKind.DIRECTOR_KILL: Kill,
    FaultKind.CUT_REDIS: lambda ground, fault: Cut(ground.to_redis(NodeName(fault.target)), fault.manner),
    FaultKind.CUT_CLIENTS: lambda ground, fault: Cut(ground.to_node(NodeName(fault.target)), fault.manner),
    FaultKind.STORE_LOCK: LockStore,
    FaultKind.DISK_FULL: FillDisk,
    FaultKind.CLOCK_STEP: StepClock,
}


def _file_of(ground: Ground) -> Path:
    if ground.store_file is None:
        raise NotToday("the store is no SQLite file")
    return ground.store_file


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def _grip(verb: str, store: Path, *arguments: float) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "loadtest.sqlite_grip", verb, str(store), *map(str, arguments))
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
