"""What members that stop reading cost a node and those that read: the same lecture without them and with them.

    python -m tests.bench.stuck_readers [--healthy 1000] [--stuck 100] [--rate 50] [--seconds 60]
                                         [--length 100]

Half of the stuck ones never read again until the end (the node cuts them after 15 s), half read for 1 s in every 5 and
so answer pings late, but before the time-out of 5 s. Prints JSON: the node's memory, after how long the healthy ones
saw what was sent, what became of the stuck. With short messages it takes the kernel's buffers some 10 s to fill;
--length 2000 shows members behind, and gaps.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any

import msgspec

from tests.bench.figures import figure, members, report, seconds
from tests.support.crowd import Listener, gauge, join_crowd, rss_mb
from tests.support.fleet import Fleet, running_fleet, wait_until_gone
from tests.support.raw_client import fresh_room, route

HEALTHY, STUCK, RATE, SPAN, LENGTH = 1_000, 100, 50.0, 60.0, 100
TALKERS = 10
AWAY_FOR, BACK_FOR = 4.0, 1.0
SETTLE_WITHIN = 20.0


@dataclass(slots=True)
class Delays:
    """How long after it was sent a message was seen, in whole milliseconds."""

    seen: Counter[int] = field(default_factory=Counter)

    def __call__(self, entries: Sequence[msgspec.Raw]) -> None:
        now = monotonic_ns()
        for entry in entries:
            raw = bytes(entry)
            start = raw.find(b'"text":"') + 8
            self.seen[(now - int(raw[start : raw.index(b" ", start)])) // 1_000_000] += 1

    def quantile(self, share: float) -> int:
        left = share * self.seen.total()
        for ms, count in sorted(self.seen.items()):
            left -= count
            if left <= 0:
                return ms
        return 0


async def _talk(talker: Listener, *, every: float, length: int, until: float) -> int:
    last, next_at = 0, monotonic()
    while (now := monotonic()) < until:
        await asyncio.sleep(max(0.0, next_at - now))
        next_at += every
        ack = await talker.send(f"{monotonic_ns()} ".ljust(length, "x"))
        last = ack["seq"]
    return last


async def _come_and_go(member: Listener, *, until: float) -> None:
    while monotonic() < until and not member.is_closed:
        member.stop_reading()
        await asyncio.sleep(AWAY_FOR)
        if not member.is_closed:
            member.read_on()
        await asyncio.sleep(BACK_FOR)


async def _lecture(
    fleet: Fleet, *, healthy: int, stuck: int, rate: float, seconds: float, length: int
) -> dict[str, Any]:
    """One lecture in a room of its own."""
    place = await route(fleet, fresh_room())
    pid = fleet.pid_of(place.node)
    delays = Delays()
    readers = await join_crowd(fleet, place, [f"healthy-{n}" for n in range(healthy)], on_entries=delays)
    talkers = await join_crowd(fleet, place, [f"talker-{n}" for n in range(TALKERS)])
    silent = await join_crowd(fleet, place, [f"silent-{n}" for n in range(stuck - stuck // 2)], small=True)
    late = await join_crowd(fleet, place, [f"late-{n}" for n in range(stuck // 2)], small=True)
    before = rss_mb(pid)
    for member in silent:
        member.stop_reading()
    until = monotonic() + seconds
    going = [asyncio.create_task(_come_and_go(member, until=until)) for member in late]
    talking = [
        asyncio.create_task(_talk(talker, every=TALKERS / rate, length=length, until=until)) for talker in talkers
    ]
    most, most_behind = before, 0.0
    while monotonic() < until:
        await asyncio.sleep(1.0)
        most, most_behind = max(most, rss_mb(pid)), max(most_behind, await gauge(place, "hall_node_behind"))
    head = max(await asyncio.gather(*talking))
    await asyncio.gather(*going)
    for member in silent:
        if not member.is_closed:
            member.read_on()
    deadline = monotonic() + SETTLE_WITHIN
    everybody = [*readers, *late, *silent]
    while monotonic() < deadline and any(it.position < head and not it.is_closed for it in everybody):  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # what arrives at a bare socket tells nobody
    told = {
        "messages": head,
        "healthy_p50_ms": delays.quantile(0.5),
        "healthy_p99_ms": delays.quantile(0.99),
        "healthy_complete": sum(it.position == head and not it.faults and not it.gaps for it in readers),
        "rss_before_mb": round(before, 1),
        "rss_most_mb": round(most, 1),
        "most_behind": int(most_behind),
        "late_complete": sum(it.position == head and not it.faults for it in late),
        "late_cut": sum(it.is_closed for it in late),
        "late_given_a_gap": sum(it.gaps > 0 for it in late),
        "silent_cut": sum(it.is_closed for it in silent),
        "faults": sum(len(it.faults) for it in everybody),
    }
    for member in (*everybody, *talkers):
        member.transport.abort()
    return told


async def measure(*, healthy: int, stuck: int, rate: float, seconds: float, length: int) -> dict[str, Any]:
    """The lecture without and with stuck readers, on one node, and how long that node takes to end beside others."""
    with tempfile.TemporaryDirectory() as folder, running_fleet(nodes=1, data=Path(folder) / "data") as fleet:
        without = await _lecture(fleet, healthy=healthy, stuck=0, rate=rate, seconds=seconds, length=length)
        beside = await _lecture(fleet, healthy=healthy, stuck=stuck, rate=rate, seconds=seconds, length=length)
        place = await route(fleet, fresh_room())
        for member in await join_crowd(fleet, place, [f"stuck-{n}" for n in range(stuck)], small=True):
            member.stop_reading()
        pid = fleet.kill("node-1", signal.SIGTERM)
        began_at = monotonic()
        ended = await asyncio.to_thread(wait_until_gone, pid, within=30.0)
        return {
            "asked": {"healthy": healthy, "stuck": stuck, "rate": rate, "seconds": seconds, "length": length},
            "without": without,
            "beside_stuck": beside,
            "grown_mb": round(beside["rss_most_mb"] - beside["rss_before_mb"], 1),
            "p99_ratio": round(beside["healthy_p99_ms"] / max(1, without["healthy_p99_ms"]), 2),
            "sigterm_s": round(monotonic() - began_at, 2) if ended else None,
        }


def main() -> dict[str, Any]:
    """The lecture of the promise, as figures: 1,000 healthy members, 100 that stop reading, 50 messages a second."""
    told = asyncio.run(
        measure(healthy=members(HEALTHY), stuck=members(STUCK), rate=RATE, seconds=seconds(SPAN), length=LENGTH)
    )
    without, beside = told["without"], told["beside_stuck"]
    complete = [100 * run["healthy_complete"] / members(HEALTHY) for run in (without, beside)]
    return report(
        [
            figure("healthy members alone: p99", "ms", [without["healthy_p99_ms"]]),
            figure("healthy members beside stuck ones: p99", "ms", [beside["healthy_p99_ms"]]),
            figure("p99 beside stuck ones to alone", "x", [told["p99_ratio"]], at_most=1.2),
            figure("the node has grown by", "MB", [told["grown_mb"]], at_most=50.0),
            figure("healthy members given everything", "%", complete, at_least=100.0),
            figure("stuck for good, cut", "", [beside["silent_cut"]]),
            figure("late readers given everything or a gap", "", [beside["late_complete"]]),
            figure("SIGTERM beside stuck members", "s", [told["sigterm_s"] or 30.0], at_most=10.0),
        ],
        runs=[told],
        notes=[f"{members(HEALTHY):,} healthy, {members(STUCK)} stuck, {RATE:g} messages a second for {SPAN:g} s"],
    )


def _by_command_line() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--healthy", type=int, default=HEALTHY)
    asked.add_argument("--stuck", type=int, default=STUCK)
    asked.add_argument("--rate", type=float, default=RATE)
    asked.add_argument("--seconds", type=float, default=SPAN)
    asked.add_argument("--length", type=int, default=LENGTH)
    json.dump(asyncio.run(measure(**vars(asked.parse_args()))), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    _by_command_line()
