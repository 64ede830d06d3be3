"""Joins: what one costs the node, with ticket and 50 entries of history, and what an idle member holds of memory."""

from collections.abc import Sequence
from typing import Any

from tests.bench.crowd import Crowd, CrowdFailed, crowd
from tests.bench.figures import Figure, figure, members, repeats, report, seconds
from tests.bench.processes import allow_many_files, used_by
from tests.bench.servers import BARE, HALL, NODE, STOCK, is_there, serving

COUNT = 1_000
RATE, AT_THE_BELL = 400.0, 2_000.0
HISTORY = 60
SETTLE = 3.0
REPEATS = 5
US_AT_MOST = 600.0
KB_AT_MOST = 20.0


def main() -> dict[str, Any]:
    """Processor time a join and memory a member, in turns."""
    return compare([BARE, HALL, STOCK])


def compare(servers: Sequence[str]) -> dict[str, Any]:
    """Measure all that are there."""
    notes = [f"{name}: left out, {why_not}" for name in servers if (why_not := is_there(name)) is not None]
    present = [name for name in servers if is_there(name) is None]
    runs = [_measure(name) for _ in range(repeats(REPEATS)) for name in present]
    figures: list[Figure] = []
    for name in present:
        its = [run for run in runs if run["server"] == name]
        is_ours = name == HALL
        history = ", 50 entries of history" if name in (HALL, STOCK) else ""
        figures += [
            figure(
                f"{name}: CPU a join{history}",
                "µs",
                [run["us_join"] for run in its],
                at_most=US_AT_MOST if is_ours else None,
            ),
            figure(
                f"{name}: CPU a join, {AT_THE_BELL:,.0f} a second", "µs", [run["us_join_at_the_bell"] for run in its]
            ),
            figure(
                f"{name}: memory an idle member",
                "KB",
                [run["kb_member"] for run in its],
                at_most=KB_AT_MOST if is_ours else None,
            ),
        ]
        if is_ours:
            figures.append(figure(f"{name}: p99 of a join, by way of the director", "ms", [it["p99_ms"] for it in its]))
    if NODE in present and HALL in present:
        ours, theirs = ([run["us_join"] for run in runs if run["server"] == name] for name in (HALL, NODE))
        ratios = [mine / their for mine, their in zip(ours, theirs, strict=True)]
        figures.append(figure(f"a join: {HALL} to {NODE}", "x", ratios))
    return report(figures, notes=notes, runs=runs)


def _measure(server: str) -> dict[str, Any]:
    allow_many_files()
    count = members(COUNT)
    with serving(server) as it, crowd(dialect=it.dialect, port=it.port, rooms=["bench"]) as they:
        if it.dialect == "hall":
            make_history(they, HISTORY)
        fresh = used_by(it.pid)
        opened = they.open(count, rate=RATE)
        joined = used_by(it.pid)
        they.look_on(seconds(SETTLE))
        idle = used_by(it.pid)
        they.open(count, first=count, rate=AT_THE_BELL)
        more = used_by(it.pid)
    return {
        "server": server,
        "us_join": (joined.cpu - fresh.cpu) / count * 1e6,
        "us_join_at_the_bell": (more.cpu - idle.cpu) / count * 1e6,
        "kb_member": (idle.rss - fresh.rss) / 1024 / count,
        "p99_ms": opened["took"]["p99_ms"],
    }


def make_history(they: Crowd, entries: int) -> None:
    """Let the first members of the crowd say something and go, so that the room has a history."""
    they.open(5, rate=0)
    they.begin_send(rate=100, seconds=entries / 100, senders=5, watchers=5)
    sent = they.end_send(within=30)
    if sent["acked"] < entries:
        raise CrowdFailed(f"{sent['acked']} of {entries} messages were taken: {sent['last_denial']}")
    they.leave(5)
    they.look_on(0.5)


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
