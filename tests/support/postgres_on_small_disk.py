"""A real PostgreSQL server of which a part, its WAL or a tablespace, stands on a disk that can be full. Root only."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from director.held_port import HeldPort
from director.own_postgres import OwnPostgres, postgres_binaries
from loadtest.small_disk import SmallDisk


@dataclass(frozen=True, slots=True)
class PostgresOnSmallDisk:
    """The server, and what fills its disk. `tablespace` is an empty folder on the disk, as the server sees it."""

    server: OwnPostgres
    tablespace: Path
    _disk: SmallDisk
    _thread: ThreadPoolExecutor

    def fill(self) -> None:
        """Leave no room on the disk at all."""
        self._thread.submit(self._disk.fill).result()

    def free(self) -> None:
        """Give the room back."""
        self._thread.submit(self._disk.free).result()

    def restart(self) -> None:
        """What an operator does when there is room again: whatever is left of the server ends, and it starts."""
        self._thread.submit(self.server.kill).result()
        self._thread.submit(self.server.start).result()


@contextmanager
def running_on_small_disk() -> Iterator[PostgresOnSmallDisk]:
    """A new server, gone after the block. Raises NoPostgresBinaries, PostgresFailed and NoSmallDisk."""
    binaries = postgres_binaries()
    with (
        tempfile.TemporaryDirectory(prefix="hall-postgres-", ignore_cleanup_errors=True) as folder,
        HeldPort() as held,
        # a mount namespace is a thread's own, and so is the life of the server that it starts
        ThreadPoolExecutor(1) as thread,
    ):
        os.chmod(folder, 0o711)
        server = OwnPostgres(binaries, Path(folder) / "data", held.port)
        disk = thread.submit(_prepare, server, Path(folder)).result()
        try:
            thread.submit(server.start).result()
            yield PostgresOnSmallDisk(server, Path(folder) / "disk" / "space", disk, thread)
        finally:
            thread.submit(server.kill).result()
            thread.submit(disk.close).result()


def _prepare(server: OwnPostgres, folder: Path) -> SmallDisk:
    """Make the server's data, its WAL and the tablespace's folder on the disk."""
    disk = SmallDisk(folder / "disk")
    server.prepare()
    owner = (folder / "data").stat()
    shutil.move(folder / "data" / "pg_wal", disk.folder / "wal")
    (folder / "data" / "pg_wal").symlink_to(disk.folder / "wal")
    (disk.folder / "space").mkdir(mode=0o700)
    for path in (disk.folder, *disk.folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    return disk
