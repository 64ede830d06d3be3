"""The faults of `hall torture`: each is a small class that breaks something in `begin` and mends it in `end`."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from director.contract.ids import NodeName
from loadtest.core.fault_plan import ALL_DIRECTORS, REDIS, Fault, FaultKind, Manner
from loadtest.fault_proxy import FaultProxy
from loadtest.operator_acts import DrainNode, MoveRoom, RestartNode
from loadtest.torture_ground import Ground, NotToday, StoreServer

SLOW_LATENCY = 0.3
CLOCK_STEP_MS = 3_600_000
_CATCH_WITHIN = 5.0


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


class KillRedis(_Once):
    """kill -9 of Redis, which comes back with its data, or empty."""

    async def begin(self) -> None:
        if self._fault.manner is Manner.EMPTY:
            self._ground.forget_redis()
        for pid in [self._ground.pid_of(name) for name in self._ground.redis_servers]:
            _signal(pid, signal.SIGKILL)


class FailRedisOver:
    """A sentinel makes the replica master, which has not heard of the newest writes; the former master wakes later."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._ground = ground

    async def begin(self) -> None:
        await self._ground.fail_redis_over()

    async def end(self) -> None:
        await self._ground.end_redis_failover()


class WipeRedis(_Once):
    """FLUSHALL."""

    async def begin(self) -> None:
        await self._ground.flush_redis()


class Freeze:
    """SIGSTOP, later SIGCONT; of Redis all servers."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._ground = ground
        self._targets = ground.redis_servers if fault.target == REDIS else (fault.target,)
        self._pids: Sequence[int] = ()

    async def begin(self) -> None:
        self._pids = [self._ground.pid_of(target) for target in self._targets]
        for pid in self._pids:
            _signal(pid, signal.SIGSTOP)

    async def end(self) -> None:
        for pid in self._pids:
            _signal(pid, signal.SIGCONT)


class FreezeNode(Freeze):
    """A node is frozen outside of any transaction, and where that can be seen just after one: with the most to show
    that others may have shown by the time that it wakes."""

    async def begin(self) -> None:
        store = self._ground.store_file
        if store is None:
            await super().begin()
            return
        self._pids = [self._ground.pid_of(target) for target in self._targets]
        for pid in self._pids:
            await (await _grip("stop", store, _CATCH_WITHIN, pid)).wait()


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


class PauseStore:
    """The store's server stands still."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._server = _server_of(ground)

    async def begin(self) -> None:
        self._server.pause()

    async def end(self) -> None:
        self._server.resume()


class KillStore:
    """kill -9 of the store's server, which is started again later."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._server = _server_of(ground)

    async def begin(self) -> None:
        self._server.kill()

    async def end(self) -> None:
        self._server.spawn()


class Cut:
    """Proxied ways fail in one of several manners."""

    def __init__(self, ways: Sequence[FaultProxy], manner: Manner) -> None:
        self._ways = ways
        self._manner = manner

    async def begin(self) -> None:
        for way in self._ways:
            match self._manner:
                case Manner.BLACK_HOLE:
                    way.swallow()
                case Manner.NOTHING_ARRIVES:
                    way.swallow(back=False)
                case Manner.NOTHING_RETURNS:
                    way.swallow(toward=False)
                case Manner.SLOW:
                    way.delay(toward=SLOW_LATENCY, back=SLOW_LATENCY)
                case _:
                    way.reset()

    async def end(self) -> None:
        for way in self._ways:
            way.restore()


def vanish(ground: Ground, fault: Fault) -> Cut:
    """The node's machine is gone without a word: nobody reaches it, nobody is refused, and it reaches nobody."""
    node = NodeName(fault.target)
    return Cut([ground.to_node(node), ground.to_probe(node), *ground.ways_to_redis(node)], Manner.BLACK_HOLE)


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
    FaultKind.FREEZE: FreezeNode,
    FaultKind.SHORT_FREEZE: FreezeNode,
    FaultKind.FREEZE_IN_TRANSACTION: FreezeInTransaction,
    FaultKind.REDIS_PAUSE: Freeze,
    FaultKind.REDIS_KILL: KillRedis,
    FaultKind.REDIS_WIPE: WipeRedis,
    FaultKind.DIRECTOR_KILL: Kill,
    FaultKind.REDIS_FAILOVER: FailRedisOver,
    FaultKind.CUT_REDIS: lambda ground, fault: Cut(ground.ways_to_redis(NodeName(fault.target)), fault.manner),
    FaultKind.CUT_STORE: lambda ground, fault: Cut([ground.to_store(NodeName(fault.target))], fault.manner),
    FaultKind.CUT_CLIENTS: lambda ground, fault: Cut([ground.to_node(NodeName(fault.target))], fault.manner),
    FaultKind.VANISH: vanish,
    FaultKind.STORE_LOCK: LockStore,
    FaultKind.STORE_PAUSE: PauseStore,
    FaultKind.STORE_KILL: KillStore,
    FaultKind.DISK_FULL: FillDisk,
    FaultKind.CLOCK_STEP: StepClock,
    FaultKind.MOVE: MoveRoom,
    FaultKind.DRAIN: DrainNode,
    FaultKind.RESTART: RestartNode,
}


def _file_of(ground: Ground) -> Path:
    if ground.store_file is None:
        raise NotToday("the store is no SQLite file")
    return ground.store_file


def _server_of(ground: Ground) -> StoreServer:
    if ground.store_server is None:
        raise NotToday("the store is no server of ours")
    return ground.store_server


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def _grip(verb: str, store: Path, *arguments: float) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "loadtest.sqlite_grip", verb, str(store), *map(str, arguments))
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
