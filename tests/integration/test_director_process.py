"""`python -m director.app`: starting without Redis, becoming ready, stopping in time, refusing to start."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.halls import hall_on, lease_of
from tests.support.valkey_server import free_port, valkey

STOP_WITHIN = 4.0  # 2 s are promised; the rest is for a machine that runs other tests at the same time
START_WITHIN = 30.0


def environment(**settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HALL_")}
    return inherited | {f"HALL_{name}": value for name, value in settings.items()}


def started(tmp_path: Path, **settings: str) -> subprocess.Popen[bytes]:
    with (tmp_path / "log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "director.app"], env=environment(**settings), stderr=log)


@asynccontextmanager
async def process(tmp_path: Path, redis_url: str) -> AsyncIterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    port = free_port()
    director = started(tmp_path, DEMO="1", DATA=str(tmp_path), REDIS_URL=redis_url, DIRECTOR_PORT=str(port))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            yield director, http
    finally:
        director.kill()
        director.wait()


async def answer(http: httpx.AsyncClient, path: str, is_enough: Callable[[httpx.Response], bool]) -> httpx.Response:
    async with asyncio.timeout(START_WITHIN):
        while True:
            try:
                response = await http.get(path)
            except httpx.ConnectError:
                continue
            if is_enough(response):
                return response


async def test_it_starts_without_redis_and_is_ready_once_that_is_there(tmp_path: Path) -> None:
    with valkey() as server:
        server.kill()
        async with process(tmp_path, server.url) as (director, http):
            await answer(http, "/healthz", lambda response: response.status_code == 200)
            assert (await http.get("/readyz")).status_code == 503
            server.start()
            async with hall_on(server) as hall:
                await hall.leases.acquire(lease_of("node-1"), expire=60)
                await answer(http, "/readyz", lambda response: response.status_code == 200)
                assert (await http.get("/route?room=math-101")).json()["node"] == "node-1"

            began = time.monotonic()
            director.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(director.wait, 10) == 0
            assert time.monotonic() - began < STOP_WITHIN
    assert (tmp_path / "ticket.key").stat().st_mode & 0o777 == 0o600


async def test_it_stops_in_time_while_redis_is_frozen_and_a_request_hangs(tmp_path: Path) -> None:
    with valkey() as server:
        async with process(tmp_path, server.url) as (director, http), hall_on(server) as hall:
            await hall.leases.acquire(lease_of("node-1"), expire=60)
            await answer(http, "/readyz", lambda response: response.status_code == 200)
            server.pause()
            hanging = asyncio.create_task(http.get("/route?room=math-101"))
            await asyncio.wait([hanging], timeout=0.1)

            began = time.monotonic()
            director.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(director.wait, 10) == 0
            assert time.monotonic() - began < STOP_WITHIN
            await asyncio.gather(hanging, return_exceptions=True)
            server.resume()


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"DEMO": "1", "DIRECTOR_HOST": "0.0.0.0"}, "loopback"),
        ({}, "HALL_TICKET_KEY"),
        ({"TICKET_KEY": "t" * 32}, "HALL_PLATFORM_KEY"),
    ],
)
def test_it_says_what_to_do_instead_of_starting(settings: dict[str, str], advice: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "director.app"], env=environment(**settings), capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert advice in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
