"""`hall torture --store postgres`: two minutes of it with a server that is stopped, killed and cut off."""

import json
import sys
from pathlib import Path
from subprocess import run

import pytest

from director.own_postgres import NoPostgresBinaries, postgres_binaries

HALL = (sys.executable, "-m", "director.cli.main")


def has_postgres() -> bool:
    try:
        return bool(postgres_binaries())
    except NoPostgresBinaries:
        return False


@pytest.mark.fleet
@pytest.mark.torture
@pytest.mark.timeout(660)
@pytest.mark.skipif(not has_postgres(), reason="no PostgreSQL server is installed")
def test_two_minutes_of_everything_break_no_promise(tmp_path: Path) -> None:
    command = (*HALL, "torture", "--store", "postgres", "--minutes", "2", "--seed", "4", "--json")
    ended = run([*command, "--keep", str(tmp_path)], capture_output=True, text=True, timeout=640, check=False)
    words = f"{ended.stderr}\n{ended.stdout[-2000:]}"
    assert ended.returncode == 0, words
    report = json.loads(ended.stdout)
    assert report["outcome"]["violations"] == [], words
    assert report["outcome"]["not_back"] == 0
    assert report["outcome"]["total"]["acked"] > 100, words
    done = [fault for fault in report["faults"] if fault["left_out"] is None]
    assert len(done) >= 4, words
