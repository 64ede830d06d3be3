"""`hall up`: one command, a whole fleet, and nothing of it left when it ends, however it ends."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.fleet import (
    Fleet,
    end,
    free_port_base,
    is_alive,
    launch,
    running_fleet,
    wait_until_gone,
)

pytestmark = pytest.mark.fleet


def route(fleet: Fleet, room: str) -> httpx.Response:
    asked = {"room": room, "user": "u1", "name": "Kim", "role": "student"}
    return httpx.get(f"{fleet.director_url}/route", params=asked, trust_env=False, timeout=10)


def failed_up(*, port: int, data: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit code and the words of a `hall up` that is not to come up."""
    fleet = launch(nodes=1, data=data, port=port, env=env)
    try:
        return fleet.process.wait(timeout=60), (data / "up.out").read_text()
    finally:
        end(fleet)


def test_the_fleet_routes_and_a_killed_node_is_restarted_while_the_rest_lives_on(tmp_path: Path) -> None:
    with running_fleet(nodes=2, data=tmp_path) as fleet:
        answer = route(fleet, "math-101").json()
        assert answer["url"] in fleet.node_urls.values()
        assert f"{fleet.director_url}/?room=math-101" in (tmp_path / "up.out").read_text()

        before = fleet.pids()
        assert set(before) == {"redis", "director", "node-1", "node-2"}
        former = fleet.kill("node-1")
        new = fleet.wait_until_restarted("node-1", former=former)
        assert fleet.pids() == {**before, "node-1": new}
        assert (tmp_path / "logs" / "node-1.log").exists()


def test_a_killed_server_of_ours_comes_back_on_its_port_with_what_it_knew(tmp_path: Path) -> None:
    with running_fleet(nodes=1, data=tmp_path) as fleet:
        url, epoch = fleet.redis_url, route(fleet, "math-101").json()["epoch"]
        fleet.wait_until_restarted("redis", former=fleet.kill("redis"))
        assert fleet.redis_url == url
        fleet.wait_until(lambda: route(fleet, "math-101").status_code == 200, "the room is routed again")
        assert route(fleet, "math-101").json()["epoch"] >= epoch


def test_all_children_die_with_a_hall_up_that_is_killed(tmp_path: Path) -> None:
    with running_fleet(nodes=2, data=tmp_path) as fleet:
        pids = fleet.pids()
        fleet.process.kill()
        fleet.process.wait()
        left = [name for name, pid in pids.items() if not wait_until_gone(pid)]
        assert left == []


def test_a_killed_fleet_comes_up_again_on_its_data(tmp_path: Path) -> None:
    with running_fleet(nodes=1, data=tmp_path) as fleet:
        epoch = route(fleet, "math-101").json()["epoch"]
        pids = fleet.pids().values()
        fleet.process.kill()
        fleet.process.wait()
        assert all(wait_until_gone(pid) for pid in pids)
    with running_fleet(nodes=1, data=tmp_path) as fleet:
        fleet.wait_until(lambda: route(fleet, "math-101").status_code == 200, "the room is routed again")
        assert route(fleet, "math-101").json()["epoch"] >= epoch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_the_fleet_in_order_within_seconds(tmp_path: Path, number: signal.Signals) -> None:
    with running_fleet(nodes=2, data=tmp_path) as fleet:
        pids = fleet.pids()
        fleet.process.send_signal(number)
        assert fleet.process.wait(timeout=15) == 0
        assert [name for name, pid in pids.items() if is_alive(pid)] == []
        assert "was killed" not in (tmp_path / "up.out").read_text()
        assert not (tmp_path / "fleet.json").exists()


def test_a_port_in_use_is_told_at_once_with_what_to_do(tmp_path: Path) -> None:
    base = free_port_base(1)
    with socket.create_server(("127.0.0.1", base + 1001)):
        code, words = failed_up(port=base, data=tmp_path)
    assert code == 1
    assert f"port {base + 1001}" in words
    assert "--port" in words
    assert not (tmp_path / "logs").exists()  # nothing was started


def test_a_second_hall_up_on_the_same_data_is_refused_and_names_the_first(tmp_path: Path) -> None:
    with running_fleet(nodes=1, data=tmp_path) as fleet:
        process = subprocess.run(
            [sys.executable, "-m", "director.cli.main", "up", "--port", "9", "--data", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert process.returncode == 1
        assert f"process {fleet.process.pid}, {fleet.director_url}" in process.stderr
        assert "--data" in process.stderr
        assert route(fleet, "math-101").status_code == 200


def test_a_process_that_cannot_start_is_told_with_its_last_words_and_nothing_is_left(tmp_path: Path) -> None:
    code, words = failed_up(port=free_port_base(1), data=tmp_path, env={"HALL_TICKET_TTL": "soon"})
    assert code == 1
    assert "ended at its start" in words
    assert "valid number" in words
    assert not (tmp_path / "fleet.json").exists()


def test_a_redis_that_does_not_answer_is_told_at_once(tmp_path: Path) -> None:
    base = free_port_base(1)
    code, words = failed_up(port=base, data=tmp_path, env={"HALL_REDIS_URL": f"redis://:secret@127.0.0.1:{base}/0"})
    assert code == 1
    assert "HALL_REDIS_URL" in words
    assert "secret" not in words
