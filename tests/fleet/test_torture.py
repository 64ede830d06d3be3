"""`hall torture`: two minutes of it, one fault measured, and what it says when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.fleet, pytest.mark.xdist_group("torture")]

HALL = (sys.executable, "-m", "director.cli.main")


def torture(*arguments: str, within: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*HALL, "torture", *arguments],
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
        env=dict(os.environ),
    )


@pytest.mark.torture
@pytest.mark.timeout(660)
def test_two_minutes_of_everything_break_no_promise(tmp_path: Path) -> None:
    """What is asserted is what must hold on any machine, however busy: no figure of time."""
    ended = torture("--minutes", "2", "--seed", "4", "--json", "--keep", str(tmp_path), within=640)
    words = f"{ended.stderr}\n{ended.stdout[-2000:]}"
    assert ended.returncode == 0, words
    report = json.loads(ended.stdout)
    assert report["outcome"]["violations"] == [], words
    assert report["outcome"]["not_back"] == 0
    total = report["outcome"]["total"]
    assert total["acked"] > 100, words
    assert total["stored"] >= total["acked"]
    done = [fault for fault in report["faults"] if fault["left_out"] is None]
    assert len(done) >= 4, words
    assert sum(fault["affected"] for fault in done) > 0, "a torture that nobody feels proves nothing"
    assert (tmp_path / "history.jsonl").stat().st_size > 0
    # what was kept can be judged again
    check = subprocess.run(
        [*HALL, "check", str(tmp_path / "history.jsonl"), "--store", f"sqlite+aiosqlite:///{tmp_path}/store.sqlite3"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.timeout(300)
def test_to_measure_a_fault_it_comes_once_over_all_members_and_its_figures_are_told() -> None:
    """Light members beside stock ones, all rooms on the node that is broken: as the README's figures are taken."""
    crowd = ("--members", "40", "--rooms", "2", "--one-node")
    ended = torture("--once", "--faults", "kill", "--minutes", "0.2", *crowd, "--json", within=290)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    (kill,) = report["faults"]
    assert kill["affected"] + kill["dropped"] >= 40, "everybody was there"
    assert kill["back"] == kill["affected"]
    assert {room["members"] for room in report["outcome"]["rooms"]} == {20}
    assert f"kill node-1: {kill['affected']} members lost their connection; live again: 50 %" in ended.stderr


def test_an_unknown_fault_is_named_with_those_there_are() -> None:
    ended = torture("--faults", "kill,flood", within=60)
    assert ended.returncode == 2
    assert "flood" in ended.stderr
    assert "cut-redis" in ended.stderr
