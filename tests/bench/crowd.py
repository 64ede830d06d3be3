"""Crowd: thousands of members in one process of C (crowd.c), told by us what to do."""

import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import monotonic
from typing import Any

from tests.bench.processes import pin_others

_HERE = Path(__file__).parent
WORKSHOP = _HERE.parents[1] / ".hall" / "bench"
"""Where benchmarks keep what they build and the data of their fleets; ignored by git, on the checkout's disk."""


class NoCompiler(Exception):
    """There is no C compiler, so no crowd and no bare loop."""


class CrowdFailed(Exception):
    """The crowd did not do what it was told to in time, or ended."""


def built(source: Path) -> Path:
    """The program made of a C file; made anew when the file has changed. Raises NoCompiler."""
    program = WORKSHOP / "bin" / source.stem
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        raise NoCompiler("no C compiler (Debian: apt-get install gcc libc6-dev)")
    program.parent.mkdir(parents=True, exist_ok=True)
    new = program.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, "-O2", "-o", str(new), str(source)], check=True)
    new.replace(program)
    return program


class Crowd:
    """Members of one server, told by lines and answering by lines. `begin_` starts something, `end_` waits until it is
    done and gives what crowd.c says of it. All raise CrowdFailed."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._heard = b""
        self._done: dict[str, dict[str, Any]] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin_open(self, count: int, *, first: int = 0, rate: float = 400, within: float = 120) -> None:
        self._tell(f"open {first} {count} {rate} {within}")

    def end_open(self, *, within: float = 130) -> dict[str, Any]:
        return self._wait_for("open", within)

    def open(self, count: int, *, first: int = 0, rate: float = 400, within: float = 120) -> dict[str, Any]:
        """Let members come, `rate` a second (0: all at once), and see that all of them got in."""
        self.begin_open(count, first=first, rate=rate, within=within)
        opened = self.end_open(within=within + 10)
        if opened["failed"]:
            raise CrowdFailed(f"{opened['failed']} of {count} members did not get in: {opened['last_denial']}")
        return opened

    def begin_send(self, *, rate: float, seconds: float, senders: int, watchers: int) -> None:
        self._tell(f"send {rate} {seconds} {senders} {watchers}")

    def end_send(self, *, within: float, early: bool = False) -> dict[str, Any]:
        """`early`: nothing more is said from now on."""
        if early:
            self._tell("hush")
        return self._wait_for("send", within)

    def leave(self, count: int, *, first: int = 0) -> dict[str, Any]:
        """Let members go, all at once."""
        self._tell(f"leave {first} {count}")
        return self._wait_for("leave", 30)

    def begin_return(self, *, within: float, count: int = 1) -> None:
        """From now on whoever loses its connection or is told to move comes back, as clients of lecturehall do."""
        self._tell(f"return {within} {count}")

    def end_return(self, *, within: float) -> dict[str, Any]:
        """Wait until `count` were lost or moved, and all of them are back."""
        return self._wait_for("return", within)

    def look_on(self, seconds: float) -> None:
        """Let time go by, in which nothing is asked of anybody."""
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return
        raise CrowdFailed(f"the crowd ended with {self._process.returncode}")

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()

    def _wait_for(self, what: str, within: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        deadline = monotonic() + within
        while what not in self._done:
            if not select.select([output], [], [], max(0.0, deadline - monotonic()))[0]:
                raise CrowdFailed(f"{what}: not done within {within:.0f} s")
            said = os.read(output, 65536)
            if not said:
                raise CrowdFailed(f"the crowd ended with {self._process.wait()}")
            *lines, self._heard = (self._heard + said).split(b"\n")
            for answer in map(json.loads, lines):
                self._done[answer["done"]] = answer
        return self._done.pop(what)


@contextmanager
def crowd(*, dialect: str, port: int, rooms: Sequence[str] = ("r",)) -> Iterator[Crowd]:
    """A crowd that is gone when the block ends. `port` is the server's, for lecturehall the director's; member i is in
    room i modulo the number of rooms. Raises NoCompiler."""
    program = built(_HERE / "crowd.c")
    with NamedTemporaryFile("w", suffix=".rooms") as names:
        names.write("\n".join(rooms) + "\n")
        names.flush()
        process = subprocess.Popen(
            [str(program), "--dialect", dialect, "--port", str(port), "--rooms", names.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        pin_others(process.pid)
        try:
            yield Crowd(process)
        finally:
            process.kill()
            process.communicate()
