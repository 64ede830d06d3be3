"""`hall load`: Locust in a process of its own against real processes, with the same check at its end."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from loadtest.report import Report
from tests.support.fleet import running_fleet

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.timeout(180),
    pytest.mark.skipif(find_spec("locust") is None, reason="the dependency group `load` is not installed"),
]


def test_a_bell_of_students_is_checked_and_reported(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HALL_")}
    with running_fleet(nodes=2, data=tmp_path / "fleet") as fleet:
        words = ["load", "bell", "--students", "20", "--minutes", "0.2", "--rooms", "2", "--json"]
        where = ["--director", fleet.director_url, "--data", str(fleet.data), "--reports", str(tmp_path / "reports")]
        command = [sys.executable, "-m", "director.cli.main", *words, *where]
        done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    report = msgspec.json.decode(done.stdout, type=Report)
    assert report.holds
    assert report.total.members == 22  # the students, and a lecturer in each room
    assert report.total.acked > 0
    assert report.total.delivered > report.total.acked
    (folder,) = (tmp_path / "reports").iterdir()
    assert {"load.html", "load_stats.csv", "history.jsonl"} <= {file.name for file in folder.iterdir()}
    stats = (folder / "load_stats.csv").read_text()
    for kind in ("GET,/route", "join,join", "send,send", "deliver,entry"):
        assert kind in stats
