"""Supervisor: keeps named processes running; one that dies is started again with back-off, and the rest lives on.

Each child has its own process group, so that a terminal's Ctrl-C reaches the supervisor alone, which decides; it is
tied to the supervisor (director.tether) and dies with it, also on kill -9. What a child writes goes line by line to
{logs}/{name}.log and to `on_line`. All that happens is told by `on_event`, in order.

    Started -> Ready -> Died -> Started -> ...       until stop(), which ends all: Stopped
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from director.core.backoff import Backoff, restart_of
from director.tether import tether

_POLL = 0.05
_MAX_LINE = 64 * 1024
_LAST_LINES = 20


@dataclass(frozen=True, slots=True)
class Child:
    """What to run. `ready` is asked again and again with the process' id; `address` is for people.

    Children of a lower `tier` outlive those of a higher one when all are stopped. One that was killed or failed is not
    started again for `pause` seconds: others take its work over meanwhile, and need the processors. `end_signal` ends
    it when all are stopped.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[int], Awaitable[bool]]
    address: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    tier: int = 1
    pause: float = 0.0
    end_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Started:
    """The child runs as process `pid`; `starts` counts from 1."""

    child: Child
    pid: int
    starts: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The child said that it is ready, `seconds` after its start."""

    child: Child
    pid: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Died:
    """The child ended unasked: `status` is its exit code or minus the signal. It is started again in `restart_after`
    seconds. `last_words` are the last lines that it wrote; `was_ready` whether this process ever was."""

    child: Child
    pid: int
    status: int
    lived: float
    was_ready: bool
    restart_after: float
    last_words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The child was ended by stop(); `killed` if it did not end by itself in time."""

    child: Child
    pid: int
    killed: bool


Event = Started | Ready | Died | Stopped


