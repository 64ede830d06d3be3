"""The write lock of a SQLite file: how a connection waits for it, and the word that its holder leaves.

1. `BEGIN IMMEDIATE` is tried again at ever shorter pauses (core.patience). SQLite's own wait sleeps longer the longer
   it has waited, up to 100 ms, which starves whoever has waited longest.
2. Whoever has the lock writes `pid number` into {file}.holder, `number` growing with each transaction of the process.
   Nothing is cleared at the end: *whether* anybody holds the lock the kernel knows, also when a holder was killed.
   The note tells a process that holds the lock all the time from one that takes it again and again.
"""

import itertools
import os
import sqlite3
import time
from typing import Any

from persistence.core.patience import pauses

BEGIN = "BEGIN IMMEDIATE"
NOTE_SUFFIX = ".holder"

_NOTE = "pid {:>10} transaction {:>16}\n"
_transactions = itertools.count(1)


class WriterConnection(sqlite3.Connection):
    """A connection that waits up to `lock_timeout` seconds for the write lock, as said above, at each BEGIN."""

    def __init__(self, database: str, *args: Any, **options: Any) -> None:
        super().__init__(database, *args, **options)
        self.lock_timeout: float = options.get("timeout", 0.0)
        try:
            note = os.open(database + NOTE_SUFFIX, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self.close()
            raise sqlite3.OperationalError(f"cannot write {database + NOTE_SUFFIX}: {error}") from error
        # a file object closes itself when the connection is dropped without a close
        self._note = os.fdopen(note, "wb", buffering=0)

    def cursor(self, *_: Any) -> "_WriterCursor":  # type: ignore[override]
        return super().cursor(_WriterCursor)

    def leave_note(self) -> None:
        """Say that this process holds the lock, by a new transaction."""
        os.pwrite(self._note.fileno(), _NOTE.format(os.getpid(), next(_transactions)).encode(), 0)


class _WriterCursor(sqlite3.Cursor):
    connection: WriterConnection

    def execute(self, sql: str, *args: Any) -> "_WriterCursor":
        if sql != BEGIN:
            return super().execute(sql, *args)
        self._begin()
        try:
            self.connection.leave_note()
        except OSError as error:
            # whoever has the connection rolls it back, as after any failure
            raise sqlite3.OperationalError(f"the holder's note could not be written: {error}") from error
        return self

    def _begin(self) -> None:
        """Runs in the driver's thread, which may sleep."""
        for pause in pauses(self.connection.lock_timeout):
            try:
                super().execute(BEGIN)
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
            else:
                return
            time.sleep(pause)
        super().execute(BEGIN)


def is_busy(error: BaseException | None) -> bool:
    """Whether an error says that somebody else has the lock."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY
