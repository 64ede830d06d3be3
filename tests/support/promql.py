"""PromQL: reads a query as far as it takes to say that it is one, and which metrics and labels it names.

The grammar is Prometheus' own (prometheus.io/docs/prometheus/latest/querying/basics) without what our queries do not
use: subqueries, `@`, strings as values.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<range>\[\d+(?:ms|s|m|h|d|w)\])
  | (?P<duration>\d+(?:ms|s|m|h|d|w)\b)
  | (?P<number>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)
  | (?P<name>[a-zA-Z_:][\w:]*)
  | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^(){},<>=])
    )""",
    re.VERBOSE,
)
_AGGREGATIONS = {"sum", "min", "max", "avg", "count", "group", "stddev", "topk", "bottomk", "quantile"}
_FUNCTIONS = {
    "rate": "range",
    "increase": "range",
    "irate": "range",
    "delta": "range",
    "changes": "range",
    "avg_over_time": "range",
    "max_over_time": "range",
    "min_over_time": "range",
    "histogram_quantile": "number instant",
    "clamp_min": "instant number",
    "clamp_max": "instant number",
    "abs": "instant",
    "absent": "instant",
    "vector": "number",
    "time": "",
    "label_replace": "instant string string string string",
}
_BINARY = ({"or"}, {"and", "unless"}, {"==", "!=", ">", "<", ">=", "<="}, {"+", "-"}, {"*", "/", "%"}, {"^"})


class NotPromQL(ValueError):
    """The message says where it ends to be a query."""


@dataclass(slots=True)
class Query:
    """What a query names: metrics with the labels that it selects them by, and the labels that it groups by."""

    selected: list[tuple[str, tuple[tuple[str, str, str], ...]]] = field(default_factory=list)
    grouped: set[str] = field(default_factory=set)


def query_of(text: str) -> Query:
    """The query. Raises NotPromQL."""
    reader = _Reader(text)
    reader.expression(0)
    reader.end()
    return reader.query


class _Reader:
    def __init__(self, text: str) -> None:
        self.query = Query()
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0

    def expression(self, level: int) -> str:
        """Read one; its kind: instant, range, number or string."""
        if level == len(_BINARY):
            return self._operand()
        kind = self.expression(level + 1)
        while self._peek() in _BINARY[level]:
            self._next()
            self._accept("bool")
            if self._peek() in ("on", "ignoring"):
                self._next()
                self._labels()
                if self._peek() in ("group_left", "group_right"):
                    self._next()
                    if self._peek() == "(":
                        self._labels()
            other = self.expression(level + 1)
            for it in (kind, other):
                if it not in ("instant", "number"):
                    raise self._fault(f"a {it} cannot be reckoned with")
            kind = "number" if kind == other == "number" else "instant"
        return kind

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise self._fault("nothing may follow")

    def _operand(self) -> str:
        kind, token = self._next()
        if token == "-":
            return self._operand()
        if token == "(":
            inner = self.expression(0)
            self._expect(")")
            return inner
        if kind in ("number", "string"):
            return kind
        if kind != "name":
            raise self._fault(f"{token!r} begins nothing")
        if token in _AGGREGATIONS:
            return self._aggregation(token)
        if self._peek() == "(":
            return self._call(token)
        return self._selector(token)

    def _aggregation(self, name: str) -> str:
        is_grouped = self._grouping()
        arguments = self._arguments()
        wants = ["number", "instant"] if name in ("topk", "bottomk", "quantile") else ["instant"]
        if arguments != wants:
            raise self._fault(f"{name} takes {wants}, not {arguments}")
        if not is_grouped:
            self._grouping()
        return "instant"

    def _grouping(self) -> bool:
        if self._peek() not in ("by", "without"):
            return False
        self._next()
        self.query.grouped.update(self._labels())
        return True

    def _call(self, name: str) -> str:
        if name not in _FUNCTIONS:
            raise self._fault(f"{name} is no function known here")
        wants, arguments = _FUNCTIONS[name].split(), self._arguments()
        if arguments != wants:
            raise self._fault(f"{name} takes {wants}, not {arguments}")
        return "instant"

    def _arguments(self) -> list[str]:
        self._expect("(")
        kinds: list[str] = []
        while self._peek() != ")":
            if kinds:
                self._expect(",")
            kinds.append(self.expression(0))
        self._expect(")")
        return kinds

    def _selector(self, metric: str) -> str:
        matchers: list[tuple[str, str, str]] = []
        if self._accept("{"):
            while self._peek() != "}":
                if matchers:
                    self._expect(",")
                (kind, label), (_, sign), (told, value) = self._next(), self._next(), self._next()
                if kind != "name" or sign not in ("=", "!=", "=~", "!~") or told != "string":
                    raise self._fault('a label is matched like name="value"')
                matchers.append((label, sign, value[1:-1]))
            self._expect("}")
        self.query.selected.append((metric, tuple(matchers)))
        is_range = self._at < len(self._tokens) and self._tokens[self._at][0] == "range"
        self._at += is_range
        if self._accept("offset"):
            self._next()
        return "range" if is_range else "instant"

    def _labels(self) -> set[str]:
        self._expect("(")
        labels: set[str] = set()
        while self._peek() != ")":
            if labels:
                self._expect(",")
            labels.add(self._next()[1])
        self._expect(")")
        return labels

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise self._fault("it ends too soon")
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, token: str) -> bool:
        is_there = self._peek() == token
        self._at += is_there
        return is_there

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise self._fault(f"{token!r} is missing before {self._peek()!r}")

    def _fault(self, why: str) -> NotPromQL:
        return NotPromQL(f"{why}: {self._text}")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, text = 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise NotPromQL(f"{text[at:]!r} cannot be read in {text}")
        at = found.end()
        kind = found.lastgroup or ""
        yield kind, found[kind]
