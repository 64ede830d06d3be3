"""History: what a page costs in a room of 1,000 entries and in one of 1,000,000, as a node reads it from SQLite.

python -m tests.bench.bench_history
"""

import asyncio
import json
import random
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from sqlalchemy import insert

from director.contract.ids import Epoch, Incarnation, LogId, Role, RoomId, Seq
from persistence import schema
from persistence.contract.messages import Kind
from persistence.engines import open_engines
from persistence.store_sql import SqlStore
from shard_node.contract.events import MAX_ANSWER_BYTES
from tests.bench.figures import IS_QUICK, figure, repeats, report
from tests.bench.stores import SQLITE, fresh_store

SHORT, LONG = 1_000, 10_000 if IS_QUICK else 1_000_000
READS = 200 if IS_QUICK else 2_000
REPEATS = repeats(5)
PAGE = 50
P99_AT_MOST_MS = 10.0
_ROWS_AT_ONCE = 20_000


def main() -> dict[str, Any]:
    """Times of `history` reads in milliseconds, over random places of each room, in both directions."""
    with fresh_store(SQLITE) as url:
        return asyncio.run(_measure(url))


async def _measure(url: str) -> dict[str, Any]:
    chance = random.Random(1)
    figures = []
    engines = open_engines(url)
    async with SqlStore(engines) as store:
        for length in (SHORT, LONG):
            room = RoomId(f"room-of-{length}")
            await store.open_room(room, epoch=Epoch(1), incarnation=Incarnation("bench"), fresh_log=LogId("bench"))
            for first in range(1, length + 1, _ROWS_AT_ONCE):
                rows = [_row(room, seq) for seq in range(first, min(first + _ROWS_AT_ONCE, length + 1))]
                async with engines.writer.begin() as connection:
                    await connection.execute(insert(schema.entries), rows)
            runs = [await _read(store, room, length, chance) for _ in range(REPEATS)]
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                figures.append(
                    figure(
                        f"{name} of a page of {PAGE} entries, room of {length:,}",
                        "ms",
                        [_quantile(times, share) for times in runs],
                        **({"at_most": P99_AT_MOST_MS} if name == "p99" else {}),
                    )
                )
    return report(figures, notes=[f"{READS:,} reads a run, one after the other, half of them in each direction"])


async def _read(store: SqlStore, room: RoomId, length: int, chance: random.Random) -> list[float]:
    """Milliseconds for each read, sorted."""
    times = []
    for number in range(READS):
        at = Seq(chance.randrange(length))
        began_at = perf_counter()
        if number % 2:
            await store.read_before(room, before=at, limit=PAGE, max_bytes=MAX_ANSWER_BYTES)
        else:
            await store.read_after(room, after=at, limit=PAGE, max_bytes=MAX_ANSWER_BYTES)
        times.append((perf_counter() - began_at) * 1000)
    return sorted(times)


def _quantile(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))]


def _row(room: RoomId, seq: int) -> dict[str, Any]:
    return {
        "room": room,
        "seq": seq,
        "epoch": 1,
        "at": 1_700_000_000_000 + seq,
        "kind": Kind.MESSAGE.value,
        "cid": f"{seq:016x}",
        "author": f"user-{seq % 997}",
        "author_name": f"Student {seq % 997}",
        "author_role": Role.STUDENT.value,
        "text": f"message {seq}: could you explain the second step once more, please?",
        "deleted": False,
        "digest": seq.to_bytes(8, "big"),
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=1))
