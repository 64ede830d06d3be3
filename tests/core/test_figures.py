"""What is written about figures is true: the page that lists them, the dashboard and the alert rules."""

import re

import pytest

from tests.support import figures
from tests.support.figures import PAGE, Family, director_text, families_of, node_text
from tests.support.promql import NotPromQL, query_of
from tests.support.watching import OPERATIONS, dashboard_queries, names_nothing_unknown, page_queries, rules

SEVERITIES = {"critical", "warning", "info"}


@pytest.fixture(scope="module")
def known() -> dict[str, Family]:
    return families_of(director_text()) | families_of(node_text())


def test_the_page_lists_every_figure_as_it_is() -> None:
    page = PAGE.read_text()
    assert page == figures.with_tables(page), "run: python -m tests.support.figures"


def test_every_figure_says_what_it_tells_and_in_which_unit(known: dict[str, Family]) -> None:
    ours = {name: family for name, family in known.items() if name.startswith("hall_")}
    assert len(ours) > 50
    for name, family in ours.items():
        assert name.startswith(("hall_director_", "hall_node_")), name
        assert len(family.meaning) >= 10, name
        if "_seconds" in name:
            assert "econds" in family.meaning, name
        assert not {"room", "user", "member"} & family.labels.keys(), f"{name} would grow with the fleet"


def test_every_query_of_the_dashboard_asks_for_figures_that_are_told(known: dict[str, Family]) -> None:
    asked = list(dashboard_queries())
    assert len(asked) > 60
    for title, query in asked:
        assert names_nothing_unknown(query, known).selected, title


def test_the_dashboard_shows_nearly_all_that_is_told(known: dict[str, Family]) -> None:
    asked = " ".join(query for _, query in dashboard_queries())
    unseen = {name for name in known if name.startswith("hall_") and name not in asked}
    assert unseen <= {
        "hall_node_info",
        "hall_node_connections",
        "hall_director_rooms",
        "hall_director_operations_total",
    }


def test_every_rule_asks_for_figures_that_are_told(known: dict[str, Family]) -> None:
    assert len(rules()) >= 20
    for rule in rules():
        assert names_nothing_unknown(rule.fields["expr"], known).selected, rule.alert


def test_every_rule_says_for_how_long_how_bad_and_what_to_do() -> None:
    for rule in rules():
        assert re.fullmatch(r"\d+[sm]", rule.fields["for"]), rule.alert
        severity = re.fullmatch(r"\{severity: (\w+)\}", rule.fields["labels"])
        assert severity is not None, rule.alert
        assert severity[1] in SEVERITIES, rule.alert
        assert rule.fields["summary"], rule.alert
        assert len(rule.fields["action"]) > 20, rule.alert


def test_every_rule_has_its_chapter_in_the_runbook_and_every_chapter_its_rule() -> None:
    chapters = set(re.findall(r"^### (\w+)$", OPERATIONS.read_text(), re.MULTILINE))
    assert {rule.alert for rule in rules()} == chapters
    for rule in rules():
        assert rule.fields["runbook"] == f"docs/OPERATIONS.md#{rule.alert.lower()}"


def test_the_page_s_own_queries_ask_for_figures_that_are_told(known: dict[str, Family]) -> None:
    assert len(page_queries()) >= 8
    for query in page_queries():
        names_nothing_unknown(query, known)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "rate(hall_node_entries_total)",
        "sum(rate(hall_node_entries_total[5m])",
        "sum by le (hall_node_rooms)",
        "histogram_quantile(sum(hall_node_rooms), 0.9)",
        'hall_node_mode{mode="calm"',
        "hall_node_mode{mode=calm}",
        "hall_node_rooms[5m] > 3",
        "median(hall_node_rooms)",
        "hall_node_rooms hall_node_members",
        "hall_node_rooms >",
        "hall_node_rooms & 1",
    ],
)
def test_what_is_no_query_is_found_out(query: str) -> None:
    with pytest.raises(NotPromQL):
        query_of(query)


@pytest.mark.parametrize(
    "query",
    [
        "sum(hall_node_gone)",
        'hall_node_mode{moode="calm"}',
        'hall_node_mode{mode="asleep"}',
        'hall_node_mode{mode=~"calm|asleep"}',
        "sum by (mode) (hall_node_rooms)",
    ],
)
def test_a_query_for_what_nobody_tells_is_found_out(query: str, known: dict[str, Family]) -> None:
    with pytest.raises(AssertionError):
        names_nothing_unknown(query, known)


def test_a_query_is_read_whole() -> None:
    read = query_of(
        'sum by (le) (rate(a_bucket{x="1", y=~"b|c"}[5m])) / on(z) group_left -b offset 5m > bool 1 or c{} unless (d)'
    )
    assert [metric for metric, _ in read.selected] == ["a_bucket", "b", "c", "d"]
    assert read.selected[0][1] == (("x", "=", "1"), ("y", "=~", "b|c"))
    assert read.grouped == {"le"}
