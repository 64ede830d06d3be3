"""The tools that torture a store: a grip on its lock, and a disk that can be full."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

GRIP = (sys.executable, "-m", "loadtest.sqlite_grip")
TEXT = subprocess.PIPE

_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
print("ready", flush=True)
while True:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.execute("COMMIT")
"""

_DISK = """
import errno, sys
from pathlib import Path
from loadtest.small_disk import NoSmallDisk, SmallDisk
try:
    disk = SmallDisk(Path(sys.argv[1]))
except NoSmallDisk as why:
    sys.exit(f"skip: {why}")
disk.fill()
try:
    (disk.folder / "more").write_bytes(bytes(4096))
except OSError as error:
    assert error.errno == errno.ENOSPC
else:
    sys.exit("there was room")
disk.free()
(disk.folder / "more").write_bytes(bytes(4096))
disk.close()
assert not list(disk.folder.iterdir())
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A SQLite file in WAL mode that somebody has open."""
    file = tmp_path / "store.sqlite3"
    with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n)")
        yield file


def is_locked(store: Path) -> bool:
    with closing(sqlite3.connect(store, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def test_it_holds_the_lock_until_its_time_is_over_or_it_is_killed(store: Path) -> None:
    with subprocess.Popen([*GRIP, "hold", str(store), "60"], stdout=TEXT, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(store)
        holder.kill()
        holder.wait()
    assert not is_locked(store)
    subprocess.run([*GRIP, "hold", str(store), "0"], check=True, timeout=60, stdout=TEXT)
    assert not is_locked(store)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's locks are asked")
def test_it_catches_a_writer_in_the_midst_of_a_transaction(store: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(store)], stdout=TEXT, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            caught = subprocess.run([*GRIP, "catch", str(store), "30"], check=True, timeout=60, stdout=TEXT, text=True)
            assert caught.stdout == f"{writer.pid}\n"
            assert is_locked(store), "it is stopped, and holds the lock"
            os.kill(writer.pid, signal.SIGCONT)
        finally:
            writer.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's locks are asked")
def test_it_stops_a_writer_that_has_just_committed(store: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(store)], stdout=TEXT, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            subprocess.run([*GRIP, "stop", str(store), "30", str(writer.pid)], check=True, timeout=60)
            status = Path(f"/proc/{writer.pid}/stat").read_text().rpartition(")")[2].split()[0]
            assert status == "T", "it is stopped"
            assert not is_locked(store), "and holds no lock"
            os.kill(writer.pid, signal.SIGCONT)
        finally:
            writer.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's locks are asked")
def test_it_says_so_when_nobody_came(store: Path) -> None:
    caught = subprocess.run([*GRIP, "catch", str(store), "0.2"], check=True, timeout=60, stdout=TEXT, text=True)
    assert caught.stdout == "nobody\n"


def test_it_empties_the_log(store: Path) -> None:
    log = store.with_name(store.name + "-wal")
    assert log.stat().st_size > 0
    subprocess.run([*GRIP, "empty", str(store)], check=True, timeout=60)
    assert log.stat().st_size == 0


def test_a_small_disk_is_full_until_it_is_freed_and_nobody_else_sees_it(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    ended = subprocess.run(
        [sys.executable, "-c", _DISK, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    if ended.stderr.startswith("skip:"):
        pytest.skip(ended.stderr)
    assert ended.returncode == 0, ended.stderr
    assert not os.path.ismount(folder)
    assert list(folder.iterdir()) == []
