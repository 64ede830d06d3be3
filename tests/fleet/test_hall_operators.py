"""The operators' commands against a real fleet: what they order happens, and `hall explain` tells it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.fleet import Fleet, running_fleet
from tests.support.terminal import Terminal, in_terminal

pytestmark = pytest.mark.fleet

HALL = (sys.executable, "-m", "director.cli.main")
NODES = ("node-1", "node-2", "node-3")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(nodes=3, data=tmp_path_factory.mktemp("fleet"), env={"HALL_ROOM_LINGER": "600"}) as running:
        yield running


def environment(fleet: Fleet) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HALL_")}
    return {**clean, "HALL_DIRECTOR_URL": fleet.director_url, "HALL_DATA": str(fleet.data), "TZ": "UTC"}


def hall(fleet: Fleet, *arguments: str, code: int = 0) -> str:
    """What a command prints, as the demo's operator."""
    ended = subprocess.run(
        [*HALL, *arguments], env=environment(fleet), capture_output=True, text=True, timeout=90, check=False
    )
    assert ended.returncode == code, f"{arguments}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def told(fleet: Fleet, *arguments: str, code: int = 0) -> Any:
    return msgspec.json.decode(hall(fleet, *arguments, "--json", code=code))


def elsewhere(node: str) -> str:
    return next(name for name in NODES if name != node)


@contextmanager
def lecture(fleet: Fleet, room: str) -> Iterator[Terminal]:
    """Somebody who listens in a room as long as the block lasts."""
    with in_terminal([*HALL, "tail", room, "--user", "listener"], env=environment(fleet)) as tail:
        tail.wait_for("1 member")
        yield tail


def test_a_room_is_moved_under_its_listener_and_explain_tells_why(fleet: Fleet) -> None:
    hall(fleet, "send", "moved", "one")
    with lecture(fleet, "moved") as listener:
        before = told(fleet, "explain", "moved")
        target = elsewhere(before["owner"])
        assert told(fleet, "move", "moved", target, "--plan")["plan"]["moves"][0]["target"] == target
        assert told(fleet, "explain", "moved")["owner"] == before["owner"]

        assert "1 room" in hall(fleet, "move", "moved", target)
        after = told(fleet, "explain", "moved")
        assert (after["owner"], after["why"], after["moves"]) == (target, "ordered", before["moves"] + 1)
        assert after["epoch"] > before["epoch"]
        assert (after["past"][0]["source"], after["past"][0]["target"]) == (before["owner"], target)
        assert hall(fleet, "send", "moved", "after the move") == "2\n"
        listener.wait_for("after the move")


def test_a_drained_node_is_empty_until_it_serves_again(fleet: Fleet) -> None:
    for number in range(6):
        hall(fleet, "send", f"drained-{number}", "hello")
    node = told(fleet, "explain", "drained-0")["owner"]
    with lecture(fleet, "drained-0") as listener:
        plan = told(fleet, "drain", node, "--plan")["plan"]
        assert "drained-0" in {move["room"] for move in plan["moves"]}
        operation = told(fleet, "drain", node, "--rooms-at-a-time", "2")["operation"]
        assert (operation["state"], operation["subject"]) == ("done", node)
        assert told(fleet, "rooms", "--node", node, "--all")["rooms"] == []
        assert told(fleet, "explain", "drained-0")["why"] == "draining"
        hall(fleet, "send", "drained-0", "after the drain")
        listener.wait_for("after the drain")

    states = {it["node"]: it["state"] for it in told(fleet, "nodes")["nodes"]}
    assert states.pop(node) in ("draining", "cordoned"), "the order to drain ends a little after the drain"
    assert set(states.values()) == {"serving"}
    assert told(fleet, "uncordon", node)["state"] == "serving"
    assert operation["id"] in hall(fleet, "operations")


