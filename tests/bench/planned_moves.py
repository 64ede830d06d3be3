"""Planned moves under load: a room of 1,000 members, a node with 50 rooms and 2,000 members, and all nodes in turn."""

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any
from urllib.request import Request, urlopen

from director.shared_secret import ADMIN_TOKEN, shared_secret
from tests.bench.crowd import Crowd, CrowdFailed, crowd
from tests.bench.figures import Figure, figure, members, repeats, report
from tests.bench.processes import allow_many_files
from tests.bench.servers import hall
from tests.support.fleet import Fleet, wait_until_gone

NODES = 3
MOVES = 10
ROOM_MEMBERS = 1_000
DRAINED_ROOMS, DRAINED_MEMBERS = 50, 2_000
RATE = 50.0
WITHIN = 120.0
_LOOK_EVERY = 0.1


def main() -> dict[str, Any]:
    """How long nobody's message is answered, how soon members are live elsewhere, and what is lost on the way."""
    allow_many_files()
    moves, drains, restarts = _moves(), _drain(), _rolling_restart()
    return report([*_told_of("a move", moves), *_told_of("a drain", drains), *_told_of("a rolling restart", restarts)])


def _told_of(what: str, runs: Sequence[Mapping[str, float]]) -> Iterator[Figure]:
    def of(name: str) -> list[float]:
        return [run[name] for run in runs]

    if what == "a move":
        yield figure(f"{what}: members of the room", "", of("moved"), at_least=float(members(ROOM_MEMBERS)))
        yield figure(f"{what}: from the last ack there to the first ack here", "ms", of("pause_ms"))
        yield figure(f"{what}: the same, 99 % of the moves", "ms", [_p99(of("pause_ms"))], at_most=500.0)
        yield figure(f"{what}: from its slot until 99 % of the members are live", "ms", of("p99_ms"), at_most=1_500.0)
    elif what == "a drain":
        yield figure(f"{what}: rooms of the node", "", of("rooms"), at_least=float(members(DRAINED_ROOMS)))
        yield figure(f"{what}: members of the node", "", of("moved"), at_least=0.95 * members(DRAINED_MEMBERS))
        yield figure(f"{what}: until the last member is live elsewhere", "s", of("seconds"), at_most=30.0)
    else:
        yield figure(f"{what} of {NODES} nodes: takes", "s", of("seconds"))
        yield figure(f"{what} of {NODES} nodes: members moved", "", of("moved"))
    yield figure(f"{what}: members lost without a word", "", of("dropped"), at_most=0.0)
    yield figure(f"{what}: members that are not live afterwards", "", of("missing"), at_most=0.0)
    yield figure(f"{what}: given all that they missed", "%", of("recovered"), at_least=100.0)
    yield figure(f"{what}: entries out of order, twice or missing", "", of("holes"), at_most=0.0)


def _p99(values: Sequence[float]) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(0.99 * len(ranked)))]


def _moves() -> list[dict[str, float]]:
    count, runs = members(ROOM_MEMBERS), []
    with _lecture(["lecture"], count) as (fleet, they):
        for _ in range(max(3, MOVES * repeats(1))):
            source = _owner_of(fleet, "lecture")
            target = next(f"node-{it}" for it in range(1, NODES + 1) if f"node-{it}" != source)
            they.begin_return(within=WITHIN, count=count)
            _ask(fleet, "POST", "/admin/rooms/lecture/move", {"to": target})
            back = they.end_return(within=WITHIN + 10)
            runs.append(_run_of(back) | {"pause_ms": back["pauses"]["max_ms"], "p99_ms": back["took"]["p99_ms"]})
            they.look_on(1.0)
    return runs


def _drain() -> list[dict[str, float]]:
    rooms = [f"lecture-{number}" for number in range(members(DRAINED_ROOMS))]
    with _lecture(rooms, members(DRAINED_MEMBERS)) as (fleet, they):
        for node in ("node-2", "node-3"):  # all rooms on the first one
            _drained(fleet, they, node)
        for node in ("node-2", "node-3"):
            _ask(fleet, "POST", f"/admin/nodes/{node}/uncordon")
        owned = sum(_owner_of(fleet, room) == "node-1" for room in rooms)
        began_at = monotonic()
        back = _drained(fleet, they, "node-1")
        return [_run_of(back) | {"rooms": float(owned), "seconds": monotonic() - began_at}]


