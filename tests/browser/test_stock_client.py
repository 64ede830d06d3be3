"""The stock JavaScript client in Node against a running fleet, with nothing but the protocol's page."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet
from tests.support.lecture import Hall

SCRIPT = Path(__file__).with_name("js") / "stock_members.mjs"
EACH = 60

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def conversation(node: str, fleet: Hall, room: str, mode: str) -> dict[str, Any]:
    run = subprocess.run(
        [node, str(SCRIPT), fleet.director_url, room, mode], capture_output=True, text=True, timeout=90, check=False
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}\n{fleet.output()}"
    told: dict[str, Any] = json.loads(run.stdout)
    return told


@pytest.mark.parametrize("mode", ["upgrade", "polling", "websocket"])
def test_stock_members_see_one_order_without_a_hole(stock_client: str, fleet: Fleet, mode: str) -> None:
    """They talk at once, one comes in the middle of it, one leaves, misses some, resumes and gets exactly that;
    refusals carry their data, and what is binary or unknown its error."""
    assert_one_order(conversation(stock_client, fleet, f"stock-{mode}", mode), mode)


def assert_one_order(told: dict[str, Any], mode: str) -> None:
    """What the script told is what the protocol promises."""
    ada, bob, cat, back = (told[name] for name in ("ada", "bob", "cat", "back"))

    assert ada["seqs"] == list(range(1, 2 * EACH + 7))
    assert bob["seqs"] + back["seqs"] == ada["seqs"]
    assert bob["texts"] + back["texts"] == ada["texts"]
    assert (bob["recovered"], back["recovered"]) == (False, True)
    assert cat["seqs"] == ada["seqs"][cat["seqs"][0] - 1 :]
    assert cat["texts"] == ada["texts"][cat["seqs"][0] - 1 :]
    for member in (ada, bob, cat, back):
        assert member["events"][:2] == ["connect", "joined"]
        assert set(member["events"][2:]) <= {"frame"}

    assert all(ack["ok"] for ack in told["acks"])
    assert sorted(ack["seq"] for ack in told["acks"]) == ada["seqs"]
    for member in (ada, cat):
        assert member["transport"] == ("polling" if mode == "polling" else "websocket")

    for refusal in (told["forged"], told["missing"]):
        error = refusal["data"]["error"]
        assert (refusal["message"], error["code"], error["action"]) == ("TICKET_INVALID", "TICKET_INVALID", "reroute")
    assert told["binary"]["error"]["code"] == "BAD_REQUEST"
    assert told["unknownBinary"]["error"]["code"] == "UNSUPPORTED"
    assert [person["id"] for person in told["after"]["members"]] == ["ada", "bob", "cat"]
    assert told["unknown"]["error"]["code"] == "UNSUPPORTED"
    assert told["malformed"]["error"]["code"] == "BAD_REQUEST"
