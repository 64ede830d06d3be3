"""What everything stands on is gone: the store's disk is full, or the supervisor of the whole fleet is killed."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from persistence import migrate
from tests.support.fleet import Fleet, running_fleet
from tests.support.lecture import lecture, nothing_is_said
from tests.support.newcomer import IN_WITHIN, new_rooms_open, refusal_of

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240)]

# A disk in memory that the fleet alone sees: its mount namespace ends with it. The store is copied there first.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=24m none "$0" && cp "$1"/* "$0" && shift && exec "$@"
"""
PRIVATELY = ("unshare", "--mount", "--propagation", "private")


def may_mount() -> bool:
    """Whether this process may have a disk of its own."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*PRIVATELY, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


@asynccontextmanager
async def fleet_in_thread(**options: object) -> AsyncIterator[Fleet]:
    """A running fleet, without holding up the loop while it starts and ends."""
    context = running_fleet(**options)  # type: ignore[arg-type]
    fleet = await asyncio.to_thread(context.__enter__)
    try:
        yield fleet
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


@pytest.mark.skipif(not may_mount(), reason="a disk of its own takes root")
async def test_while_the_store_s_disk_is_full_nothing_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    disk, empty = tmp_path / "disk", tmp_path / "empty"
    disk.mkdir()
    empty.mkdir()
    await migrate.upgrade(f"sqlite+aiosqlite:///{empty / 'store.sqlite3'}")
    options = {
        "data": tmp_path / "fleet",
        "env": {"HALL_STORE_URL": f"sqlite+aiosqlite:///{disk / 'store.sqlite3'}"},
        "inside": (*PRIVATELY, "sh", "-c", ON_A_SMALL_DISK, str(disk), str(empty)),
    }
    async with fleet_in_thread(nodes=2, **options) as fleet, lecture(fleet, "full") as at:
        seen_from_here = Path(f"/proc/{fleet.process.pid}/root{disk}")
        joins = {member: (member.times_started, member.times_resumed) for member in at.speakers}
        at.excuse(set(at.rooms))
        ballast = seen_from_here / "ballast"
        # what the log has already it would write over, and need no room
        command = (sys.executable, "-m", "loadtest.sqlite_grip", "empty", str(seen_from_here / "store.sqlite3"))
        assert await (await asyncio.create_subprocess_exec(*command)).wait() == 0
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        try:
            await nothing_is_said(at, "full")
        finally:
            ballast.unlink()
        await at.said(30)
        assert {member: (member.times_started, member.times_resumed) for member in at.speakers} == joins
        await new_rooms_open(fleet.director_url, "full")


async def test_a_fleet_whose_supervisor_is_killed_goes_on_where_it_was_when_it_is_started_again(tmp_path: Path) -> None:
    """Everything ends with it. Nobody is served meanwhile, and nothing that was acknowledged is lost."""
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(fleet_in_thread(nodes=2, data=tmp_path))
        async with lecture(fleet, "ended") as at:
            at.excuse(set(at.rooms))
            logs = {speaker.room: speaker.position and speaker.position.log for speaker in at.speakers}
            os.kill(fleet.process.pid, signal.SIGKILL)
            fleet.process.wait()
            assert await refusal_of(fleet.director_url, "ended-new") == "no director answers"
            await stack.enter_async_context(fleet_in_thread(nodes=2, data=tmp_path, port=fleet.port))
            await asyncio.gather(*(member.live(IN_WITHIN) for member in (*at.speakers, *at.listeners)))
            await at.said(30)
            assert {speaker.room: speaker.position and speaker.position.log for speaker in at.speakers} == logs
            assert {speaker.times_started for speaker in at.speakers} == {1}, "they went on where they were"
            await new_rooms_open(fleet.director_url, "ended")
