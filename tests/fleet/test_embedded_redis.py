"""EmbeddedRedis: the server that answers is ours, keeps what it knows, and ends with whoever started it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from director import embedded_redis
from director.embedded_redis import EmbeddedRedis, EmbeddedRedisFailed, NoServerBinary, running_redis, server_binary
from director.held_port import HeldPort, PortInUse
from tests.support.fleet import is_alive, wait_until_gone

pytestmark = pytest.mark.fleet


def connect(server: EmbeddedRedis) -> "redis.Redis":
    return redis.Redis.from_url(server.url, retry=None, socket_timeout=5)


async def test_it_answers_on_loopback_as_the_process_that_was_started(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        with connect(server) as client:
            pid = client.info("server")["process_id"]
        assert await server.answers_as(pid)
        assert not await server.answers_as(pid + 1)
    assert not is_alive(pid)
    assert not await server.answers_as(pid)


def test_what_it_answered_survives_kill_9(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server, connect(server) as client:
        client.set("epoch", 41)
        client.incr("epoch")
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
    with running_redis(tmp_path) as server, connect(server) as client:
        assert client.get("epoch") == b"42"


def test_a_held_port_is_nobody_elses_while_its_server_is_away(tmp_path: Path) -> None:
    with HeldPort() as held:
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", held.port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", held.port))
        server = socket.create_server(("127.0.0.1", held.port))  # sets SO_REUSEADDR, as servers do
        with server, pytest.raises(PortInUse, match=str(held.port)):
            HeldPort(held.port)


def test_a_server_that_cannot_come_up_is_told_with_its_words(tmp_path: Path) -> None:
    broken = tmp_path / "server"
    broken.write_text("#!/bin/sh\necho no such option\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(EmbeddedRedisFailed, match="no such option"), running_redis(tmp_path, binary=broken):
        pass


def test_a_server_that_answers_in_place_of_ours_is_not_taken_for_it(tmp_path: Path) -> None:
    impostor = tmp_path / "server"
    impostor.write_text(f'#!/bin/sh\n{server_binary()} "$@" &\nwait\n')
    impostor.chmod(0o755)
    with (
        pytest.raises(EmbeddedRedisFailed, match="did not answer as ours"),
        running_redis(tmp_path, binary=impostor, tries=1, start_within=1.0),
    ):
        pass


def test_without_any_server_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded_redis, "_packaged_binary", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServerBinary, match=r"install.*HALL_REDIS_URL"):
        server_binary()
    (tmp_path / "redis-server").symlink_to("/bin/true")
    assert server_binary() == tmp_path / "redis-server"


def test_run_as_a_module_it_becomes_the_server_and_dies_with_its_parent(tmp_path: Path) -> None:
    with HeldPort() as held:
        port = held.port
    command = [sys.executable, "-m", "director.embedded_redis", "--port", str(port), "--folder", str(tmp_path)]
    tell = "print(child.pid, flush=True); child.wait()"  # and wait, so that the parent can be killed
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import subprocess; child = subprocess.Popen({command}); {tell}",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    try:
        client = redis.Redis(port=port, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 400))
        assert client.info("server")["process_id"] == pid
    finally:
        parent.kill()
        parent.communicate()
    assert wait_until_gone(pid)


def test_run_as_a_module_on_a_port_in_use_it_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = subprocess.run(
            [sys.executable, "-m", "director.embedded_redis", "--port", str(port), "--folder", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert process.returncode == 1
    assert f"port {port}" in process.stderr
