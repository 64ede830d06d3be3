"""Supervisor: real processes, small stand-ins for the fleet's own."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from director.core.backoff import Backoff
from director.supervisor import Child, Died, Event, Ready, Started, Stopped, Supervisor
from tests.support.fleet import is_alive, wait_until_gone

pytestmark = pytest.mark.fleet

WAITING = "import os, signal; print('here', os.getpid(), flush=True); signal.pause()"
STUBBORN = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", os.getpid(), flush=True)
while True: signal.pause()
"""
T = TypeVar("T", Started, Ready, Died, Stopped)
QUICK = Backoff(first=0.01, longest=0.05, forgive_after=10.0)


class Watched:
    """A supervisor with all that it told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lines: list[tuple[str, str]] = []
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self._told()

    def on_line(self, child: Child, line: str) -> None:
        self.lines.append((child.name, line))
        self._told()

    def _told(self) -> None:
        task = asyncio.create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def until(self, holds: Callable[[], bool], within: float = 20.0) -> None:
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(holds)

    def of(self, kind: type[T], name: str) -> list[T]:
        return [event for event in self.events if isinstance(event, kind) and event.child.name == name]

    def pid_of(self, name: str) -> int:
        return self.of(Started, name)[-1].pid

    async def until_ready(self, *names: str, times: int = 1) -> None:
        await self.until(lambda: all(len(self.of(Ready, name)) >= times for name in names))

    def has_said(self, name: str, words: str) -> bool:
        return (name, words) in self.lines


@asynccontextmanager
async def supervising(logs: Path, *, grace: float = 10.0) -> AsyncIterator[tuple[Supervisor, Watched]]:
    seen = Watched()
    async with asyncio.TaskGroup() as tasks:
        supervisor = Supervisor(
            logs, tasks=tasks, on_event=seen.on_event, on_line=seen.on_line, backoff=QUICK, grace=grace
        )
        yield supervisor, seen
        await supervisor.stop()


def child_of(seen: Watched, name: str, code: str = WAITING, *, tier: int = 1) -> Child:
    """A child that is ready as soon as its process has said so."""

    async def ready(pid: int) -> bool:
        return seen.has_said(name, f"here {pid}")

    return Child(name, (sys.executable, "-S", "-c", code), ready, tier=tier)


async def test_a_child_that_dies_is_started_again_and_the_others_keep_their_processes(tmp_path: Path) -> None:
    async with supervising(tmp_path) as (supervisor, seen):
        supervisor.start(child_of(seen, "one"))
        supervisor.start(child_of(seen, "two"))
        await seen.until_ready("one", "two")
        former, other = seen.pid_of("one"), seen.pid_of("two")
        os.kill(former, signal.SIGKILL)
        await seen.until_ready("one", times=2)
        assert seen.pid_of("one") != former
        (death,) = seen.of(Died, "one")
        assert (death.status, death.was_ready, death.pid) == (-signal.SIGKILL, True, former)
        assert is_alive(other)
        assert not seen.of(Died, "two")


async def test_a_child_that_dies_again_and_again_waits_longer_each_time(tmp_path: Path) -> None:
    async with supervising(tmp_path) as (supervisor, seen):
        supervisor.start(child_of(seen, "one", "raise SystemExit('no such setting')"))
        await seen.until(lambda: len(seen.of(Died, "one")) == 5)
    deaths = seen.of(Died, "one")
    assert [death.restart_after for death in deaths[:5]] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert all(death.status == 1 and not death.was_ready for death in deaths)
    assert deaths[0].last_words == ("no such setting",)


async def test_a_child_that_was_killed_leaves_others_the_time_to_take_over_and_one_that_ended_does_not(
    tmp_path: Path,
) -> None:
    async with supervising(tmp_path) as (supervisor, seen):
        supervisor.start(replace(child_of(seen, "killed"), pause=0.5))
        supervisor.start(replace(child_of(seen, "ended", "import sys; sys.stdin.read()"), pause=0.5))
        await seen.until_ready("killed")
        os.kill(seen.pid_of("killed"), signal.SIGKILL)
        await seen.until(lambda: bool(seen.of(Died, "killed") and seen.of(Died, "ended")))
        assert seen.of(Died, "killed")[0].restart_after == 0.5
        assert seen.of(Died, "ended")[0].restart_after == QUICK.first
        await seen.until_ready("killed", times=2)


async def test_stop_ends_the_children_in_order(tmp_path: Path) -> None:
    async with supervising(tmp_path) as (supervisor, seen):
        supervisor.start(child_of(seen, "store", tier=0))
        supervisor.start(child_of(seen, "user", tier=1))
        await seen.until_ready("store", "user")
        await supervisor.stop()
    stops = [event for event in seen.events if isinstance(event, Stopped)]
    assert [(event.child.name, event.killed) for event in stops] == [("user", False), ("store", False)]
    assert not any(is_alive(seen.pid_of(name)) for name in ("store", "user"))


async def test_a_child_that_does_more_on_sigterm_than_to_end_is_stopped_by_its_own_signal(tmp_path: Path) -> None:
    async with supervising(tmp_path, grace=3600.0) as (supervisor, seen):
        supervisor.start(replace(child_of(seen, "one", STUBBORN), end_signal=signal.SIGINT))
        await seen.until_ready("one")
        await supervisor.stop()
        assert [event.killed for event in seen.of(Stopped, "one")] == [False]


async def test_what_a_child_has_started_ends_with_it(tmp_path: Path) -> None:
    code = f"""
