"""A storm: 5,000 join at once by way of the director while others talk, and leave at once."""

from typing import Any

from tests.bench.crowd import Crowd, CrowdFailed, crowd
from tests.bench.figures import figure, members, repeats, report
from tests.bench.joins import HISTORY, US_AT_MOST, make_history
from tests.bench.processes import allow_many_files, used_by
from tests.bench.servers import HALL, serving

ALREADY_THERE = 100
COMING = 5_000
RATE = 10.0
REPEATS = 3
WITHIN = 60.0
P99_AT_MOST = 500.0
LEAVE_CPU_AT_MOST = 1.0
_QUIET = 0.15  # of one processor: 5,000 members answer a ping every 10 s


def main() -> dict[str, Any]:
    """How long until all are in, what those already there notice, and what it costs that all go."""
    runs = [_measure() for _ in range(repeats(REPEATS))]
    coming = members(COMING)
    implied = coming * US_AT_MOST / 1e6

    def of(name: str) -> list[float]:
        return [run[name] for run in runs]

    return report(
        [
            figure(
                f"until all of {coming:,} are live",
                "s",
                of("join_seconds"),
                at_most=implied,
                note=f"{coming:,} joins at {US_AT_MOST:g} us",
            ),
            figure("of those that came, not live", "", of("failed"), at_most=0.0),
            figure("CPU a join, with the messages meanwhile", "µs", of("us_join")),
            figure("p99 of a join as a member sees it", "ms", of("join_p99_ms")),
            figure("messages meanwhile to those already there: p99", "ms", of("p99_ms"), at_most=P99_AT_MOST),
            figure("messages meanwhile: came", "%", of("came"), at_least=100.0),
            figure("told to come back later", "", of("refused")),
            figure(f"CPU when {coming:,} leave at once", "s", of("leave_cpu"), at_most=LEAVE_CPU_AT_MOST),
            figure("messages while they leave: p99", "ms", of("leave_p99_ms")),
        ],
        runs=runs,
    )


def _measure() -> dict[str, float]:
    allow_many_files()
    there, coming = members(ALREADY_THERE), members(COMING)
    with serving(HALL) as it, crowd(dialect=it.dialect, port=it.port, rooms=["bench"]) as they:
        make_history(they, HISTORY)
        they.open(there)
        they.look_on(1.0)
        before = used_by(it.pid)
        they.begin_send(rate=RATE, seconds=WITHIN, senders=10, watchers=there)
        they.begin_open(coming, first=there, rate=0, within=WITHIN)
        opened = they.end_open()
        heard = they.end_send(within=WITHIN, early=True)
        live = used_by(it.pid)
        if opened["live"] == 0:
            raise CrowdFailed(f"nobody got in: {opened['last_denial']}")
        _wait_until_quiet(they, it.pid)
        start = used_by(it.pid)
        they.begin_send(rate=RATE, seconds=1.5, senders=10, watchers=there)
        they.leave(coming, first=there)
        leaving = they.end_send(within=30)
        _wait_until_quiet(they, it.pid)
        end = used_by(it.pid)
    return {
        "join_seconds": opened["seconds"],
        "failed": float(opened["failed"]),
        "refused": float(opened["refused"]),
        "join_p99_ms": opened["took"]["p99_ms"],
        "us_join": (live.cpu - before.cpu) / opened["live"] * 1e6,
        "p99_ms": heard["delivery"]["p99_ms"],
        "came": 100 * heard["delivered"] / max(1, heard["expected"]),
        "leave_cpu": end.cpu - start.cpu,
        "leave_p99_ms": leaving["delivery"]["p99_ms"],
    }


def _wait_until_quiet(they: Crowd, pid: int) -> None:
    """Until the process does little more than its heartbeats for half a second."""
    for _ in range(60):
        before = used_by(pid)
        they.look_on(0.5)
        after = used_by(pid)
        if after.cpu - before.cpu <= 0.5 * _QUIET:
            return


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
