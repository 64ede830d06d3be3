"""`hall route`, `hall send` and `hall tail` against a real fleet, one of whose nodes dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from tests.support.fleet import Fleet, running_fleet

pytestmark = pytest.mark.fleet

HALL = (sys.executable, "-m", "director.cli.main")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(nodes=2, data=tmp_path_factory.mktemp("fleet")) as running:
        yield running


def environment(fleet: Fleet) -> dict[str, str]:
    return {**os.environ, "HALL_DIRECTOR_URL": fleet.director_url, "TZ": "UTC"}


def hall(fleet: Fleet, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*HALL, *arguments], env=environment(fleet), capture_output=True, text=True, timeout=60, check=False
    )


def test_what_is_sent_gets_the_rooms_next_number(fleet: Fleet) -> None:
    assert [hall(fleet, "send", "numbers", text).stdout for text in ("one", "two")] == ["1\n", "2\n"]


def test_route_names_the_node_and_shows_the_ticket_to_programs_only(fleet: Fleet) -> None:
    answer = msgspec.json.decode(hall(fleet, "route", "r", "--json").stdout)
    assert answer["url"] == fleet.node_urls[answer["node"]]
    shown = hall(fleet, "route", "r").stdout
    assert answer["node"] in shown
    assert answer["ticket"][:10] not in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("send", "r", "x" * 2001), ("BAD_REQUEST", "has to change")),
        (("send", "not a room", "x"), ("no room name",)),
        (("tail", "r", "--director", "http://127.0.0.1:9"), ("no director answers", "hall up")),
    ],
)
def test_an_error_says_what_is_wrong_and_what_to_do(fleet: Fleet, arguments: tuple[str, ...], words: list[str]) -> None:
    ended = hall(fleet, *arguments)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert all(part in ended.stderr for part in words), ended.stderr


def test_tail_shows_what_was_said_before_and_after_its_node_died(fleet: Fleet) -> None:
    hall(fleet, "send", "lecture", "안녕", "--name", "Kim", "--role", "lecturer")
    node = msgspec.json.decode(hall(fleet, "route", "lecture", "--json").stdout)["node"]
    tail = subprocess.Popen([*HALL, "tail", "lecture"], env=environment(fleet), stdout=subprocess.PIPE, text=True)
    assert tail.stdout is not None
    try:
        assert tail.stdout.readline().endswith(" ★ Kim: 안녕\n")
        former = fleet.kill(node)
        assert hall(fleet, "send", "lecture", "still here", "--name", "Lee").stdout == "2\n"
        assert tail.stdout.readline().endswith("   Lee: still here\n")
        fleet.wait_until_restarted(node, former=former)
        tail.send_signal(signal.SIGINT)
        assert tail.wait(timeout=30) == 0
        assert tail.stdout.read() == ""
    finally:
        tail.kill()
        tail.communicate()


def test_the_command_imports_nothing_heavy_to_show_its_help() -> None:
    code = "import sys, director.cli.main; print(*(set(sys.modules) & set(sys.argv[1:])))"
    heavy = ("httpx", "redis", "socketio", "sqlalchemy", "msgspec", "asyncio", "uvicorn", "locust")
    ended = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "\n"