import subprocess, sys
grandchild = subprocess.Popen([sys.executable, "-S", "-c", {STUBBORN!r}], stdout=subprocess.PIPE)
grandchild.stdout.readline()  # it ignores SIGTERM from now on
print("grandchild", grandchild.pid, flush=True)
{WAITING}
"""
    async with supervising(tmp_path) as (supervisor, seen):
        supervisor.start(child_of(seen, "one", code))
        await seen.until_ready("one")
        grandchild = next(int(line.split()[1]) for _, line in seen.lines if line.startswith("grandchild"))
        assert is_alive(grandchild)
        os.kill(seen.pid_of("one"), signal.SIGKILL)
        await seen.until_ready("one", times=2)
        assert wait_until_gone(grandchild)


async def test_a_child_that_does_not_obey_is_killed_after_the_grace(tmp_path: Path) -> None:
    async with supervising(tmp_path, grace=0.2) as (supervisor, seen):
        supervisor.start(child_of(seen, "one", STUBBORN))
        await seen.until_ready("one")
        await supervisor.stop()
        assert seen.of(Stopped, "one") == [Stopped(seen.of(Ready, "one")[0].child, seen.pid_of("one"), killed=True)]
        assert not is_alive(seen.pid_of("one"))


async def test_hurry_cuts_the_grace_short(tmp_path: Path) -> None:
    async with supervising(tmp_path, grace=3600.0) as (supervisor, seen):
        supervisor.start(child_of(seen, "one", STUBBORN))
        await seen.until_ready("one")
        stop = asyncio.create_task(supervisor.stop())
        supervisor.hurry()
        async with asyncio.timeout(20):
            await stop
        assert seen.of(Stopped, "one")[0].killed


async def test_a_frozen_child_is_ended_too(tmp_path: Path) -> None:
    async with supervising(tmp_path) as (supervisor, seen):
        supervisor.start(child_of(seen, "one"))
        await seen.until_ready("one")
        os.kill(seen.pid_of("one"), signal.SIGSTOP)
        await supervisor.stop()
        assert not seen.of(Stopped, "one")[0].killed


async def test_a_stop_while_a_child_waits_for_its_restart_starts_nothing(tmp_path: Path) -> None:
    async with supervising(tmp_path) as (supervisor, seen):
        supervisor.start(child_of(seen, "one", "raise SystemExit(3)"))
        await seen.until(lambda: bool(seen.of(Died, "one")))
        await supervisor.stop()
        starts = len(seen.of(Started, "one"))
    assert len(seen.of(Started, "one")) == starts
    assert not is_alive(seen.pid_of("one"))


async def test_what_a_child_writes_is_told_line_by_line_and_logged_whole(tmp_path: Path) -> None:
    long = 200_000
    code = f"import sys; print('first'); print('x' * {long}); sys.stderr.write('no line end'); sys.exit(0)"
    (tmp_path / "one.log").write_text("of the former run")
    async with supervising(tmp_path) as (supervisor, seen):
        supervisor.start(child_of(seen, "one", code))
        await seen.until(lambda: bool(seen.of(Died, "one")))
        await supervisor.stop()
    logged = (tmp_path / "one.log").read_text()
    assert logged.startswith("first\n" + "x" * long + "\nno line end")
    told = [line for _, line in seen.lines]
    assert told[0] == "first"
    assert max(len(line) for line in told) < long  # a line without an end may not grow without bound
    assert "no line end" in told
    assert (tmp_path / "one.log.1").read_text() == "of the former run"


SUPERVISING = """
import asyncio, sys
from pathlib import Path
from director.supervisor import Child, Ready, Supervisor

async def main():
    async with asyncio.TaskGroup() as tasks:
        said = lambda child, line: print(line, flush=True)
        supervisor = Supervisor(Path(sys.argv[1]), tasks=tasks, on_event=lambda event: None, on_line=said)
        async def never(pid): return False
        supervisor.start(Child("one", (sys.executable, "-S", "-c", sys.argv[2]), never))

asyncio.run(main())
"""


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISING, str(tmp_path), STUBBORN], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline().split()[1])
    assert is_alive(child)
    supervisor.kill()
    supervisor.communicate()
    assert wait_until_gone(child)
