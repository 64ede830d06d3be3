"""Figures: what a bench reports, each with its spread over the repeats and, where there is one, its target."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `is_met` is None where there is no target; otherwise the median is judged."""

    what: str
    unit: str
    low: float
    median: float
    high: float
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"at most {number(self.at_most)}"
        return "" if self.at_least is None else f"at least {number(self.at_least)}"

    @property
    def spread(self) -> str:
        """The median, and the lowest and highest if there are several."""
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"

    @property
    def verdict(self) -> str:
        """Whether the target is met, and what it is; empty where there is none."""
        return "" if self.is_met is None else f"{'met:' if self.is_met else 'MISSED:'} {self.target}"


def number(value: float) -> str:
    """A figure with three digits that count."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def figure(
    what: str,
    unit: str,
    values: Sequence[float],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    note: str = "",
) -> Figure:
    """The figure of values that were measured in several repeats."""
    return Figure(what, unit, min(values), median(values), max(values), at_most, at_least, note)


def report(figures: Sequence[Figure], *, notes: Sequence[str] = (), runs: Sequence[Any] = ()) -> dict[str, Any]:
    """What a bench's `main` returns: JSON values."""
    return {"figures": [asdict(it) for it in figures], "notes": list(notes), "runs": list(runs)}


def figures_of(result: dict[str, Any]) -> tuple[Figure, ...]:
    """The figures of what a `main` returned; of one that knows no figures, all numbers at its top."""
    if "figures" in result:
        return tuple(Figure(**it) for it in result["figures"])
    numbers = ((name, value) for name, value in result.items() if isinstance(value, int | float))
    return tuple(Figure(name, "", value, value, value) for name, value in numbers if not isinstance(value, bool))


IS_QUICK = os.environ.get("HALL_BENCH_QUICK") == "1"
"""Whether only the harness is tried: a tenth of the members, short windows, one repeat. The figures mean little."""


def members(count: int) -> int:
    return max(10, count // 10) if IS_QUICK else count


def seconds(span: float) -> float:
    return min(span, 1.5) if IS_QUICK else span


def repeats(count: int) -> int:
    return 1 if IS_QUICK else count


def microseconds(work: Callable[[], object], *, times: int, tries: int = 7) -> list[float]:
    """Microseconds that one call takes, by several tries of `times` calls."""
    times = max(1, times // 10) if IS_QUICK else times
    spans = []
    for _ in range(repeats(tries)):
        began_at = perf_counter()
        for _ in range(times):
            work()
        spans.append((perf_counter() - began_at) / times * 1e6)
    return spans
