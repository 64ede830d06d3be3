"""DataFolder: where one fleet of this machine keeps its files, and what tells a second `hall up` to stay away.

    {folder}/up.lock       locked as long as a `hall up` runs on the folder
    {folder}/fleet.json    what runs now: for scripts and tests; gone when nothing runs
    {folder}/logs/         one log for each process, and the former run's as .log.1
    {folder}/store.sqlite3, redis/, ticket.key

All paths are absolute.
"""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec

ProcessState = Literal["starting", "ready", "waiting", "stopped"]


class ProcessFacts(msgspec.Struct, frozen=True):
    """One process of the fleet. `seconds` is how long it took to become ready, 0 until then."""

    name: str
    address: str
    state: ProcessState = "waiting"
    pid: int = 0
    starts: int = 0
    seconds: float = 0.0


class FleetFacts(msgspec.Struct, frozen=True):
    """What fleet.json says. `up` once every process was ready."""

    pid: int
    up: bool
    director_url: str
    redis_url: str
    store_url: str
    processes: Sequence[ProcessFacts]


class DataFolderInUse(Exception):
    """A `hall up` runs on the folder already."""


class DataFolder:
    """Holds the folder's lock from construction to the end of the `with` block, or of the process, however it ends.

    Raises DataFolderInUse, and OSError where the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder.absolute()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._lock, 100).decode(errors="replace").strip() or "another process"
            os.close(self._lock)
            raise DataFolderInUse(f"a hall up runs on {self.path} already ({holder})") from error
        os.ftruncate(self._lock, 0)

    def sign(self, words: str) -> None:
        """Leave word in the lock for those who find it taken."""
        os.pwrite(self._lock, words.encode(), 0)

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def store_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.path / 'store.sqlite3'}"

    def write(self, facts: FleetFacts) -> None:
        """Replace fleet.json; readers see the former or the new one, whole."""
        new = self.path / "fleet.json.new"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(facts)) + b"\n")
        new.replace(self.path / "fleet.json")

    def __enter__(self) -> "DataFolder":
        (self.path / "fleet.json").unlink(missing_ok=True)  # of a run that was killed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self.path / "fleet.json").unlink(missing_ok=True)
        os.close(self._lock)
