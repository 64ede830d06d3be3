"""Faults at a real store: transactions that are stopped at a certain ask, processes that hold a SQLite file's lock, or
stop, die or find the disk full in a transaction."""

import asyncio
import dataclasses
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

from persistence.asks import Ask, RoomFault, Steps, T, Transact
from persistence.engines import Engines

PATIENCE = 60.0
_ROOT = Path(__file__).parents[2]

# Appends one message, "theirs", to the room that is open for ("inc-1", 1), and says what came of it. Before the ask
# named argv[2], or before its BEGIN, it sends itself the signal argv[3] first.
STRICKEN = """
import asyncio, os, signal, sys
from persistence.engines import open_engines
from persistence.store_sql import SqlStore
from tests.support.store_faults import hooked
from tests.support.stores import append, open_room, said

def strike(ask: object) -> None:
    if opened and (ask if isinstance(ask, str) else type(ask).__name__) == sys.argv[2]:
        print("at", sys.argv[2], flush=True)
        os.kill(os.getpid(), signal.Signals[sys.argv[3]])

opened = False

async def main() -> None:
    global opened
    async with SqlStore(hooked(open_engines(sys.argv[1]), strike)) as store:
        await open_room(store)
        opened = True
        for outcome in await append(store, said("theirs", "x" * 9000)):
            print(type(outcome).__name__, flush=True)

asyncio.run(main())
"""


Moment = Ask | Literal["BEGIN", "COMMIT"]
"""What a transaction is about to do."""


def hooked(engines: Engines, hook: Callable[[Moment], None]) -> Engines:
    """The engines, whose transactions tell `hook` of all that they are about to do. SQLite's run in a thread of their
    own, which the hook may hold up."""
    return dataclasses.replace(engines, transact=_Hooked(engines.transact, hook))


class _Hooked:
    def __init__(self, transact: Transact, hook: Callable[[Moment], None]) -> None:
        self._transact, self._hook = transact, hook

    async def __call__(self, steps: Steps[T]) -> T:
        self._hook("BEGIN")
        return await self._transact(self._told(steps))

    def _told(self, steps: Steps[T]) -> Steps[T]:
        try:
            ask = next(steps)
            while True:
                self._hook(ask)
                try:
                    rows = yield ask
                except RoomFault as fault:
                    ask = steps.throw(fault)
                else:
                    ask = steps.send(rows)
        except StopIteration as end:
            self._hook("COMMIT")
            value: T = end.value
            return value


class Other:
    """Another process, and what it says line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def word(self) -> str:
        """Its next line; empty when it has ended."""
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)).decode().strip()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def until_stopped(self) -> None:
        """Wait until it stands still: it speaks before it stops itself, and to be woken in between is to sleep on."""
        await asyncio.wait_for(asyncio.to_thread(os.waitid, os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT), PATIENCE)

    async def end(self) -> int:
        """Wait until it has ended; its exit code, or minus the signal."""
        return await asyncio.wait_for(self._process.wait(), PATIENCE)


@asynccontextmanager
async def running(code: str, *arguments: str) -> AsyncIterator[Other]:
    """Python code in a process of its own that does not outlive the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, stdout=asyncio.subprocess.PIPE, cwd=_ROOT
    )
    try:
        yield Other(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextmanager
def lock_held(store: Path) -> Iterator[sqlite3.Connection]:
    """The write lock of the file, held by another connection for the length of the block, or until its ROLLBACK."""
    other = sqlite3.connect(store, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield other
    finally:
        other.close()


# Writes 30 messages of 2,000 bytes through a BatchWriter, in two rooms in turn, while no file may grow by more than
# 16 KiB; lets files grow again once an append has failed three times. Says how each append failed, then each outcome.
SHORT_OF_DISK = """
import asyncio, resource, sys, time
from director.contract.ids import RoomId
from persistence.contract.store import StoreUnavailable
from persistence.store_sql import open_sql_store
from persistence.writer import BatchWriter
from tests.support.stores import NODE, ONE, ROOM, Settlements, open_room, said

OTHER = RoomId("physics-7")

def let_files_grow_to(size):
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))

class Failing:
    def __init__(self, store):
        self.store, self.failures = store, 0

    async def append_batch(self, batches):
        try:
            return await self.store.append_batch(batches)
        except StoreUnavailable as error:
            print("failed", type(error).__name__, flush=True)
            self.failures += 1
            if self.failures == 3:
                let_files_grow_to(resource.RLIM_INFINITY)
            raise

async def main():
    async with open_sql_store(sys.argv[1]) as store:
        await open_room(store)
        await open_room(store, OTHER)
        settled = Settlements()
        writer = BatchWriter(Failing(store), settled, wall_ms=lambda: 1_000, now=time.monotonic)
        let_files_grow_to(int(sys.argv[2]))
        for i in range(30):
            writer.put((ROOM, OTHER)[i % 2], said(f"c{i}", "x" * 2_000), epoch=ONE, incarnation=NODE, head=0)
        run = asyncio.create_task(writer.run())
        await writer.close(within=30)
        await run
        for room in (ROOM, OTHER):
            for cid, outcome in settled.of(room):
                print(room, cid, type(outcome).__name__, outcome.entry.seq, flush=True)

asyncio.run(main())
"""
