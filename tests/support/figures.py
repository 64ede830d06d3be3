"""Figures: what a process says at `/metrics`, as families with their labels and the values that these have had.

`python -m tests.support.figures` writes the tables of docs/METRICS.md anew, from what a director and a node say.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from director.contract.lease import LiveNode, LiveNodes
from director.fleet_view import FleetView
from director.metrics import DirectorMetrics
from shard_node.core.admission import Budgets
from shard_node.core.lag import LagProbe
from shard_node.metrics import NodeMetrics
from tests.support.halls import lease_of
from tests.support.small_node import small_node
from tests.support.virtual_time import VirtualTimeLoop

PAGE = Path(__file__).parents[2] / "docs" / "METRICS.md"
MAX_VALUES_TOLD = 8
_OPEN_LABELS = ("node", "incarnation")
_UNLISTED = ("process_", "python_")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `name` is that of its counter or gauge, or of its histogram without `_bucket`; `samples` are the
    names that a query may use, `labels` the values that each label was seen with."""

    name: str
    kind: str
    meaning: str
    samples: frozenset[str]
    labels: Mapping[str, frozenset[str]]

    @property
    def row(self) -> str:
        """As docs/METRICS.md has it."""
        told = "; ".join(_told(label, values) for label, values in sorted(self.labels.items()) if label != "le")
        return f"| `{self.name}` | {self.kind} | {told} | {self.meaning} |"


def _told(label: str, values: frozenset[str]) -> str:
    is_open = label in _OPEN_LABELS or len(values) > MAX_VALUES_TOLD
    return f"`{label}`" if is_open else f"`{label}`: {', '.join(sorted(values))}"


def families_of(text: str) -> dict[str, Family]:
    """Families by name, of Prometheus' text format; a counter is called as its sample is."""
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels: dict[str, set[str]] = {}
        for sample in family.samples:
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
        found[name] = Family(
            name,
            family.type,
            family.documentation,
            frozenset(sample.name for sample in family.samples),
            {label: frozenset(values) for label, values in labels.items()},
        )
    return found


def director_text() -> str:
    """What a director says that has just begun and knows one node."""
    view = FleetView()
    view.read_leases(LiveNodes("g", 0, [LiveNode(lease_of("node-1"), 1.0)]), sent_at=0.0)
    return DirectorMetrics(view, timings="").exposition().decode()


def node_text() -> str:
    """What a node says that has just begun."""

    async def say() -> str:
        async with small_node() as node:
            now = asyncio.get_running_loop().time
            lag, budgets = LagProbe(now()), Budgets(now())
            figures = NodeMetrics(node.host, node.keeper, lag, budgets, node.writer.tally, waiting=lambda: 0)
            return figures.exposition().decode()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(say())


def listed(text: str) -> list[Family]:
    """The families that are ours, in the order in which they are told."""
    return [family for name, family in families_of(text).items() if not name.startswith(_UNLISTED)]


def table_of(text: str) -> str:
    """The table of a process."""
    rows = [family.row for family in listed(text)]
    return "\n".join(["| metric | type | labels | what it tells |", "| --- | --- | --- | --- |", *rows])


def with_tables(page: str) -> str:
    """The page with what stands between its marks made anew."""
    for process, text in (("director", director_text()), ("node", node_text())):
        begin, end = f"<!-- {process} -->", f"<!-- /{process} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n\n{table_of(text)}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
