"""Tables: the recorded results as Markdown, put between the marks of BENCHMARKS.md."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.bench.results import Record

TITLES = {
    "delivery": "Delivery",
    "joins": "Joins and memory",
    "largest_room": "The largest room",
    "storm": "5,000 come and go at once",
    "route": "`/route`",
    "commit": "Committed messages",
    "acks": "From send to ack",
    "bench_history": "History",
    "stuck_readers": "Members that stop reading",
    "node_death": "The death of a node",
    "planned_moves": "Planned moves",
    "peers_beside": "Peers (`make bench-peers`)",
    "ring": "The ring",
    "tickets": "Tickets",
    "frames": "Frames",
}
"""In the order in which they stand on the page; others follow by name."""


_NOTHING = "Nothing is recorded yet."


class NoMarks(Exception):
    """The page has no place for a block."""


def with_tables(page: str, records: Mapping[str, Record]) -> str:
    """The page with its blocks `machine`, `misses` and `results` made anew. Raises NoMarks."""
    for name, block in (("machine", machine(records)), ("misses", misses(records)), ("results", results(records))):
        page = _replaced(page, name, block)
    return page


def machine(records: Mapping[str, Record]) -> str:
    """On what the figures were measured: of the newest record, and what differs in others."""
    if not records:
        return _NOTHING
    newest = max(records.values(), key=lambda record: str(record.machine["date"]))
    it = newest.machine
    rows = {
        "processor": it["processor"],
        "memory": f"{it['memory_gb']} GB",
        "disk": f"4 KiB written and synced in {it['sync_ms']} ms",
        "system": it["system"],
        "Python": it["python"],
        "packages": ", ".join(f"{name} {version}" for name, version in it["packages"].items()),
        "tools": ", ".join(it["tools"].values()),
    }
    dates = sorted({str(record.machine["date"]) for record in records.values()})
    rows["measured"] = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    rows["commits"] = ", ".join(sorted({str(record.machine["commit"]) for record in records.values()}))
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def misses(records: Mapping[str, Record]) -> str:
    """Every figure whose median misses its target."""
    found = [
        f"- **{TITLES.get(name, name)}**: {it.what}: {it.spread} {it.unit}".rstrip() + f", target {it.target}"
        for name, record in _in_order(records)
        for it in record.figures
        if it.is_met is False
    ]
    return "\n".join(found) or ("None." if records else _NOTHING)


def results(records: Mapping[str, Record]) -> str:
    """All figures, bench by bench."""
    blocks = []
    for name, record in _in_order(records):
        rows = [
            f"| {it.what} | {it.spread} {it.unit} | {it.target} | {_VERDICTS[it.is_met]} |".replace("  ", " ")
            for it in record.figures
        ]
        head = [
            f"### {TITLES.get(name, name)}",
            "",
            "| | median (lowest to highest) | target | |",
            "| --- | --- | --- | --- |",
        ]
        blocks.append("\n".join([*head, *rows, *_notes_of(record.result)]))
    return "\n\n".join(blocks) or _NOTHING


_VERDICTS = {None: "", True: "met", False: "**missed**"}


def _notes_of(result: Mapping[str, Any]) -> Iterable[str]:
    notes = result.get("notes", ())
    return ["", *(f"- {note}" for note in notes)] if notes else []


def _in_order(records: Mapping[str, Record]) -> list[tuple[str, Record]]:
    places = {name: place for place, name in enumerate(TITLES)}
    return sorted(records.items(), key=lambda item: (places.get(item[0], len(places)), item[0]))


def _replaced(page: str, name: str, block: str) -> str:
    begin, end = f"<!-- {name}: made by make bench-chart -->", f"<!-- end of {name} -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise NoMarks(f"{begin} ... {end}")
    return f"{head}{begin}\n{block}\n{end}{tail}"
