"""Delivery: what one delivered message costs the node, beside a bare loop of send() and the stock way, in turns."""

from collections.abc import Sequence
from typing import Any

from tests.bench.figures import Figure, figure, members, repeats, report, seconds
from tests.bench.rooms_run import Delivery, measure
from tests.bench.servers import BARE, HALL, STOCK, is_there

SCENARIOS = ((1_000, 20.0), (1_000, 100.0), (5_000, 4.0))
SPAN = 6.0
REPEATS = 3
RATIO_AT_MOST = {(1_000, 20.0): 1.3, (1_000, 100.0): 0.5}
P99_AT_MOST = {(1_000, 100.0): 150.0}
# the stock way cannot carry 100,000 deliveries a second: what it costs is seen at 20,000
TOO_MUCH = {(STOCK, 1_000, 100.0)}


def main() -> dict[str, Any]:
    """Ratios to the bare loop, and what the crowd saw."""
    return compare([BARE, HALL, STOCK])


def compare(servers: Sequence[str]) -> dict[str, Any]:
    """Measure all that are there, in alternation, in every scenario."""
    notes = [f"{name}: left out, {why_not}" for name in servers if (why_not := is_there(name)) is not None]
    present = [name for name in servers if is_there(name) is None]
    runs: list[Delivery] = []
    figures: list[Figure] = []
    for count, rate in SCENARIOS:
        here: list[Delivery] = []
        for _ in range(repeats(REPEATS)):
            here += [
                measure(name, count=members(count), rate=rate, span=seconds(SPAN))
                for name in present
                if (name, count, rate) not in TOO_MUCH
            ]
        runs += here
        figures += _figures_of(here, present, count, rate)
    notes += [
        f"{it.server}, {it.members:,} x {it.rate:g}/s: {it.share:.1%} of the deliveries came"
        for it in runs
        if it.share < 1
    ]
    return report(figures, notes=notes, runs=[it.facts for it in runs])


def _figures_of(runs: Sequence[Delivery], servers: Sequence[str], count: int, rate: float) -> list[Figure]:
    figures = []
    scenario = f"{count:,} members x {rate:g}/s"
    by_server = {name: [run for run in runs if run.server == name] for name in servers}
    ours = by_server.get(HALL, [])
    for name, its in by_server.items():
        if not its:
            continue
        p99_at_most = P99_AT_MOST.get((count, rate)) if name == HALL else None
        figures += [
            figure(f"{scenario}: {name}, CPU a delivery", "µs", [run.us for run in its]),
            figure(f"{scenario}: {name}, p99", "ms", [run.p99_ms for run in its], at_most=p99_at_most),
        ]
        if name != HALL and ours:
            ratios = [mine.us / theirs.us for mine, theirs in zip(ours, its, strict=True) if theirs.us]
            at_most = {BARE: RATIO_AT_MOST.get((count, rate)), STOCK: None}.get(name)
            if name.endswith("Node") and (count, rate) == SCENARIOS[0]:
                at_most = 0.5
            figures.append(figure(f"{scenario}: {HALL} to {name}", "x", ratios or [0.0], at_most=at_most))
    return figures


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
