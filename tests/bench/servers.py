"""Servers under measurement: lecturehall with one node or more, and the peers; each started for one run."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic

from shard_node.settings import NodeSettings
from tests.bench.crowd import WORKSHOP, built
from tests.bench.processes import apart, pin_server
from tests.support.fleet import Fleet, running_fleet

_PEERS = Path(__file__).parent / "peers"
HALL, STOCK, BARE = "lecturehall", "lecturehall, stock way", "bare loop"
NODE, PYTHON, STARLETTE = "Socket.IO for Node", "python-socketio", "plain Starlette"
_COMMANDS = {
    NODE: ["node", "node_socketio.mjs"],
    PYTHON: [sys.executable, "python_socketio.py"],
    STARLETTE: [sys.executable, "starlette_route.py"],
}


class NotInstalled(Exception):
    """The peer is not there; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: what the crowd needs to reach it, and the process whose work is measured."""

    pid: int
    dialect: str
    port: int


def is_there(name: str) -> str | None:
    """Why a server cannot be measured here; None if it can."""
    match name:
        case _ if name == STOCK and "fanout" not in NodeSettings.model_fields:
            return "this release has no HALL_FANOUT=stock"
        case _ if name == NODE and shutil.which("node") is None:
            return "no Node"
        case _ if name == NODE and not (_PEERS / "node_modules" / "socket.io").exists():
            return "not installed: make bench-peers"
        case _:
            return None


@contextmanager
def serving(name: str) -> Iterator[Server]:
    """One of the servers, alone on its processor. Raises NoCompiler or NotInstalled."""
    if (why_not := is_there(name)) is not None:
        raise NotInstalled(f"{name}: {why_not}")
    if name in (HALL, STOCK):
        with hall(env={"HALL_FANOUT": "stock"} if name == STOCK else {}) as fleet:
            yield Server(fleet.pid_of("node-1"), "hall", fleet.port)
    elif name == BARE:
        with _peer([str(built(_PEERS / "bare_loop.c"))], "bare") as server:
            yield server
    else:
        program, source = _COMMANDS[name]
        with _peer([program, str(_PEERS / source)], "socketio") as server:
            yield server


@contextmanager
def hall(*, nodes: int = 1, env: Mapping[str, str] | None = None, pinned: bool = True) -> Iterator[Fleet]:
    """A fleet over data of its own on the checkout's disk. If `pinned`, node-1 has its processor for itself, else all
    processes share all processors."""
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    data = Path(mkdtemp(prefix="fleet-", dir=WORKSHOP))
    try:
        with apart() if pinned else nullcontext(), running_fleet(nodes=nodes, data=data, env=env) as fleet:
            if pinned:
                pin_server(fleet.pid_of("node-1"))
            yield fleet
    except Exception as error:
        kept = WORKSHOP / "logs-of-the-last-failure"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(data / "logs", kept, dirs_exist_ok=True)
        shutil.copy(data / "up.out", kept)
        error.add_note(f"the fleet's logs are in {kept}")
        raise
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _peer(command: list[str], dialect: str) -> Iterator[Server]:
    port = free_port()
    with apart():
        process = subprocess.Popen(
            [*command, str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if not name.startswith("HALL_")},
        )
        try:
            _wait_for(process, port)
            pin_server(process.pid)
            yield Server(process.pid, dialect, port)
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of loopback that was free just now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def _wait_for(process: "subprocess.Popen[bytes]", port: int, *, within: float = 30.0) -> None:
    deadline = monotonic() + within
    while monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            try:
                raise NotInstalled(f"{process.args!r} ended with {process.wait(timeout=0.05)}")
            except subprocess.TimeoutExpired:
                continue
        else:
            return
    raise NotInstalled(f"{process.args!r} does not listen")