def test_pins_and_a_plan_that_is_run_exactly(fleet: Fleet, tmp_path: Path) -> None:
    hall(fleet, "send", "pinned", "hello")
    owner = told(fleet, "explain", "pinned")["owner"]
    target = elsewhere(owner)
    assert f"hall move pinned {target}" in hall(fleet, "pin", "pinned", target)
    assert told(fleet, "explain", "pinned")["owner"] == owner
    fleet.wait_until(lambda: told(fleet, "explain", "pinned")["pinned"] == target, "the pin is known")

    plan = tmp_path / "plan.json"
    plan.write_text(hall(fleet, "rebalance", "--plan", "--json"))
    moves = msgspec.json.decode(plan.read_bytes())["plan"]["moves"]
    assert ("pinned", target) in {(move["room"], move["target"]) for move in moves}
    done = told(fleet, "rebalance", "--from", str(plan))["operation"]
    assert [(move["room"], move["state"]) for move in done["plan"]["moves"]] == [(it["room"], "done") for it in moves]
    assert told(fleet, "explain", "pinned")["owner"] == target
    refused = told(fleet, "rebalance", "--from", str(plan), code=1)["error"]
    assert refused["code"] == "BAD_REQUEST"

    hall(fleet, "unpin", "pinned")
    fleet.wait_until(lambda: told(fleet, "explain", "pinned")["pinned"] is None, "the pin is forgotten")
    assert told(fleet, "explain", "pinned")["owner"] == target


def test_an_announced_lecture_gets_its_node_before_anybody_comes(fleet: Fleet) -> None:
    soon = datetime.now(UTC).isoformat(timespec="seconds")
    said = hall(fleet, "reserve", "announced", "--members", "3000", "--at", soon, "--minutes", "90")
    assert said.startswith("announced: 3,000 members, ")
    fleet.wait_until(lambda: told(fleet, "explain", "announced")["owner"] is not None, "the room is placed")
    explained = told(fleet, "explain", "announced")
    assert (explained["reserved"], explained["load"], explained["members"]) == (3_000, 3_000, 0)
    assert [it["room"] for it in told(fleet, "reservations")["reservations"]] == ["announced"]
    assert hall(fleet, "reserve", "announced", "--cancel") == "nothing is reserved for announced\n"
    assert told(fleet, "reservations")["reservations"] == []


def test_a_cordoned_node_keeps_what_it_has_and_what_cannot_go_anywhere_is_said(fleet: Fleet) -> None:
    hall(fleet, "send", "stuck", "hello")
    owner = told(fleet, "explain", "stuck")["owner"]
    for node in NODES:
        assert told(fleet, "cordon", node)["state"] == "cordoned"
    try:
        fleet.wait_until(lambda: told(fleet, "explain", "stuck")["would_go_to"] is None, "all cordons are known")
        assert told(fleet, "explain", "stuck")["owner"] == owner
        assert "stuck" in told(fleet, "drain", owner, "--plan", code=4)["plan"]["stranded"]
        assert told(fleet, "move", "stuck", elsewhere(owner), code=1)["error"]["code"] == "BAD_REQUEST"
    finally:
        for node in NODES:
            hall(fleet, "uncordon", node)
    assert told(fleet, "explain", "stuck")["owner"] == owner


def test_what_does_not_exist_is_refused_with_what_does(fleet: Fleet) -> None:
    message = told(fleet, "cordon", "node-9", code=1)["error"]["message"]
    assert "node-1, node-2, node-3" in message
    assert told(fleet, "move", "nobodys-room", "node-1", code=1)["error"]["code"] == "BAD_REQUEST"
    assert told(fleet, "nodes", "--token", "wrong", code=1)["error"]["code"] == "UNAUTHENTICATED"
    assert told(fleet, "operations", "no-such", code=1)["error"]["code"] == "BAD_REQUEST"


def test_the_shell_completes_what_is_there(fleet: Fleet) -> None:
    line = {"_HALL_COMPLETE": "complete_bash", "COMP_WORDS": "hall drain node-", "COMP_CWORD": "2"}
    script = "from director.cli.main import app; app(prog_name='hall')"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment(fleet), **line},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout.split() == list(NODES)
