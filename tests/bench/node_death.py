"""A node's death: kill -9 of a node with 2,000 members in eight rooms or more, survivors on the same machine."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.request import urlopen

from tests.bench.crowd import CrowdFailed, crowd
from tests.bench.figures import figure, members, repeats, report
from tests.bench.processes import allow_many_files
from tests.bench.servers import hall

ROOMS = 27
IN_A_ROOM = 250
NODES = 3
RATE = 9.0
REPEATS = 3
WITHIN = 40.0


def main() -> dict[str, Any]:
    """Seconds from the kill's first sign at a member until it is live again on another node."""
    runs = [_measure() for _ in range(repeats(REPEATS))]

    def of(name: str) -> list[float]:
        return [run[name] for run in runs]

    return report(
        [
            figure("members of the node that was killed", "", of("lost"), at_least=float(members(2_000))),
            figure("in so many rooms", "", of("rooms"), at_least=8.0),
            figure("until 50 % are live again", "s", of("p50")),
            figure("until 95 % are live again", "s", of("p95"), at_most=2.0),
            figure("until all are live again", "s", of("last"), at_most=5.0),
            figure("not live again", "", of("missing"), at_most=0.0),
            figure("given all that they missed", "%", of("recovered"), at_least=100.0),
            figure("entries out of order, twice or missing", "", of("holes"), at_most=0.0),
        ],
        runs=runs,
        notes=[
            f"{ROOMS} rooms of {members(IN_A_ROOM)} on {NODES} nodes, {RATE:g} messages a second in all",
            "the members are one process of C on the same processors, and the node is started again meanwhile",
        ],
    )


def _measure() -> dict[str, float]:
    allow_many_files()
    rooms = [f"lecture-{number}" for number in range(ROOMS)]
    count = ROOMS * members(IN_A_ROOM)
    with hall(nodes=NODES, pinned=False) as fleet, crowd(dialect="hall", port=fleet.port, rooms=rooms) as they:
        they.open(count, rate=500, within=120)
        they.look_on(2.0)
        node, owned = _busiest(fleet.director_url, rooms)
        they.begin_send(rate=RATE, seconds=WITHIN, senders=ROOMS, watchers=count)
        they.look_on(2.0)
        they.begin_return(within=WITHIN)
        fleet.kill(node)
        back = they.end_return(within=WITHIN + 10)
        they.end_send(within=WITHIN, early=True)
    if not back["lost"]:
        raise CrowdFailed(f"{node} was killed, and nobody noticed")
    took = back["took"]
    return {
        "lost": float(back["lost"]),
        "rooms": float(owned),
        "p50": took["p50_ms"] / 1000,
        "p95": took["p95_ms"] / 1000,
        "last": took["max_ms"] / 1000,
        "missing": float(back["lost"] - back["live"]),
        "recovered": 100 * back["recovered"] / back["lost"],
        "holes": float(back["holes"]),
        "tries": float(back["tries"]),
    }


def _busiest(director_url: str, rooms: Sequence[str]) -> tuple[str, int]:
    """The node with most of the rooms, and how many."""
    owners: Counter[str] = Counter()
    for room in rooms:
        with urlopen(f"{director_url}/rooms/{room}?user=bench&role=lecturer", timeout=10) as answer:
            owners[json.load(answer)["owner"]] += 1
    return owners.most_common(1)[0]


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
