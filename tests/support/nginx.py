"""Nginx: a real nginx with deploy/nginx.conf, on a free port of the loopback; it ends with the test that started it."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from director.held_port import HeldPort

CONF = Path(__file__).parents[2] / "deploy" / "nginx.conf"
NODE_LINES = 3
"""For so many nodes the file has a line."""

FOR_THIS_MACHINE = {"# allow 10.0.0.0/8;": "allow 127.0.0.1;"}
"""The change that lets operators in."""

_START_WITHIN = 10.0
_PR_SET_PDEATHSIG = 1

# What an installed nginx.conf says around the file, and where a test may write.
_MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 2048; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/hall.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running proxy."""

    url: str
    folder: Path

    def output(self) -> str:
        """What it has complained of, and the last requests."""
        logs = [self.folder / name for name in ("start.log", "error.log", "hall.access.log")]
        return "\n".join("\n".join(log.read_text(errors="replace").splitlines()[-20:]) for log in logs if log.exists())


def nginx_binary() -> str:
    """Its path; a test that needs it is skipped where it is missing."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    return path


def hall_conf(
    port: int, *, director: int, nodes: Sequence[int], logs: Path, changes: Mapping[str, str] | None = None
) -> str:
    """The deployed file for ports of this machine, as its first lines tell an operator to change it. `changes` are
    replacements besides: what a comment in the file says can be changed."""
    assert len(nodes) <= NODE_LINES
    replaced = {
        "listen 127.0.0.1:8080 ": f"listen 127.0.0.1:{port} ",
        "chat.example.org": "127.0.0.1",
        "127.0.0.1:8000": f"127.0.0.1:{director}",
        "/var/log/nginx": str(logs),
        # port 1 is nobody's: the lines of nodes that are not there
        **{
            f"127.0.0.1:{9001 + number}": f"127.0.0.1:{nodes[number] if number < len(nodes) else 1}"
            for number in range(NODE_LINES)
        },
        **(changes or {}),
    }
    text = CONF.read_text()
    for old, new in replaced.items():
        assert old in text, f"deploy/nginx.conf has no {old!r} any more"
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(
    held: HeldPort, folder: Path, *, director: int, nodes: Sequence[int], changes: Mapping[str, str] | None = None
) -> Iterator[Nginx]:
    """A proxy on the held port that accepts connections, before these ports; ended on leaving."""
    binary = nginx_binary()
    folder.mkdir(parents=True, exist_ok=True)
    conf = hall_conf(held.port, director=director, nodes=nodes, logs=folder, changes=changes)
    (folder / "hall.conf").write_text(conf)
    (folder / "main.conf").write_text(_MAIN.format(folder=folder))
    libc = ctypes.CDLL(None)
    with (folder / "start.log").open("wb") as log:
        process = subprocess.Popen(
            [binary, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "main.conf")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            env={"PATH": os.environ.get("PATH", "")},
        )
    running = Nginx(f"http://127.0.0.1:{held.port}", folder)
    try:
        _wait_until_it_listens(process, held.port, running)
        yield running
    finally:
        process.kill()
        process.wait()


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, running: Nginx) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
        ended = process.poll()
        assert ended is None, f"nginx ended with {ended}\n{running.output()}"
        assert time.monotonic() < deadline, f"nginx does not listen\n{running.output()}"
