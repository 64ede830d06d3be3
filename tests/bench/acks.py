"""Acks: from send to ack at 500 messages a second over many rooms; and three nodes on one SQLite file at 300 each."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from tests.bench.crowd import crowd
from tests.bench.figures import Figure, figure, repeats, report, seconds
from tests.bench.processes import allow_many_files, used_by
from tests.bench.servers import hall
from tests.bench.stores import POSTGRESQL, SQLITE, NoStore, fresh_store
from tests.support.fleet import Fleet

ROOMS = 100
MEMBERS_A_ROOM = 3
RATE = 500.0
P99_AT_MOST = 25.0
NODES = 3
RATE_A_NODE = 300.0
ROOMS_A_NODE = 30
P99_OF_THREE_AT_MOST = 50.0
SPAN = 10.0
REPEATS = 3


def main() -> dict[str, Any]:
    """Percentiles of the span from send to ack."""
    allow_many_files()
    figures: list[Figure] = []
    notes: list[str] = []
    for kind in (SQLITE, POSTGRESQL):
        try:
            with fresh_store(kind) as url:
                runs = [_one_node(url) for _ in range(repeats(REPEATS))]
        except NoStore as error:
            notes.append(f"{kind}: left out, {error}")
            continue
        what = f"{kind}: {RATE:g}/s over {ROOMS} rooms"
        figures += _figures_of(what, runs, at_most=P99_AT_MOST)
        figures.append(figure(f"{what}: CPU of the node a message", "µs", [run["us"] for run in runs]))
    three = [run for _ in range(repeats(REPEATS)) for run in _three_nodes()]
    what = f"{SQLITE}: {NODES} nodes on one file, {RATE_A_NODE:g}/s each"
    figures += _figures_of(what, three, at_most=P99_OF_THREE_AT_MOST)
    return report(figures, notes=notes, runs=three)


def _figures_of(what: str, runs: Sequence[dict[str, Any]], *, at_most: float) -> list[Figure]:
    return [
        figure(f"{what}: send to ack, p50", "ms", [run["ack"]["p50_ms"] for run in runs]),
        figure(f"{what}: send to ack, p99", "ms", [run["ack"]["p99_ms"] for run in runs], at_most=at_most),
        figure(f"{what}: send to ack, longest", "ms", [run["ack"]["max_ms"] for run in runs]),
        figure(f"{what}: acked", "%", [100 * run["acked"] / max(1, run["sent"]) for run in runs], at_least=100.0),
    ]


def _one_node(store_url: str) -> dict[str, Any]:
    with hall(env={"HALL_STORE_URL": store_url}, pinned=False) as fleet:
        rooms = [f"bench-{uuid4().hex[:8]}" for _ in range(ROOMS)]
        count = ROOMS * MEMBERS_A_ROOM
        with crowd(dialect="hall", port=fleet.port, rooms=rooms) as they:
            they.open(count)
            they.begin_send(rate=RATE, seconds=seconds(2.0), senders=count, watchers=count)
            they.end_send(within=30)
            pid = fleet.pid_of("node-1")
            before = used_by(pid)
            they.begin_send(rate=RATE, seconds=seconds(SPAN), senders=count, watchers=count)
            sent = they.end_send(within=60)
            return {**sent, "us": (used_by(pid).cpu - before.cpu) / max(1, sent["sent"]) * 1e6}


def _three_nodes() -> list[dict[str, Any]]:
    """One crowd for each node, all at once."""
    with hall(nodes=NODES, pinned=False) as fleet, ExitStack() as stack:
        crowds = [
            stack.enter_context(crowd(dialect="hall", port=fleet.port, rooms=rooms)) for rooms in _rooms_of(fleet)
        ]
        count = ROOMS_A_NODE * MEMBERS_A_ROOM
        for they in crowds:
            they.open(count)
        for span in (2.0, SPAN):
            for they in crowds:
                they.begin_send(rate=RATE_A_NODE, seconds=seconds(span), senders=count, watchers=count)
            sent = [they.end_send(within=60) for they in crowds]
        return sent


def _rooms_of(fleet: Fleet) -> list[list[str]]:
    """For each node as many rooms as it is to have."""
    found: dict[int, list[str]] = {}
    with httpx.Client(base_url=fleet.director_url, trust_env=False) as client:
        while len(found) < NODES or min(map(len, found.values())) < ROOMS_A_NODE:
            room = f"bench-{uuid4().hex[:8]}"
            answer = client.get("/route", params={"room": room, "user": "u", "name": "u", "role": "student"})
            if answer.status_code == 200:
                found.setdefault(urlsplit(answer.json()["url"]).port or 0, []).append(room)
    return [rooms[:ROOMS_A_NODE] for rooms in found.values()]


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
