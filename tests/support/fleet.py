"""Fleet: a real `hall up` for tests, on ports of its own, that ends with the test.

Use it so:

    with running_fleet(nodes=2, data=tmp_path) as fleet:
        fleet.director_url, fleet.node_urls, fleet.pid_of("node-1"), fleet.kill("node-1")
"""

import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

_FIRST_NODE = 1001
_EPHEMERAL = 32_768


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running fleet. All waits raise AssertionError with the fleet's own words when the time is up."""

    process: "subprocess.Popen[bytes]"
    data: Path
    port: int

    @property
    def director_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def node_urls(self) -> dict[str, str]:
        return {name: facts["address"] for name, facts in self.facts().items() if name.startswith("node-")}

    @property
    def redis_url(self) -> str:
        return str(self._state()["redis_url"])

    @property
    def store_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.data / 'store.sqlite3'}"

    def facts(self) -> dict[str, dict[str, Any]]:
        """What the supervisor says of each process by name: pid, state, address, starts."""
        return {facts["name"]: facts for facts in self._state()["processes"]}

    def pid_of(self, name: str) -> int:
        return int(self.facts()[name]["pid"])

    def pids(self) -> dict[str, int]:
        return {name: facts["pid"] for name, facts in self.facts().items()}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal a process of the fleet (kill -9 unless told otherwise); its process id."""
        pid = self.pid_of(name)
        os.kill(pid, number)
        return pid

    def wait_until(self, holds: Callable[[], bool], what: str, *, within: float = 30.0) -> None:
        """Wait for something to hold; fails with the fleet's output when it does not."""
        deadline = monotonic() + within
        while not holds():
            assert monotonic() < deadline, f"{what}: not within {within:.0f} s\n{self.output()}"
            self.look_again()

    def look_again(self) -> None:
        """Between two looks at a fleet: at once when it ends, else after a moment (no event tells of its children)."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=0.05)

    def wait_until_restarted(self, name: str, *, former: int, within: float = 30.0) -> int:
        """Wait until the process is ready again under another id than `former`; its new process id."""

        def is_back() -> bool:
            facts = self.facts()[name]
            return facts["pid"] != former and facts["state"] == "ready"

        self.wait_until(is_back, f"{name} is restarted", within=within)
        return self.pid_of(name)

    def output(self) -> str:
        """All that the fleet has written so far."""
        logs = sorted((self.data / "logs").glob("*.log"))
        ends = [f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:]) for log in logs]
        return "\n".join([(self.data / "up.out").read_text(errors="replace"), *ends])

    def interrupt(self, *, within: float = 15.0) -> int:
        """What Ctrl-C does; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=within)

    def _state(self) -> Any:
        return msgspec.json.decode((self.data / "fleet.json").read_bytes())


@contextmanager
def running_fleet(
    *,
    nodes: int = 2,
    data: Path,
    port: int | None = None,
    env: Mapping[str, str] | None = None,
    inside: Sequence[str] = (),
    within: float = 60.0,
) -> Iterator[Fleet]:
    """A fleet whose processes were all ready; ended when the block ends, and killed if it does not end by itself. It is
    on free ports unless `port` says which; `inside` is a command that becomes the command behind it."""
    for last in (False, False, True):
        fleet = launch(nodes=nodes, data=data, port=port or free_port_base(nodes), env=env, inside=inside)
        try:
            if not _wait_until_up(fleet, within=within, may_retry=not last):
                continue  # somebody took a port between our look and the fleet's start
            yield fleet
            return
        finally:
            end(fleet)


def launch(
    *, nodes: int, data: Path, port: int, env: Mapping[str, str] | None = None, inside: Sequence[str] = ()
) -> Fleet:
    """Start `hall up` and return at once; its output goes to {data}/up.out. Call `end` afterwards."""
    data.mkdir(parents=True, exist_ok=True)
    # settings of whoever runs the tests must not leak into the fleet
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HALL_")}
    with (data / "up.out").open("ab") as output:
        process = subprocess.Popen(
            [*inside, sys.executable, "-m", "director.cli.main", "up"]  # noqa: RUF005
            + ["--nodes", str(nodes), "--port", str(port), "--data", str(data)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**clean, **(env or {})},
            start_new_session=True,
        )
    return Fleet(process, data, port)


def end(fleet: Fleet) -> None:
    """End the fleet for sure; its children are tied to it."""
    process = fleet.process
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
    if process.poll() is None:
        process.kill()
        process.wait()


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs (a zombie that waits for its parent does not)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def wait_until_gone(pid: int, *, within: float = 10.0) -> bool:
    """Wait until no process with this id runs; whether that came in time."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], within)[0])
    finally:
        os.close(process)


def free_port_base(nodes: int) -> int:
    """A port P such that P and P + 1001 .. P + 1000 + nodes are free now, below those that the system hands out."""
    for _ in range(200):
        base = random.randrange(10_000, _EPHEMERAL - 2_000)
        with ExitStack() as held:
            try:
                for port in (base, *(base + _FIRST_NODE + number for number in range(nodes))):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise AssertionError("no free ports for a fleet")


def _wait_until_up(fleet: Fleet, *, within: float, may_retry: bool) -> bool:
    deadline = monotonic() + within
    while True:
        with suppress(FileNotFoundError):
            state = fleet._state()
            # a killed fleet leaves its file behind
            if state["pid"] == fleet.process.pid and state["up"]:
                return True
        if fleet.process.poll() is not None:
            if may_retry and "in use" in fleet.output():
                return False
            raise AssertionError(f"hall up ended with {fleet.process.returncode}\n{fleet.output()}")
        assert monotonic() < deadline, f"hall up was not ready within {within:.0f} s\n{fleet.output()}"
        fleet.look_again()
