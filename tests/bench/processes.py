"""Processes under measurement: what they have used, read from /proc, and on which processor they run."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_MANY_FILES = 1_048_576


class Ended(Exception):
    """The process under measurement is gone: it broke, or was ended."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a process has used so far: seconds of processor (all threads, user and system), resident bytes."""

    cpu: float
    rss: int


def used_by(pid: int) -> Used:
    """What a running process has used; the seconds are exact to a hundredth. Raises Ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise Ended(f"the process under measurement ({pid}) has ended") from None
    rss = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Used((int(fields[11]) + int(fields[12])) * _TICK, rss)


@dataclass(frozen=True, slots=True)
class Processors:
    """Which processor the server has for itself, and which everything else shares; None where there is but one."""

    server: int | None
    others: int | None

    @staticmethod
    def of_this_machine() -> "Processors":
        usable = sorted(os.sched_getaffinity(0))
        return Processors(usable[0], usable[-1]) if len(usable) > 1 else Processors(None, None)


_PROCESSORS = Processors.of_this_machine()


def pin_server(pid: int) -> None:
    """Give a process, with all threads that it has, the server's processor."""
    _pin(pid, _PROCESSORS.server)


def pin_others(pid: int) -> None:
    """Give a process, with all threads that it has, the processor that is not the server's."""
    _pin(pid, _PROCESSORS.others)


@contextmanager
def apart() -> Iterator[None]:
    """Leave the server's processor alone: this thread, and all that it starts meanwhile."""
    before = os.sched_getaffinity(0)
    if _PROCESSORS.others is not None:
        os.sched_setaffinity(0, {_PROCESSORS.others})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_many_files() -> int:
    """Raise this process's limit of open files, which its children inherit, as far as it may; the limit."""
    for wanted in (_MANY_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _pin(pid: int, processor: int | None) -> None:
    if processor is None:
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # a thread that has ended meanwhile
            os.sched_setaffinity(int(thread.name), {processor})
