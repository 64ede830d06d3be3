"""Figures, records, tables and charts of the benches; and what stands in the checkout."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench import chart, tables
from tests.bench.__main__ import benches
from tests.bench.figures import figure, figures_of, number, report
from tests.bench.results import Record, read_all, write
from tests.bench.servers import BARE, HALL

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
MACHINE = {
    "date": "2026-11-22 10:00 UTC",
    "processor": "a processor",
    "memory_gb": 16,
    "sync_ms": 1.5,
    "system": "Linux",
    "python": "3.11",
    "packages": {"uvicorn": "0.54.0"},
    "tools": {"cc": "cc 12"},
    "commit": "abc1234",
}
PAGE = "\n".join(
    f"<!-- {name}: made by make bench-chart -->\nold\n<!-- end of {name} -->"
    for name in ("machine", "misses", "results")
)


def recorded(bench: str, result: dict[str, Any]) -> dict[str, Record]:
    return {bench: Record(bench, 7, MACHINE, result)}


def test_the_median_is_judged() -> None:
    slow_once = figure("a delivery", "µs", [1.0, 9.0, 2.0], at_most=5.0)
    assert slow_once.is_met
    assert slow_once.spread == "2 (1 to 9)"
    assert slow_once.verdict == "met: at most 5"
    assert figure("a delivery", "µs", [6.0, 9.0, 2.0], at_most=5.0).verdict == "MISSED: at most 5"
    assert not figure("answers", "/s", [3_999.0], at_least=4_000.0).is_met
    assert figure("answers", "/s", [1.0]).is_met is None


def test_figures_survive_the_record(tmp_path: Path) -> None:
    given = [figure("answers", "/s", [5_000.0, 4_000.0], at_least=4_000.0, note="kept connections")]
    write(Record("route", 7, MACHINE, report(given, notes=["a note"])), tmp_path)
    read = read_all(tmp_path)["route"]
    assert read.figures == tuple(given)
    assert read.machine == MACHINE


def test_a_bench_that_knows_no_figures_is_shown_by_its_numbers() -> None:
    shown = figures_of({"p99_ms": 7.5, "rows": 1_000_000, "is_fine": True, "words": "hello"})
    assert [(it.what, it.median) for it in shown] == [("p99_ms", 7.5), ("rows", 1_000_000)]


def test_numbers_show_three_digits_that_count() -> None:
    assert [number(it) for it in (0.01234, 1.234, 12.34, 123.4, 12_345.6, 20.0)] == [
        *("0.0123", "1.23", "12.3", "123", "12,346", "20")
    ]


def test_a_page_gets_its_tables_and_names_each_miss() -> None:
    figures = [figure("met one", "µs", [1.0], at_most=2.0), figure("missed one", "µs", [3.0], at_most=2.0)]
    page = tables.with_tables(PAGE, recorded("joins", report(figures, notes=["left out: a peer"])))
    misses = page.partition("<!-- misses")[2].partition("<!-- end of misses")[0]
    assert "missed one: 3 µs, target at most 2" in misses
    assert "met one" not in misses
    assert "| met one | 1 µs | at most 2 | met |" in page
    assert "- left out: a peer" in page
    assert "old" not in page
    assert tables.with_tables(page, recorded("joins", report(figures, notes=["left out: a peer"]))) == page


def test_a_page_without_a_place_for_its_tables_is_refused() -> None:
    with pytest.raises(tables.NoMarks):
        tables.with_tables("# Benchmarks", {})


def test_a_chart_has_a_bar_for_each_server_in_proportion() -> None:
    runs = [
        {"server": name, "members": 1_000, "rate": 20.0, "us": us, "us_join": 1.0, "kb_member": 1.0}
        for name, us in ((BARE, 5.0), (HALL, 10.0))
    ]
    root = ElementTree.fromstring(chart.delivery_chart(recorded("delivery", report([], runs=runs))))
    bars = [it for it in root.iter(f"{SVG}rect") if "bar" in it.attrib["class"]]
    widths = [float(it.attrib["width"]) for it in bars]
    assert [it.attrib["class"] for it in bars] == ["bar", "bar ours"]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert {"bare loop", "lecturehall", "5", "10"} <= {it.text for it in root.iter(f"{SVG}text")}


def test_a_chart_can_be_drawn_of_nothing_and_of_odd_words() -> None:
    ElementTree.fromstring(chart.joins_chart({}))
    bar = chart.Bar('<b> & "c"', [0.0])
    root = ElementTree.fromstring(chart.drawing("a < b", "c & d", [chart.Panel("e > f", [bar])]))
    assert '<b> & "c"' in {it.text for it in root.iter(f"{SVG}text")}


def test_every_bench_is_found_and_peers_wait_to_be_named() -> None:
    found = benches()
    assert {
        "acks",
        "commit",
        "delivery",
        "frames",
        "joins",
        "largest_room",
        "ring",
        "route",
        "storm",
        "tickets",
    } <= {name for name, by_default in found.items() if by_default}
    assert found["peers_beside"] is False
    assert not {"chart", "crowd", "tables", "figures", "__main__"} & set(found)


def test_the_checkouts_page_has_a_place_for_every_table() -> None:
    page = (ROOT / "BENCHMARKS.md").read_text()
    assert tables.with_tables(page, {})


def test_the_peers_lock_file_names_versions_and_no_place_to_get_them_from() -> None:
    lock = json.loads((Path(__file__).parent / "peers" / "package-lock.json").read_text())
    packages = {name: facts for name, facts in lock["packages"].items() if name}
    assert packages["node_modules/socket.io"]["version"] == "4.8.4"
    assert all("integrity" in facts and "resolved" not in facts for facts in packages.values())
