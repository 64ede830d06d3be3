"""A node's figures for Prometheus, read from its parts when somebody scrapes; no label names a room or a person."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from director.contract.errors import Action, ErrorCode
from director.contract.lease import NodeLease
from director.contract.spread import Spread
from persistence.contract.writing import WriterTally
from shard_node.contract.events import NodeMode
from shard_node.core.admission import Budgets
from shard_node.core.lag import LagProbe
from shard_node.core.lease_guard import DropRooms, Renew, Serve, StopAccepting, Verdict
from shard_node.core.tally import MOVE_OUTCOMES, NodeTally
from shard_node.host import RoomHost
from shard_node.lease_keeper import LeaseKeeper
from shard_node.requests import REQUESTS

JOIN_KINDS = ("new", "recovered", "too_far", "new_log")
UNAPPENDED = ("duplicate", "fenced", "unfounded", "unsettled")
OPENINGS = ("opened", "not_owner", "owner_unconfirmed", "store_unavailable", "failed")
TRANSACTION_ENDS = ("committed", "unclear", "unavailable")
_CODES = tuple(code.lower() for code in ErrorCode)
_BYES = tuple(code.lower() for code in ErrorCode if code.action is Action.REROUTE)
_VERDICTS: Mapping[type[Verdict], str] = {
    Serve: "serve",
    Renew: "renew",
    StopAccepting: "stop_accepting",
    DropRooms: "drop_rooms",
}


class NodeMetrics:
    """The figures of one node. `waiting` tells how many drafts the writer holds."""

    def __init__(
        self,
        host: RoomHost,
        keeper: LeaseKeeper,
        lag: LagProbe,
        budgets: Budgets,
        writer: WriterTally,
        *,
        waiting: Callable[[], int],
    ) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(_NodeCollector(host, keeper, lag, budgets, writer, waiting))

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _NodeCollector(Collector):
    def __init__(
        self,
        host: RoomHost,
        keeper: LeaseKeeper,
        lag: LagProbe,
        budgets: Budgets,
        writer: WriterTally,
        waiting: Callable[[], int],
    ) -> None:
        self._host = host
        self._keeper = keeper
        self._lag = lag
        self._budgets = budgets
        self._writer = writer
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        yield from self._who()
        yield from self._rooms()
        yield from self._crowd()
        yield from _messages(self._host.tally)
        yield from _showing(self._host.tally)
        yield from self._strain()
        yield from self._lease()
        yield from self._store()
        yield from _moves(self._host.tally)

    def _who(self) -> Iterator[Metric]:
        lease: NodeLease = self._keeper.lease
        who = GaugeMetricFamily("hall_node_info", "Always 1; who this is", labels=["node", "incarnation"])
        who.add_metric([lease.node, lease.incarnation], 1)
        yield who

    def _rooms(self) -> Iterator[Metric]:
        tally = self._host.tally
        yield GaugeMetricFamily("hall_node_rooms", "Rooms open on this node", value=len(self._host))
        yield _counted("hall_node_openings", "Openings of rooms by outcome", "outcome", tally.opened, OPENINGS)
        yield _by_code(
            "hall_node_rooms_dropped", "Rooms ended by the code that their members were told", tally.dropped, _BYES
        )
        yield CounterMetricFamily("hall_node_rooms_closed", "Rooms closed as nobody was there", value=tally.closed)
        yield CounterMetricFamily("hall_node_fences", "Rooms that the store said are another's", value=tally.fenced)

    def _crowd(self) -> Iterator[Metric]:
        rooms, tally, budgets = list(self._host), self._host.tally, self._budgets
        members = sum(len(hosted.members) for hosted in rooms)
        yield GaugeMetricFamily("hall_node_members", "People in rooms, each once a room", value=members)
        connections = sum(hosted.members.connections for hosted in rooms)
        yield GaugeMetricFamily("hall_node_connections", "Connections of members", value=connections)
        yield _counted(
            "hall_node_joins", "Members that joined by what they were given", "kind", tally.joined, JOIN_KINDS
        )
        yield CounterMetricFamily("hall_node_leaves", "Members that left", value=tally.left)
        yield _by_code("hall_node_joins_refused", "Joins refused by code", tally.unadmitted)
        yield _by_code("hall_node_byes", "Members sent away by code; slow: they did not keep up", tally.byes, _BYES)
        gates = CounterMetricFamily("hall_node_gate", "Who asked at a gate, by its answer", labels=["gate", "outcome"])
        for name, gate in {"joins": budgets.joins, "resumes": budgets.resumes, "sends": budgets.sends}.items():
            gates.add_metric([name, "admitted"], gate.admitted)
            gates.add_metric([name, "refused"], gate.refused)
        yield gates
        rate = budgets.meter.rate
        yield GaugeMetricFamily("hall_node_join_rate", "Joins a second that this node can take", value=rate)

    def _strain(self) -> Iterator[Metric]:
        host, rooms = self._host, list(self._host)
        overload = host.overload
        mode = GaugeMetricFamily("hall_node_mode", "1 for the mode that the node is in", labels=["mode"])
        for known in NodeMode:
            mode.add_metric([known.value], float(known is overload.mode))
        yield mode
        lag = overload.strain.lag
        yield GaugeMetricFamily(
            "hall_node_lag_seconds", "Seconds by which the event loop was late, at most, in the last second", value=lag
        )
        yield _histogram(
            "hall_node_loop_late_seconds", "Seconds by which each beat of the event loop was late", self._lag.lateness
        )
        yield GaugeMetricFamily(
            "hall_node_outgoing_bytes",
            "Bytes that wait to be sent to members that have been shown all",
            value=overload.strain.outgoing,
        )
        pace = max((hosted.pace_in(overload.mode) for hosted in rooms), default=0)
        yield GaugeMetricFamily(
            "hall_node_pace_seconds",
            "Seconds of pace (the tick) of the room that gathers messages for longest",
            value=pace,
        )
        behind = sum(len(hosted.members.behind) for hosted in rooms)
        yield GaugeMetricFamily("hall_node_behind", "Members that have not been shown all", value=behind)

    def _lease(self) -> Iterator[Metric]:
        age = self._keeper.redis_age
        yield GaugeMetricFamily(
            "hall_node_lease_age_seconds", "Seconds since the last renewal that was confirmed was sent", value=age
        )
        guard = GaugeMetricFamily("hall_node_guard", "1 for what the lease guard says", labels=["verdict"])
        verdict = type(self._keeper.verdict())
        for known, name in _VERDICTS.items():
            guard.add_metric([name], float(known is verdict))
        yield guard
        yield CounterMetricFamily("hall_node_leases_lost", "Leases lost", value=self._host.tally.leases_lost)

    def _store(self) -> Iterator[Metric]:
        writer = self._writer
        commit = self._host.overload.strain.commit
        yield GaugeMetricFamily(
            "hall_node_commit_seconds", "Seconds of the slowest transaction of the last second", value=commit
        )
        yield _histogram("hall_node_transaction_seconds", "Seconds of the writer's transactions", writer.seconds)
        yield _histogram("hall_node_transaction_drafts", "Drafts in each transaction", writer.drafts)
        yield _counted("hall_node_transactions", "Transactions by their end", "end", writer.ended, TRANSACTION_ENDS)
        yield _histogram(
            "hall_node_settle_seconds",
            "Seconds from a message taking its place in the order to the word of the store",
            writer.settle_seconds,
        )
        yield GaugeMetricFamily("hall_node_waiting", "Drafts that wait for the store", value=self._waiting())
        yield GaugeMetricFamily(
            "hall_node_store_ok", "0 for 10 s after an opening failed at the store", value=self._host.store_ok
        )


def _messages(tally: NodeTally) -> Iterator[Metric]:
    yield _counted("hall_node_events", "Events acted upon by name; send is a message", "event", tally.events, REQUESTS)
    yield _by_code("hall_node_events_refused", "Events answered with an error by code", tally.refused)
    yield CounterMetricFamily("hall_node_entries", "Entries committed and shown", value=tally.appended)
    yield _counted(
        "hall_node_drafts_unappended", "Drafts without an entry of their own", "outcome", tally.unappended, UNAPPENDED
    )


def _showing(tally: NodeTally) -> Iterator[Metric]:
    yield _histogram("hall_node_frame_bytes", "Bytes of each frame", tally.frame_bytes)
    yield _histogram("hall_node_fanout_seconds", "Processor seconds to show a room's batch to all", tally.fanout)
    yield CounterMetricFamily("hall_node_deliveries", "Frames written to members", value=tally.deliveries)
    yield CounterMetricFamily(
        "hall_node_fell_behind", "Times that a member could not take a frame", value=tally.fell_behind
    )
    yield CounterMetricFamily("hall_node_gaps", "Gaps told to members that were skipped forward", value=tally.gaps)


def _moves(tally: NodeTally) -> Iterator[Metric]:
    moves = CounterMetricFamily("hall_node_moves", "Planned moves of rooms by outcome", labels=["direction", "outcome"])
    for (way, outcome), count in {**dict.fromkeys(MOVE_OUTCOMES, 0), **tally.moves}.items():
        moves.add_metric([way, outcome], count)
    yield moves
    yield _histogram("hall_node_move_seconds", "Seconds of moves away, from the order to the end", tally.move_seconds)
    yield _histogram("hall_node_move_pause_seconds", "Seconds for which a moving room answered no message", tally.pause)


def _counted(
    name: str, meaning: str, label: str, counts: Mapping[str, int], known: Iterable[str]
) -> CounterMetricFamily:
    """A counter by one label; what is known and was never counted stands at 0, so that its first rise is seen."""
    family = CounterMetricFamily(name, meaning, labels=[label])
    for value in dict.fromkeys([*known, *counts]):
        family.add_metric([value], counts.get(value, 0))
    return family


def _by_code(name: str, meaning: str, counts: Mapping[str, int], known: Iterable[str] = _CODES) -> CounterMetricFamily:
    return _counted(name, meaning, "code", {code.lower(): count for code, count in counts.items()}, known)


def _histogram(name: str, meaning: str, spread: Spread) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, meaning, buckets=spread.cumulative(), sum_value=spread.total)
