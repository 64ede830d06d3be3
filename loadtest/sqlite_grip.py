"""A grip on a SQLite store from outside: a process of its own that holds the file's write lock, catches whoever holds
it in the midst of a transaction or at its end, or empties the write-ahead log. For `hall torture`; Linux only.

    python -m loadtest.sqlite_grip hold FILE SECONDS      says "held", and holds the lock so long
    python -m loadtest.sqlite_grip catch FILE SECONDS     freezes a holder and says its pid; "nobody" if none came
    python -m loadtest.sqlite_grip stop FILE SECONDS PID  freezes that process, as a transaction of its has just ended
    python -m loadtest.sqlite_grip empty FILE             moves the log into the file, so that the next write needs room

A process of its own, because closing any descriptor of a file drops all locks that the process has on it.
"""

import fcntl
import os
import signal
import sqlite3
import struct
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

_PATIENCE = 5.0
_LOOK_AGAIN_AFTER = 0.02
_PAUSE = 0.0002
# of the lock bytes behind the wal-index header (sqlite.org/walformat.html, section 2.2), the first is the writer's
_WRITE_LOCK_BYTE = 120
_FLOCK = struct.Struct("@hhqqi4x")


def hold(file: Path, seconds: float) -> None:
    """Hold the write lock for so long."""
    with closing(sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        print("held", flush=True)
        time.sleep(seconds)
        connection.execute("ROLLBACK")


def catch(file: Path, within: float) -> int | None:
    """Stop a process that holds the write lock, in the midst of its transaction; its pid, None if none was caught."""
    deadline = time.monotonic() + within
    index = os.open(file.with_name(file.name + "-shm"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        while time.monotonic() < deadline:
            pid = _holder(index)
            if pid is None or pid <= 0:
                time.sleep(_PAUSE)
                continue
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(_LOOK_AGAIN_AFTER)
                if _holder(index) == pid:
                    return pid
                os.kill(pid, signal.SIGCONT)
        return None
    finally:
        os.close(index)


def stop_after_commit(file: Path, within: float, pid: int) -> None:
    """Stop a process outside of any transaction; if it has one within the time, just as that ends: what it has
    committed is not told yet to anybody."""
    deadline = time.monotonic() + within
    index = os.open(file.with_name(file.name + "-shm"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        while time.monotonic() < deadline and _holder(index) != pid:
            time.sleep(_PAUSE)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            while _holder(index) == pid:
                os.kill(pid, signal.SIGCONT)
                time.sleep(_PAUSE)
                os.kill(pid, signal.SIGSTOP)
    finally:
        os.close(index)


def empty(file: Path) -> None:
    """Move the write-ahead log into the file and cut it to nothing, if nobody is in the way."""
    with closing(sqlite3.connect(file, timeout=1.0, isolation_level=None)) as connection, suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _holder(index: int) -> int | None:
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITE_LOCK_BYTE, 1, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(index, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else pid


def main(arguments: list[str]) -> None:
    """One of the four, by name."""
    match arguments:
        case ["hold", file, seconds]:
            hold(Path(file), float(seconds))
        case ["catch", file, seconds]:
            print(catch(Path(file), float(seconds)) or "nobody", flush=True)
        case ["stop", file, seconds, pid]:
            stop_after_commit(Path(file), float(seconds), int(pid))
        case ["empty", file]:
            empty(Path(file))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
