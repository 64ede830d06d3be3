"""What operators watch a fleet by: the queries of the dashboard, of the alert rules and of docs/METRICS.md."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.figures import PAGE, Family
from tests.support.promql import Query, query_of

DEPLOY = PAGE.parents[1] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "lecturehall.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
OPERATIONS = PAGE.parent / "OPERATIONS.md"

_TARGET_LABELS = {"instance", "job"}
_OPEN_LABELS = {"node", "incarnation"}
_VARIABLES = {"$__rate_interval": "1m", "$instance": ".*"}


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule. `where` is its group."""

    where: str
    alert: str
    fields: Mapping[str, str]


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """(panel, query) of each; Grafana's variables have been replaced."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    asked = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", ())]
    asked += [(it["name"], it) for it in board["annotations"]["list"] if "expr" in it]
    for title, target in asked:
        query = target["expr"]
        for variable, value in _VARIABLES.items():
            query = query.replace(variable, value)
        yield title, query


def rules() -> list[Rule]:
    """The alert rules. The file keeps to one line a field, so that nothing more than this is needed to read it."""
    found: list[Rule] = []
    group, fields = "", dict[str, str]()
    for line in ALERTS.read_text().splitlines():
        if (
            not line.strip()
            or line.lstrip().startswith("#")
            or line in ("groups:", "    rules:", "        annotations:")
        ):
            continue
        read = re.fullmatch(r"(?:  - (?=name)|      - (?=alert)| {8}| {10})(\w+): (.+)", line)
        assert read is not None, f"{ALERTS.name}: {line!r} is not one field on one line"
        name, value = read[1], _unquoted(read[2])
        if name == "name":
            group = value
        elif name == "alert":
            fields = {}
            found.append(Rule(group, value, fields))
        else:
            fields[name] = value
    return found


def page_queries() -> list[str]:
    """Those of docs/METRICS.md that it gives as examples."""
    told = PAGE.read_text().partition("## Reading them")[2]
    return re.findall(r"^\|[^|`]*(?:`[^`]*`[^|`]*)?\| `(.*)` \|$", told, re.MULTILINE)


def names_nothing_unknown(query: str, known: Mapping[str, Family]) -> Query:
    """The query, if it is one and every metric, label and value in it is known; AssertionError says what is not."""
    read = query_of(query)
    by_sample = {sample: family for family in known.values() for sample in family.samples}
    labels: set[str] = set()
    for metric, matchers in read.selected:
        if metric == "up":
            labels |= _TARGET_LABELS
            continue
        assert metric in by_sample, f"nobody tells {metric}: {query}"
        its = by_sample[metric].labels
        labels |= its.keys() | _TARGET_LABELS
        for label, sign, value in matchers:
            assert label in its or label in _TARGET_LABELS, f"{metric} has no {label}: {query}"
            if label in its and label not in _OPEN_LABELS and label != "le":
                values = value.split("|") if sign in ("=~", "!~") else [value]
                unknown = set(values) - its[label]
                assert not unknown, f"{metric} never has {label}={unknown}: {query}"
    assert read.grouped <= labels, f"no metric has {read.grouped - labels}: {query}"
    return read


def _unquoted(value: str) -> str:
    return value[1:-1].replace("''", "'") if value.startswith("'") and value.endswith("'") else value
