"""Terminal: a command run as a person at a terminal runs it, for tests of what they see and type."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic

# The terminal becomes that of the new session, so that Ctrl-C is a signal; preexec_fn is unsafe beside threads.
_IN_ITS_OWN = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A terminal with one command in it. Waits fail with all that was seen."""

    def __init__(self, master: int, process: "subprocess.Popen[bytes]") -> None:
        self._master = master
        self._process = process
        self.seen = ""

    def type(self, keys: str) -> None:
        """`\\x03` is Ctrl-C."""
        os.write(self._master, keys.encode())

    def wait_for(self, text: str, *, within: float = 30.0) -> None:
        """Wait until the text was shown after what was waited for before."""
        deadline = monotonic() + within
        while text not in self.seen:
            assert monotonic() < deadline, f"no {text!r} in:\n{self.seen}"
            assert self._read(), f"it ended without {text!r}:\n{self.seen}"
        self.seen = self.seen.partition(text)[2]

    def ended(self, *, within: float = 30.0) -> int:
        """Wait for the end; the exit code."""
        deadline = monotonic() + within
        while self._read():
            assert monotonic() < deadline, f"it did not end:\n{self.seen}"
        return self._process.wait(timeout=within)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 1)[0]:
            return True
        with suppress(OSError):  # Linux tells so that nobody holds the other end any more
            if piece := os.read(self._master, 65_536):
                self.seen += piece.decode(errors="replace")
                return True
        return False


@contextmanager
def in_terminal(command: Sequence[str], *, env: Mapping[str, str], columns: int = 80) -> Iterator[Terminal]:
    """Run the command in a terminal of so many columns; it is killed if the block ends before it."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))

    clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_ITS_OWN, *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**clean, "TERM": "xterm-256color", **env},
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)
