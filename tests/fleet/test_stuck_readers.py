"""Members that stop reading beside others that do, on a real node: memory, what they are given, and the node's end."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from tests.support.crowd import Listener, gauge, join_crowd, rss_mb
from tests.support.fleet import running_fleet, wait_until_gone
from tests.support.raw_client import fresh_room, route

pytestmark = pytest.mark.fleet

HEALTHY, STUCK, TALKERS = 100, 20, 5
RATE = 10.0
TALK_FOR = 6.0
PATIENT = {"HALL_PING_TIMEOUT": "60"}
"""A member that reads nothing answers no pings either; here it is to be judged by what it reads alone."""
MAX_GROWTH_MB = 40.0
WITHIN = 30.0


async def talk(talker: Listener, until: asyncio.Event) -> int:
    """Say something long ten times a second; the last number it was given."""
    last = 0
    while not until.is_set():
        ack = await talker.send("x" * 1_900)
        assert ack["ok"], ack
        last = ack["seq"]
        await asyncio.sleep(1 / RATE)  # the pace of people
    return last


async def wait_for(holds: Callable[[], bool], what: str) -> None:
    deadline = monotonic() + WITHIN
    while not holds():
        assert monotonic() < deadline, what
        await asyncio.sleep(0.05)  # what arrives at a bare socket tells nobody


async def test_stuck_members_cost_little_hurt_nobody_and_get_the_rest_or_a_gap(tmp_path: Path) -> None:
    """Also: a node with such members ends when it is told to. A stock one would wait for them for minutes."""
    with running_fleet(nodes=1, data=tmp_path / "data", env=PATIENT) as fleet:
        place = await route(fleet, fresh_room())
        pid = fleet.pid_of("node-1")
        healthy = await join_crowd(fleet, place, [f"healthy-{number}" for number in range(HEALTHY)])
        stuck = await join_crowd(fleet, place, [f"stuck-{number}" for number in range(STUCK)], small=True)
        before = rss_mb(pid)
        for member in stuck:
            member.stop_reading()
        stop = asyncio.Event()
        talking = [asyncio.create_task(talk(talker, stop)) for talker in healthy[:TALKERS]]
        done, _ = await asyncio.wait(talking, timeout=TALK_FOR, return_when=asyncio.FIRST_EXCEPTION)
        assert not done
        grown = rss_mb(pid) - before
        at_once = await gauge(place, "hall_node_behind")
        for member in stuck:
            member.read_on()
        stop.set()
        head = max(await asyncio.gather(*talking))
        assert grown < MAX_GROWTH_MB, f"{grown:.1f} MB for {STUCK} members that do not read"
        everybody = healthy + stuck
        await wait_for(lambda: all(member.position >= head for member in everybody), "everybody is shown all")
        assert [member.faults for member in everybody if member.faults] == []
        assert not any(member.bye or member.is_closed for member in everybody)
        assert at_once >= STUCK / 2, "they were stuck indeed"
        assert all(member.gaps == 0 for member in healthy)
        for member in stuck:
            member.stop_reading()
        stop.clear()
        talking = [asyncio.create_task(talk(talker, stop)) for talker in healthy[:TALKERS]]
        await asyncio.sleep(1.0)
        stop.set()
        await asyncio.gather(*talking)
        fleet.kill("node-1", signal.SIGTERM)
        is_gone = await asyncio.to_thread(wait_until_gone, pid, within=20.0)
        assert is_gone, fleet.output()
