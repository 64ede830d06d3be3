"""LockWatch: frees the store's file from a process that is frozen inside a transaction (design, section 3).

All nodes of a host write to one SQLite file, whose lock a stopped process keeps. In WAL mode that is a POSIX lock on
one byte of {store}-shm: the kernel knows who has it, and takes it away from the dead. So the kernel is asked, and no
file of ours can be out of date. The note in {store}.holder, which each writer renews at each BEGIN, tells whether it is
still the same transaction. Only Linux is asked; elsewhere nobody is ever overdue.
"""

import asyncio
import fcntl
import os
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from director.core.lock_hold import Holder, LockHold, look

LOOK_EVERY = 0.25
MAX_HOLD = 2.0

# of the lock bytes, which stand behind the wal-index header (sqlite.org/walformat.html, section 2.2), the first
_WRITE_LOCK_BYTE = 120
_FLOCK = struct.Struct("@hhqqi4x")


@dataclass(frozen=True, slots=True)
class KilledHolder:
    """The child `name` held the lock for too long and was killed."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class ForeignHolder:
    """A process that is none of ours holds the lock for too long; told once for each of its transactions. `pid` is 0 if
    it cannot be seen from here, as from within a container."""

    pid: int

    @property
    def words(self) -> str:
        """What happened and what to do."""
        if self.pid <= 0:
            who, what = "a process outside of this container", "end it there"
        else:
            who, what = f"process {self.pid}", f"see what it is (ps -p {self.pid}) and end it: kill -9 {self.pid}"
        return f"{who} locks the store, and no node can write until it lets go; {what}"


class LockWatch:
    """Looks at the lock of the SQLite file `store`. `kill` kills the child that runs as a pid and gives its name, None
    if there is no such child; nobody else is ever killed. Times are the loop's.

    Do not run it in a process that has the store open itself: closing any descriptor of a file drops all of the
    process's POSIX locks on it.
    """

    def __init__(
        self,
        store: Path,
        *,
        kill: Callable[[int], str | None],
        on_overdue: Callable[[KilledHolder | ForeignHolder], None],
    ) -> None:
        self._store = store
        self._kill = kill
        self._on_overdue = on_overdue
        self._hold = LockHold()

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = loop.time()
            self.look(elapsed=now - looked_at)
            looked_at = now

    def look(self, *, elapsed: float) -> None:
        """Look once, `elapsed` seconds after the former time."""
        self._hold, overdue = look(self._hold, holder_of(self._store), elapsed=elapsed, limit=MAX_HOLD)
        if overdue is None:
            return
        name = self._kill(overdue.pid)
        self._on_overdue(ForeignHolder(overdue.pid) if name is None else KilledHolder(name, overdue.pid))


def holder_of(store: Path) -> Holder | None:
    """Who has the write lock of the file now, as the kernel says; None if nobody has."""
    pid = _lock_owner(store.with_name(store.name + "-shm"))
    return None if pid is None else Holder(pid, _read(store.with_name(store.name + ".holder")))


def _lock_owner(index: Path) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        file = os.open(index, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # nobody has the store open
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITE_LOCK_BYTE, 1, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    finally:
        os.close(file)
    return None if kind == fcntl.F_UNLCK else max(pid, 0)


def _read(note: Path) -> bytes:
    try:
        return note.read_bytes()
    except OSError:
        return b""
