"""`hall replay` against real processes: a node is killed in the middle, and every promise still holds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loadtest.contract.history import Acked, Admitted, events_in
from loadtest.report import Report
from tests.support.fleet import Fleet, running_fleet

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(nodes=2, data=tmp_path_factory.mktemp("fleet")) as running:
        yield running


def hall(*words: str) -> "subprocess.Popen[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HALL_")}
    command = [sys.executable, "-m", "director.cli.main", *words]
    return subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def at(fleet: Fleet) -> list[str]:
    return ["--director", fleet.director_url, "--data", str(fleet.data)]


def chat(path: Path, *, minutes: int, users: int = 8) -> Path:
    with path.open("w") as file:
        for number in range(minutes * 10):
            said = {"minute": number // 10, "user": f"u{number % users}", "text": f"줄 {number} <b>👍</b>"}
            file.write(msgspec.json.encode(said).decode() + "\n")
    return path


def test_a_replay_holds_though_a_node_is_killed_in_the_middle(fleet: Fleet, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    lines = chat(tmp_path / "chat.jsonl", minutes=12)
    words = ["--room", "torn", "--rooms", "2", "--speed", "60", "--members", "10", "--record", str(history)]
    replay = hall("replay", str(lines), *words, "--drops", "0.3", *at(fleet), "--json")
    fleet.wait_until(lambda: _has(history, Acked, more_than=40), "messages are acked")
    killed = _node_of(history)
    fleet.kill(killed)
    said, shown = replay.communicate(timeout=200)
    report = msgspec.json.decode(said, type=Report)
    assert replay.returncode == 0, shown
    assert report.holds
    assert report.violations == ()
    assert report.not_back == 0
    total = report.total
    assert (total.members, total.sent, total.acked, total.stored) == (20, 240, 240, 240)
    assert total.delivered == 10 * 240
    assert total.resumed > 6  # those who were cut by plan, and those whose node died
    assert "It holds, judged by the store" in shown

    check = hall("check", str(history), *at(fleet))
    said, _ = check.communicate(timeout=60)
    assert check.returncode == 0, said


def test_a_history_that_claims_too_much_does_not_hold(fleet: Fleet, tmp_path: Path) -> None:
    """The end of the chain is tested, too: one false ack in a true history, and `hall check` says so."""
    history = tmp_path / "history.jsonl"
    replay = hall("replay", "--room", "liar", "--rooms", "1", "--speed", "9000", "--members", "4", *at(fleet),
                  "--drops", "0", "--record", str(history))  # fmt: skip
    said, shown = replay.communicate(timeout=120)
    assert replay.returncode == 0, said + shown
    with history.open("rb") as lines:
        ack = next(event for event in events_in(lines, name="history") if isinstance(event, Acked))
    with history.open("ab") as file:
        file.write(msgspec.json.encode(msgspec.structs.replace(ack, cid="never stored")) + b"\n")
    check = hall("check", str(history), *at(fleet), "--json")
    said, shown = check.communicate(timeout=60)
    assert check.returncode == 1
    report = msgspec.json.decode(said, type=Report)
    assert [violation.promise for violation in report.violations] == ["ACK_NOT_STORED"]
    assert "It does not hold" in shown


def test_without_a_store_in_reach_the_rooms_own_history_is_the_judge(fleet: Fleet, tmp_path: Path) -> None:
    words = ["--room", "far", "--rooms", "2", "--speed", "9000", "--members", "3", "--drops", "0"]
    replay = hall("replay", *words, "--director", fleet.director_url, "--data", str(tmp_path))
    said, shown = replay.communicate(timeout=120)
    assert replay.returncode == 0, said + shown
    assert "the rooms' own history" in " ".join(said.split())


def test_what_cannot_be_replayed_is_said_plainly(tmp_path: Path) -> None:
    broken = tmp_path / "chat.jsonl"
    broken.write_text('{"minute": 0, "user": "a", "text": "x"}\n{"minute": "soon"}\n')
    for words, reason in (
        ([str(broken)], "line 2"),
        ([str(tmp_path / "missing.jsonl")], "No such file"),
        (["--director", "http://127.0.0.1:1"], "no director answers"),
    ):
        replay = hall("replay", *words)
        _, shown = replay.communicate(timeout=60)
        assert replay.returncode == 2
        assert reason in " ".join(shown.split())


def _has(history: Path, kind: type[Acked], *, more_than: int) -> bool:
    if not history.exists():
        return False
    with history.open("rb") as lines:
        return sum(isinstance(event, kind) for event in events_in(lines, name="history")) > more_than


def _node_of(history: Path) -> str:
    with history.open("rb") as lines:
        return next(event.node for event in events_in(lines, name="history") if isinstance(event, Admitted))
