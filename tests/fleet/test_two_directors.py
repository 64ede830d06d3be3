"""Directors that are killed, frozen or outdated: live rooms do not notice, and another goes on."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.support.fleet import Fleet, running_fleet
from tests.support.lecture import lecture, owners
from tests.support.valkey_server import free_port

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(180)]

READY_WITHIN = 30.0
MOVED_WITHIN = 30.0


def _director(fleet: Fleet, port: int) -> "subprocess.Popen[bytes]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HALL_")}
    own = {
        "HALL_DEMO": "1",
        "HALL_DATA": str(fleet.data),
        "HALL_REDIS_URL": fleet.redis_url,
        "HALL_DIRECTOR_PORT": str(port),
        "HALL_DIRECTOR_URL": fleet.director_url,
    }
    with (fleet.data / "logs" / "another.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "director.app"], env=clean | own, stderr=log)


@asynccontextmanager
async def another_director(fleet: Fleet) -> AsyncIterator[Fleet]:
    """A second director of the fleet; what it answers with is the fleet as its clients see it."""
    port = free_port()
    process = _director(fleet, port)
    try:
        seen = replace(fleet, port=port)
        async with httpx.AsyncClient(base_url=seen.director_url, trust_env=False) as http:
            async with asyncio.timeout(READY_WITHIN):
                while not await _is_ready(http):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)  # nobody tells
        yield seen
    finally:
        process.kill()
        process.wait()


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == httpx.codes.OK
    except httpx.ConnectError:
        return False


def _hall(fleet: Fleet, *words: str) -> str:
    where = ["--director", fleet.director_url, "--data", str(fleet.data)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HALL_")}
    command = [sys.executable, "-m", "director.cli.main", *words, *where]
    return subprocess.run(command, env=clean, capture_output=True, text=True, timeout=60, check=True).stdout


async def test_a_director_that_is_killed_comes_back_with_the_whole_map(tmp_path: Path) -> None:
    with running_fleet(nodes=2, data=tmp_path) as fleet:
        async with lecture(fleet, "course") as at:
            before = [await at.about(room) for room in at.rooms]
            assert (
                await asyncio.to_thread(_hall, fleet, "failover", "resume")
                == "0 nodes wait for a verdict; nothing is held back for 60 s\n"
            )
            former = fleet.kill("director")
            coming_back = asyncio.create_task(at.drop_and_come_back())
            await at.said(30)
            await asyncio.to_thread(fleet.wait_until_restarted, "director", former=former)
            await coming_back
            assert owners([await at.about(room) for room in at.rooms]) == owners(before)
            await at.drop_and_come_back()
            assert owners([await at.about(room) for room in at.rooms]) == owners(before)


async def test_with_one_director_frozen_the_other_moves_a_frozen_node_s_rooms_and_nobody_owns_twice(
    tmp_path: Path,
) -> None:
    """Nothing proves that node dead: its lease has to lapse. The frozen director was steward; its map is old."""
    with running_fleet(nodes=3, data=tmp_path) as fleet:
        async with another_director(fleet) as other, lecture(other, "course") as at:
            before = {room: await at.about(room) for room in at.rooms}
            victim = before[at.rooms[0]]["owner"]
            stricken = {room for room in at.rooms if before[room]["owner"] == victim}
            at.excuse(stricken)
            fleet.kill("director", signal.SIGSTOP)
            fleet.kill(victim, signal.SIGSTOP)
            try:
                members = [member for member in (*at.speakers, *at.listeners) if member.room in stricken]
                await asyncio.gather(*(member.drop() for member in members))
                await asyncio.gather(*(member.live(MOVED_WITHIN) for member in members))
                after = {room: await at.about(room) for room in at.rooms}
                for room in at.rooms:
                    if room in stricken:
                        assert after[room]["owner"] != victim
                        assert after[room]["epoch"] > before[room]["epoch"]
                    else:
                        assert owners([after[room]]) == owners([before[room]])
            finally:
                fleet.kill(victim, signal.SIGCONT)
                fleet.kill("director", signal.SIGCONT)
            async with httpx.AsyncClient(base_url=fleet.director_url, trust_env=False) as woken:
                for room in at.rooms:
                    asked = {"room": room, "user": "late", "name": "Late", "role": "student"}
                    answer = (await woken.get("/route", params=asked, timeout=10)).json()
                    assert answer.get("epoch", 0) in (0, before[room]["epoch"], after[room]["epoch"]), "stale at worst"
            await at.drop_and_come_back()
            assert owners([await at.about(room) for room in at.rooms]) == owners(list(after.values()))
