"""DESIGN.md's table of what stops and what goes on: every cell names a test, and that test is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADING = "## 7. What stops, what goes on"
COLUMNS = ("deliver", "ack", "come back", "new rooms", "told")
STOPS = (
    "node, killed",
    "node, frozen",
    "node's machine",
    "way to Redis",
    "way to the store",
    "way to its clients",
    "Redis, silent",
    "Redis, killed",
    "Redis, wiped",
    "Redis, failed over",
    "one director",
    "all directors",
    "steward",
    "locked",
    "disk",
    "server, silent or killed",
    "wall clocks",
    "hall up",
)


def section() -> str:
    page = (ROOT / "DESIGN.md").read_text()
    return page.split(HEADING, 1)[1].split("\n## ", 1)[0]


def rows() -> list[list[str]]:
    lines = [line for line in section().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named() -> dict[str, tuple[str, str]]:
    """Which test, of which file, a link stands for."""
    found = re.findall(r'^\[([a-z-]+)\]: (\S+) "(\w+)"$', section(), re.MULTILINE)
    return {name: (file, test) for name, file, test in found}


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(
        it.name
        for it in ast.walk(tree)
        if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef) and it.name.startswith("test_")
    )


def test_every_part_that_can_stop_has_a_row_and_every_promise_a_column() -> None:
    head, _, *body = rows()
    assert len(head) == 1 + len(COLUMNS)
    assert all(word in cell for word, cell in zip(COLUMNS, head[1:], strict=True))
    first = "\n".join(row[0] for row in body)
    assert [stop for stop in STOPS if stop not in first] == []


@pytest.mark.parametrize("row", rows()[2:], ids=lambda row: row[0])
def test_every_cell_names_a_test(row: list[str]) -> None:
    assert len(row) == 1 + len(COLUMNS)
    links = named()
    for cell in row[1:]:
        used = re.findall(r"\[[^\]]+\]\[([a-z-]+)\]", cell)
        assert used, f"{row[0]}: {cell!r} names no test"
        assert set(used) <= links.keys(), cell


@pytest.mark.parametrize(("file", "test"), named().values(), ids=lambda word: word)
def test_a_test_that_is_named_is_there(file: str, test: str) -> None:
    assert file.startswith("tests/")
    assert test in names_in(file)


def test_no_test_is_named_in_vain() -> None:
    used = set(re.findall(r"\]\[([a-z-]+)\]", section()))
    assert used == named().keys()
