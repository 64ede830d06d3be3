"""FleetRun: one run of a fleet, from its first process to its last, as the person at the terminal sees it."""

import asyncio
import os
import signal
from collections.abc import Sequence

import httpx
import msgspec

from director.cli.data_folder import FleetFacts, ProcessFacts
from director.cli.fleet_plan import FleetPlan
from director.cli.screen import Screen
from director.lock_watch import ForeignHolder, KilledHolder, LockWatch
from director.supervisor import Child, Died, Event, Ready, Started, Stopped, Supervisor
from persistence.engines import sqlite_file_of

_REDRAW = 0.2
_GRACE = 7.0  # a node settles, says bye and closes within 5.5 s
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DEMO_ROOM = "math-101"


class CannotStart(Exception):
    """The fleet did not come up; nothing of it is left running. The message says what to do."""


class FleetRun:
    """Runs a plan once, on the main thread."""

    def __init__(self, plan: FleetPlan, screen: Screen) -> None:
        self._plan = plan
        self._screen = screen
        self._facts: dict[str, ProcessFacts] = {}
        self._is_up = False
        self._is_ending = False
        self._changed = asyncio.Event()
        self._told = asyncio.Event()
        self._failure: Died | None = None

    async def until_told(self, *, start_within: float) -> None:
        """Start all, and keep it running until a signal tells to end it; then end it. Raises CannotStart if a process
        ends before it was ready, or not all are ready in time."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks, httpx.AsyncClient(trust_env=False) as client:
            supervisor = Supervisor(
                self._plan.folder.logs, tasks=tasks, on_event=self._on_event, on_line=self._on_line, grace=_GRACE
            )

            def on_signal() -> None:
                if self._told.is_set():
                    supervisor.hurry()
                self._told.set()
                self._changed.set()

            for number in _SIGNALS:
                loop.add_signal_handler(number, on_signal)
            watch = tasks.create_task(self._watch_store(supervisor), name="lock watch")
            failure = await self._start(supervisor, client, within=start_within)
            if failure is None:
                await self._told.wait()
                self._screen.tell("ending all processes (again to kill them) ...", style="dim")
            self._is_ending = True
            await supervisor.stop()
            watch.cancel()
        if failure is not None:
            raise CannotStart(failure)
        self._screen.tell("all processes have ended")

    async def _watch_store(self, supervisor: Supervisor) -> None:
        store = sqlite_file_of(self._plan.store_url)
        if store is not None:
            await LockWatch(store, kill=supervisor.kill, on_overdue=self._tell_overdue).run()

    async def _start(self, supervisor: Supervisor, client: httpx.AsyncClient, *, within: float) -> str | None:
        """Start all in their order and wait until all are ready, or the end is asked for; why it failed, if so."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        tiers = (self._plan.server(), self._plan.processes(client))
        self._facts = {child.name: ProcessFacts(child.name, child.address) for tier in tiers for child in tier}
        for tier in tiers:
            for child in tier:
                supervisor.start(child)
            while not all(self._facts[child.name].state == "ready" for child in tier):
                if self._told.is_set():
                    return None
                if self._failure is not None:
                    return _last_words_of(self._failure, self._plan)
                if loop.time() - began_at > within:
                    late = ", ".join(facts.name for facts in self._facts.values() if facts.state != "ready")
                    return f"not ready within {within:.0f} s: {late}. Their logs are in {self._plan.folder.logs}."
                self._screen.show_start(self._shown(), elapsed=loop.time() - began_at)
                await self._next_change()
        self._is_up = True
        self._write()
        self._screen.end_start(self._shown(), elapsed=loop.time() - began_at)
        self._screen.tell(f"ready: {self._plan.front_url}/?room={_DEMO_ROOM}", style="bold green")
        self._screen.tell(f"Ctrl-C ends it; logs are in {self._plan.folder.logs}", style="dim")
        return None

    async def _next_change(self) -> None:
        try:
            async with asyncio.timeout(_REDRAW):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def _on_event(self, event: Event) -> None:
        facts = self._facts[event.child.name]
        match event:
            case Started(pid=pid, starts=starts):
                self._facts[facts.name] = msgspec.structs.replace(facts, state="starting", pid=pid, starts=starts)
            case Ready(pid=pid, seconds=seconds):
                self._facts[facts.name] = msgspec.structs.replace(facts, state="ready", seconds=seconds)
                self._tell_ready(facts, pid, seconds)
            case Died():
                self._facts[facts.name] = msgspec.structs.replace(facts, state="waiting")
                self._tell_death(event)
            case Stopped(killed=killed):
                self._facts[facts.name] = msgspec.structs.replace(facts, state="stopped")
                if killed:
                    self._screen.tell(f"{facts.name} did not end by itself in time and was killed", style="yellow")
        self._write()
        self._changed.set()

    def _tell_ready(self, facts: ProcessFacts, pid: int, seconds: float) -> None:
        if self._is_up:
            self._screen.tell(f"{facts.name} is ready again after {seconds:.1f} s (pid {pid})", style="green")
        elif not self._screen.is_terminal:
            self._screen.tell(f"{facts.name} is ready after {seconds:.1f} s (pid {pid}, {facts.address})")

    def _tell_death(self, event: Died) -> None:
        if not self._is_up and not event.was_ready:
            self._failure = self._failure or event
        else:
            how = f"{event.child.name} ended ({_words_of(event.status)}) after {event.lived:.1f} s"
            self._screen.tell(f"{how}; starting it again in {event.restart_after:.1f} s", style="yellow")

    def _tell_overdue(self, holder: KilledHolder | ForeignHolder) -> None:
        match holder:
            case KilledHolder(name, pid):
                self._screen.tell(f"{name} (pid {pid}) stood still with the store locked: killed", style="yellow")
            case ForeignHolder():
                self._screen.tell(holder.words, style="red")

    def _on_line(self, child: Child, line: str) -> None:
        # of a start that fails the last words are told at its end
        is_chatty = child.tier == 0 or self._is_ending or not self._is_up
        self._screen.tell_line(child.name, line, is_chatty=is_chatty)

    def _shown(self) -> Sequence[ProcessFacts]:
        return tuple(self._facts.values())

    def _write(self) -> None:
        plan = self._plan
        plan.folder.write(
            FleetFacts(os.getpid(), self._is_up, plan.director_url, plan.redis_url, plan.store_url, self._shown())
        )


def _words_of(status: int) -> str:
    return f"exit code {status}" if status >= 0 else signal.Signals(-status).name


def _last_words_of(death: Died, plan: FleetPlan) -> str:
    log = plan.folder.logs / f"{death.child.name}.log"
    words = "".join(f"\n  {line}" for line in death.last_words)
    return f"{death.child.name} ended at its start ({_words_of(death.status)}); its log is {log}{words}"
