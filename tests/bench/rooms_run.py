"""One run of one room on one server: members join, some speak, all read; what that cost the server's process."""

from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.crowd import crowd
from tests.bench.figures import seconds
from tests.bench.processes import allow_many_files, used_by
from tests.bench.servers import serving

SENDERS = 20
SETTLE = 1.0
WARM_UP = 1.0
_DRAIN_WITHIN = 180.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """`us` is the server's processor time for each delivered message, `us_join` for each join, both in microseconds;
    `share` is what came of all that should have come, `busy` of what time the client's own thread worked."""

    server: str
    members: int
    rate: float
    us: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    share: float
    entries_per_frame: float
    us_join: float
    kb_member: float
    busy: float

    @property
    def facts(self) -> dict[str, Any]:
        return asdict(self)


def measure(server: str, *, count: int, rate: float, span: float, join_rate: float = 400) -> Delivery:
    """Start the server, let `count` members join and wait until all is quiet, then measure `span` seconds of `rate`
    messages a second, until the last has been read. Raises CrowdFailed, NoCompiler, NotInstalled."""
    allow_many_files()
    with serving(server) as it, crowd(dialect=it.dialect, port=it.port, rooms=["bench"]) as members:
        fresh = used_by(it.pid)
        members.open(count, rate=join_rate, within=60 + 6 * count / join_rate)
        joined = used_by(it.pid)
        members.look_on(SETTLE)
        idle = used_by(it.pid)
        _speak(members, rate=rate, span=seconds(WARM_UP), watchers=count)
        before = used_by(it.pid)
        sent = _speak(members, rate=rate, span=span, watchers=count)
        after = used_by(it.pid)
    delivered = max(1, sent["delivered"])
    return Delivery(
        server=server,
        members=count,
        rate=rate,
        us=(after.cpu - before.cpu) / delivered * 1e6,
        p50_ms=sent["delivery"]["p50_ms"],
        p99_ms=sent["delivery"]["p99_ms"],
        max_ms=sent["delivery"]["max_ms"],
        share=sent["delivered"] / max(1, sent["expected"]),
        entries_per_frame=delivered / max(1, sent["frames"]),
        us_join=(joined.cpu - fresh.cpu) / count * 1e6,
        kb_member=(idle.rss - fresh.rss) / 1024 / count,
        busy=sent["client_cpu_seconds"] / max(0.1, sent["send_seconds"] + sent["drain_seconds"]),
    )


def _speak(members: Any, *, rate: float, span: float, watchers: int) -> dict[str, Any]:
    members.begin_send(rate=rate, seconds=span, senders=SENDERS, watchers=watchers)
    sent: dict[str, Any] = members.end_send(within=span + _DRAIN_WITHIN)
    return sent
