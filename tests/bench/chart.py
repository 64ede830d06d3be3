"""Charts of the recorded results as plain SVG, and the tables of BENCHMARKS.md: `python -m tests.bench.chart`.

The drawings carry their own background and follow the reader's light or dark scheme.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import tables
from tests.bench.delivery import SCENARIOS
from tests.bench.figures import number
from tests.bench.results import Record, read_all
from tests.bench.servers import BARE, HALL, NODE, PYTHON, STOCK

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "docs" / "benchmarks"
ORDER = (BARE, HALL, NODE, STOCK, PYTHON)

_WIDTH, _LEFT, _RIGHT, _ROW, _BAR, _TOP = 760, 190, 110, 24, 15, 58
_STYLE = """
svg { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; }
.paper { fill: #ffffff; stroke: #d0d7de; } text { fill: #1f2328; } .soft { fill: #57606a; }
.bar { fill: #8c959f; } .ours { fill: #0969da; } .line { stroke: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
@media (prefers-color-scheme: dark) {
 .paper { fill: #0d1117; stroke: #30363d; } text { fill: #e6edf3; } .soft { fill: #9198a1; }
 .bar { fill: #6e7681; } .ours { fill: #4493f8; } .line { stroke: #e6edf3; }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar with its spread; `is_ours` is drawn to stand out."""

    label: str
    values: Sequence[float]
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars that share a scale. A bar that would dwarf the others is better left to its own panel."""

    title: str
    bars: Sequence[Bar]


def drawing(title: str, subtitle: str, panels: Sequence[Panel]) -> str:
    """An SVG of panels, one below the other."""
    height, parts = _TOP, list[str]()
    for panel in panels:
        parts.append(_text(20, height + 12, panel.title, "title soft"))
        height += 22
        highest = max((max(bar.values) for bar in panel.bars), default=1) or 1
        for bar in panel.bars:
            parts += _drawn(bar, height, (_WIDTH - _LEFT - _RIGHT) / highest)
            height += _ROW
        height += 16
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n'
        f'<rect class="paper" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="6"/>\n'
    )
    heading = [_text(20, 26, title, "title"), _text(20, 44, subtitle, "soft")]
    return head + "\n".join([*heading, *parts]) + "\n</svg>\n"


def _drawn(bar: Bar, y: float, scale: float) -> Iterable[str]:
    low, middle, high = min(bar.values), median(bar.values), max(bar.values)
    kind = "bar ours" if bar.is_ours else "bar"
    yield _text(_LEFT - 8, y + 12, bar.label, "", anchor="end")
    yield f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{max(1, middle * scale):.1f}" height="{_BAR}" rx="2"/>'
    if high > low:
        yield f'<path class="line" d="M{_LEFT + low * scale:.1f} {y + _BAR / 2}H{_LEFT + high * scale:.1f}"/>'
    yield _text(_LEFT + max(middle, high) * scale + 8, y + 12, number(middle), "")


def _text(x: float, y: float, words: str, kind: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def delivery_chart(records: Mapping[str, Record]) -> str:
    """Processor time a delivered message, by scenario."""
    runs = _runs_of(records, ("delivery", "peers_beside"), "us")
    panels = []
    for count, rate in SCENARIOS:
        here = [it for it in runs if it["rate"] == rate and _is_of(it, count)]
        panels.append(Panel(f"{count:,} members, {rate:g} messages a second", _bars(here, "us")))
    return drawing(
        "CPU for each delivered message, in microseconds",
        "server's own process, one room; lines: lowest to highest of the repeats; shorter is better",
        [panel for panel in panels if panel.bars],
    )


def joins_chart(records: Mapping[str, Record]) -> str:
    """Processor time a join, and memory a member."""
    runs = _runs_of(records, ("joins", "peers_beside"), "kb_member", without="us")
    return drawing(
        "A join, and a member that is there",
        "lecturehall with ticket and 50 entries of history, the others without; shorter is better",
        [
            Panel("CPU for each join, microseconds", _bars(runs, "us_join")),
            Panel("memory for each idle member, KB", _bars(runs, "kb_member")),
        ],
    )


def _runs_of(
    records: Mapping[str, Record], names: Sequence[str], has: str, *, without: str = ""
) -> list[dict[str, Any]]:
    return [run for name in names if name in records for run in records[name].runs if has in run and without not in run]


def _is_of(run: Mapping[str, Any], count: int) -> bool:
    # a quick run has a tenth of the members
    return run["members"] in (count, count // 10)


def _bars(runs: Sequence[Mapping[str, Any]], what: str) -> list[Bar]:
    by_server = {name: [float(run[what]) for run in runs if run["server"] == name] for name in ORDER}
    return [Bar(name, values, is_ours=name == HALL) for name, values in by_server.items() if values]


def publish() -> None:
    """Draw what is recorded, and bring the tables of BENCHMARKS.md up to date."""
    records = read_all()
    CHARTS.mkdir(parents=True, exist_ok=True)
    if "delivery" in records:
        (CHARTS / "delivery.svg").write_text(delivery_chart(records))
    if "joins" in records:
        (CHARTS / "joins.svg").write_text(joins_chart(records))
    page = ROOT / "BENCHMARKS.md"
    page.write_text(tables.with_tables(page.read_text(), records))


if __name__ == "__main__":
    publish()
