"""Report: what a replay or a load run says at its end, for people and for scripts."""

from collections.abc import Mapping

import msgspec

from director.contract.ids import RoomId
from loadtest.core.findings import Findings, Tally
from loadtest.core.latency import Latency


class RoomReport(msgspec.Struct, frozen=True):
    """One room, or all (`room` is then empty). Latencies in milliseconds; None where nothing was measured."""

    room: str
    nodes: tuple[str, ...]
    members: int
    sent: int
    acked: int
    refused: int
    stored: int
    pruned: int
    delivered: int
    drops: int
    resumed: int
    not_given: int
    ack_p50_ms: float | None
    ack_p99_ms: float | None
    deliver_p50_ms: float | None
    deliver_p99_ms: float | None
    violations: int


class ViolationReport(msgspec.Struct, frozen=True):
    """One broken promise."""

    promise: str
    room: str
    seq: int | None
    client: str | None
    sentence: str


class Report(msgspec.Struct, frozen=True):
    """`holds`: no promise was broken."""

    holds: bool
    rooms: tuple[RoomReport, ...]
    total: RoomReport
    violations: tuple[ViolationReport, ...]
    events: int
    not_back: int = 0
    client_lag_p99_ms: float | None = None


def report_of(
    findings: Findings,
    *,
    acks: Mapping[RoomId, Latency],
    deliveries: Mapping[RoomId, Latency],
    not_back: int = 0,
    client_lag: Latency | None = None,
) -> Report:
    """The report on `findings`. `not_back` members were to be live in the end and were not: then it does not hold.
    `client_lag` is how late the clients' own event loop was."""
    rooms = tuple(
        _room_report(
            room,
            tally,
            acks.get(room, Latency()),
            deliveries.get(room, Latency()),
            sum(violation.room == room for violation in findings.violations),
        )
        for room, tally in sorted(findings.rooms.items())
    )
    violations = tuple(
        ViolationReport(found.promise.name, found.room, found.seq, found.client, found.sentence)
        for found in findings.violations
    )
    total = _room_report(RoomId(""), _sum(findings), _merged(acks), _merged(deliveries), len(violations))
    lag = None if client_lag is None else _ms(client_lag.percentile(99))
    return Report(not violations and not not_back, rooms, total, violations, findings.events, not_back, lag)


def _room_report(room: RoomId, tally: Tally, acks: Latency, deliveries: Latency, violations: int) -> RoomReport:
    return RoomReport(
        room=room,
        nodes=tuple(sorted(tally.nodes)),
        members=tally.members,
        sent=tally.asked,
        acked=tally.acked,
        refused=tally.refused,
        stored=tally.stored,
        pruned=tally.pruned,
        delivered=tally.shown,
        drops=tally.drops,
        resumed=tally.resumed,
        not_given=tally.not_given,
        ack_p50_ms=_ms(acks.percentile(50)),
        ack_p99_ms=_ms(acks.percentile(99)),
        deliver_p50_ms=_ms(deliveries.percentile(50)),
        deliver_p99_ms=_ms(deliveries.percentile(99)),
        violations=violations,
    )


def _sum(findings: Findings) -> Tally:
    total = Tally()
    for tally in findings.rooms.values():
        for name in Tally.__slots__:
            mine, theirs = getattr(total, name), getattr(tally, name)
            setattr(total, name, mine | theirs if isinstance(mine, set) else mine + theirs)
    return total


def _merged(latencies: Mapping[RoomId, Latency]) -> Latency:
    total = Latency()
    for latency in latencies.values():
        total.merge(latency)
    return total


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