class Supervisor:
    """Keeps children running from `start` to `stop`. Use it on the main thread's loop: children are tied to the thread
    that starts them. A fault of ours (not a child's) ends the task group, which kills all children. Times are the
    loop's."""

    def __init__(
        self,
        logs: Path,
        *,
        tasks: asyncio.TaskGroup,
        on_event: Callable[[Event], None],
        on_line: Callable[[Child, str], None],
        backoff: Backoff | None = None,
        grace: float = 5.0,
    ) -> None:
        self._logs = logs
        self._on_event = on_event
        self._on_line = on_line
        self._backoff = backoff or Backoff()
        self._grace = grace
        self._tasks = tasks
        self._kept: list[_Kept] = []
        self._hurry = asyncio.Event()

    def start(self, child: Child) -> None:
        """Keep the child running from now on; tells what happens by events."""
        kept = _Kept(child)
        kept.task = self._tasks.create_task(self._keep(kept), name=f"keep {child.name}")
        self._kept.append(kept)

    async def stop(self) -> None:
        """End all children, the highest tier first: each by its signal, and SIGKILL after the grace; idempotent."""
        for tier in sorted({kept.child.tier for kept in self._kept}, reverse=True):
            ending = [kept for kept in self._kept if kept.child.tier == tier]
            for kept in ending:
                kept.stopping.set()
            await asyncio.wait([kept.task for kept in ending if kept.task is not None])

    def hurry(self) -> None:
        """Cut the grace of a stop short: kill at once what still runs."""
        self._hurry.set()

    def kill(self, pid: int) -> str | None:
        """Kill the child that runs as `pid` and all that it started; it is started again. Its name; None, and nobody is
        killed, if no child runs as that."""
        kept = next((kept for kept in self._kept if kept.pid == pid), None)
        if kept is None:
            return None
        _signal_group(pid, signal.SIGKILL)
        return kept.child.name

    async def _keep(self, kept: "_Kept") -> None:
        deaths = starts = 0
        self._logs.mkdir(parents=True, exist_ok=True)
        log_path = self._logs / f"{kept.child.name}.log"
        if log_path.exists():
            log_path.replace(log_path.with_suffix(".log.1"))
        with log_path.open("wb", buffering=0) as log:
            while not kept.stopping.is_set():
                starts += 1
                died = await self._live(kept, log, starts=starts, deaths=deaths)
                if died is None:
                    return
                deaths = died.deaths
                with suppress(TimeoutError):
                    async with asyncio.timeout(died.after):
                        await kept.stopping.wait()

    async def _live(self, kept: "_Kept", log: BinaryIO, *, starts: int, deaths: int) -> "_Death | None":
        """One life of a child; None when it was ended on request."""
        child, loop = kept.child, asyncio.get_running_loop()
        output = await _Output.open(lambda line: self._on_line(child, line), log)
        started_at = loop.time()
        try:
            # a pipe of our own: asyncio's wait() would wait for its pipes too, which a grandchild may hold open
            process = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.write_end,
                stderr=output.write_end,
                env={**os.environ, **child.env},
                preexec_fn=tether(),
                process_group=0,
            )
        finally:
            output.close_write_end()
        kept.pid = process.pid
        self._on_event(Started(child, process.pid, starts))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(kept.stopping.wait())
        ready = asyncio.create_task(self._wait_until_ready(child, process.pid, started_at))
        try:
            await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
            was_ready = ready.done() and not ready.cancelled() and ready.exception() is None
            if not ended.done():
                killed = await self._end(process.pid, ended, by=child.end_signal)
                self._on_event(Stopped(child, process.pid, killed))
                return None
        finally:
            ready.cancel()
            stopping.cancel()
            await asyncio.wait([ready, stopping])
            _signal_group(process.pid, signal.SIGKILL)  # what the child started must not outlive it
            await ended
            kept.pid = None
            last_words = await output.drained()
        if ready.done() and not ready.cancelled():
            ready.result()
        if kept.stopping.is_set():
            self._on_event(Stopped(child, process.pid, killed=False))
            return None
        lived = loop.time() - started_at
        restart = restart_of(self._backoff, deaths=deaths, lived=lived)
        status = ended.result()
        after = max(restart.after, child.pause) if status != 0 else restart.after
        self._on_event(Died(child, process.pid, status, lived, was_ready, after, last_words))
        return _Death(after, restart.deaths)

    async def _wait_until_ready(self, child: Child, pid: int, started_at: float) -> None:
        while not await child.ready(pid):  # noqa: ASYNC110 (another process is asked; no event tells)
            await asyncio.sleep(_POLL)
        self._on_event(Ready(child, pid, asyncio.get_running_loop().time() - started_at))

    async def _end(self, pid: int, ended: "asyncio.Task[int]", *, by: signal.Signals) -> bool:
        """Ask the process to end, and kill it when it does not in time; whether that was needed."""
        _signal_group(pid, by)
        _signal_group(pid, signal.SIGCONT)  # a stopped one could not obey
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([ended, hurry], timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if ended.done():
            return False
        _signal_group(pid, signal.SIGKILL)
        await ended
        return True


@dataclass(slots=True)
class _Kept:
    """A child that is kept running, the process that it runs as now, and the wish that it run no longer."""

    child: Child
    pid: int | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None


@dataclass(frozen=True, slots=True)
class _Death:
    after: float
    deaths: int


class _Output:
    """A child's output: a pipe read line by line into a log and a callback."""

    def __init__(
        self, transport: asyncio.ReadTransport, write_end: int, pump: "asyncio.Task[None]", last: list[str]
    ) -> None:
        self.write_end = write_end
        self._transport = transport
        self._pump = pump
        self._last = last

    @classmethod
    async def open(cls, on_line: Callable[[str], None], log: BinaryIO) -> "_Output":
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        last: list[str] = []

        async def pump() -> None:
            rest = b""
            while chunk := await reader.read(_MAX_LINE):
                with suppress(OSError):  # a full disk must not stop the child, which would block on its output
                    log.write(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _MAX_LINE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    take(line)
            if rest:
                take(rest)

        def take(line: bytes) -> None:
            text = line.decode(errors="replace").rstrip("\r")
            last[:] = [*last[1 - _LAST_LINES :], text]
            on_line(text)

        return cls(transport, write_end, asyncio.create_task(pump()), last)

    def close_write_end(self) -> None:
        os.close(self.write_end)

    async def drained(self) -> tuple[str, ...]:
        """Wait until all is read, at most a second (somebody else may hold the pipe); the last lines."""
        await asyncio.wait([self._pump], timeout=1.0)
        self._transport.close()
        self._pump.cancel()
        await asyncio.wait([self._pump])
        return tuple(self._last)


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a child and all of its process group, if any of them is left."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
