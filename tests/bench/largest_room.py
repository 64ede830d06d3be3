"""The largest room of one process: 20,000 members at 10 messages a second."""

from typing import Any

from tests.bench.figures import figure, members, repeats, report, seconds
from tests.bench.processes import allow_many_files
from tests.bench.rooms_run import measure
from tests.bench.servers import HALL

COUNT = 20_000
RATE = 10.0
SPAN = 15.0
JOIN_RATE = 300.0
REPEATS = 2
P99_AT_MOST = 1_000.0
_FILES_BESIDE = 100


def main() -> dict[str, Any]:
    """How late they read, and how much of one processor that takes."""
    files = allow_many_files()
    count = members(min(COUNT, files - _FILES_BESIDE))
    runs = [
        measure(HALL, count=count, rate=RATE, span=seconds(SPAN), join_rate=JOIN_RATE) for _ in range(repeats(REPEATS))
    ]
    notes = [] if count >= COUNT else [f"a process may open {files:,} files here (ulimit -n): {count:,} members came"]
    return report(
        [
            figure("members in the room", "", [float(count)], at_least=float(COUNT)),
            figure("messages that came", "%", [100 * run.share for run in runs], at_least=100.0),
            figure(f"p99 at {RATE:g}/s", "ms", [run.p99_ms for run in runs], at_most=P99_AT_MOST),
            figure("CPU a delivery", "µs", [run.us for run in runs]),
            figure("of one processor", "%", [run.us * run.members * run.rate / 1e4 for run in runs]),
            figure("memory a member", "KB", [run.kb_member for run in runs]),
        ],
        notes=notes,
        runs=[run.facts for run in runs],
    )


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