def _rolling_restart() -> list[dict[str, float]]:
    rooms = [f"lecture-{number}" for number in range(members(DRAINED_ROOMS))]
    with _lecture(rooms, members(DRAINED_MEMBERS)) as (fleet, they):
        began_at, runs = monotonic(), []
        for number in range(1, NODES + 1):
            node = f"node-{number}"
            there = _members_on(fleet, node)
            they.begin_return(within=WITHIN, count=there)
            pid = fleet.kill(node, signal.SIGTERM)
            if not wait_until_gone(pid, within=60.0):
                raise CrowdFailed(f"{node} did not end within 60 s of SIGTERM")
            runs.append(_run_of(they.end_return(within=WITHIN + 10)))
            _wait_for_nodes(fleet)
        whole = {name: sum(run[name] for run in runs) for name in runs[0]}
        whole["recovered"] = min(run["recovered"] for run in runs)
        return [whole | {"seconds": monotonic() - began_at}]


@contextmanager
def _lecture(rooms: Sequence[str], count: int) -> Iterator[tuple[Fleet, Crowd]]:
    with hall(nodes=NODES, pinned=False) as fleet, crowd(dialect="hall", port=fleet.port, rooms=rooms) as they:
        they.open(count, rate=300, within=120)
        they.begin_send(rate=RATE, seconds=10 * WITHIN, senders=min(count, 50 * len(rooms)), watchers=count)
        they.look_on(2.0)
        yield fleet, they
        they.end_send(within=WITHIN, early=True)


def _run_of(back: Mapping[str, Any]) -> dict[str, float]:
    lost = back["lost"]
    return {
        "moved": float(back["moved"]),
        "dropped": float(lost - back["moved"]),
        "missing": float(lost - back["live"]),
        "recovered": 100 * back["recovered"] / max(1, lost),
        "holes": float(back["holes"]),
        "tries": float(back["tries"]),
    }


def _drained(fleet: Fleet, they: Crowd, node: str) -> dict[str, Any]:
    """Drain a node; what became of its members once all of them are live elsewhere."""
    they.begin_return(within=WITHIN, count=_members_on(fleet, node))
    _operate(fleet, f"/admin/nodes/{node}/drain")
    return they.end_return(within=WITHIN + 10)


def _operate(fleet: Fleet, path: str) -> None:
    """Start an operation and wait until it is done."""
    started = _ask(fleet, "POST", path, {})
    deadline = monotonic() + WITHIN
    while monotonic() < deadline:
        operation = _ask(fleet, "GET", f"/admin/operations/{started['operation']}")["operation"]
        if operation["state"] == "done":
            return
        if operation["state"] != "running":
            raise CrowdFailed(f"{path}: {operation['state']}, {operation['problem']}")
        sleep(_LOOK_EVERY)
    raise CrowdFailed(f"{path}: not done within {WITHIN:.0f} s")


def _owner_of(fleet: Fleet, room: str) -> str:
    return str(_ask(fleet, "GET", f"/admin/rooms/{room}")["owner"])


def _members_on(fleet: Fleet, node: str) -> int:
    nodes = _ask(fleet, "GET", "/admin/nodes")["nodes"]
    return sum(it["members"] for it in nodes if it["node"] == node)


def _wait_for_nodes(fleet: Fleet) -> None:
    deadline = monotonic() + WITHIN
    while monotonic() < deadline:
        nodes = _ask(fleet, "GET", "/admin/nodes")["nodes"]
        if sum(it["state"] == "serving" and not it["has_lapsed"] for it in nodes) == NODES:
            return
        sleep(_LOOK_EVERY)
    raise CrowdFailed("the restarted node did not come back")


def _ask(fleet: Fleet, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    token = shared_secret(fleet.data, ADMIN_TOKEN)
    request = Request(
        f"{fleet.director_url}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=10) as answer:
        return json.load(answer)


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
