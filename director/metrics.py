"""The director's figures for Prometheus, read from its parts when somebody scrapes; no label names a room or a person.

What is counted is plain numbers: prometheus-client's own counters and histograms cost ten times as much, and `/route`
is asked by every member of every room.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from director.contract.errors import ErrorCode
from director.contract.lease import NodeState
from director.contract.operations import OperationKind, OperationState
from director.contract.spread import PATIENT, QUICK, Spread
from director.fleet_view import FleetView

ROUTED = "routed"
_REFUSALS = (
    ErrorCode.BAD_REQUEST,
    ErrorCode.FORBIDDEN,
    ErrorCode.NO_NODES,
    ErrorCode.OWNER_UNCONFIRMED,
    ErrorCode.UNAUTHENTICATED,
)
_ROUTE_OUTCOMES = (ROUTED, *(code.lower() for code in _REFUSALS))
_CLAIM_OUTCOMES = ("claimed", "outrun", "unfit", "settling", "unavailable")
_FINDINGS = ("departed", "standing", "settling", "heldback", "proven")
_MOVE_OUTCOMES = ("done", "failed", "closed")
_OPERATIONS = tuple((kind.value, state.value) for kind in OperationKind for state in OperationState if state.is_over)


@dataclass(frozen=True, slots=True)
class Watched:
    """What is read at each scrape from parts that are built later. `redis_age`: seconds since Redis' last answer."""

    is_steward: Callable[[], bool] = lambda: False
    redis_age: Callable[[], float] = lambda: float("inf")
    settles_in: Callable[[], float] = lambda: 0.0
    streams: Callable[[], int] = lambda: 0
    running: Callable[[], int] = lambda: 0


class DirectorMetrics:
    """Counters with a registry of their own, so that several directors can live in one process. `timings` is the
    fingerprint of the director's own."""

    def __init__(self, view: FleetView, *, timings: str) -> None:
        self.view = view
        self.timings = timings
        self.watched = Watched()
        self.routes: Counter[str] = Counter()
        self.route_seconds = Spread(QUICK)
        self.claims: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.moves: Counter[str] = Counter()
        self.move_seconds = Spread(PATIENT)
        self.operations: Counter[tuple[str, str]] = Counter()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(_DirectorCollector(self))

    def watch(self, watched: Watched) -> None:
        """Read these from now on."""
        self.watched = watched

    def count_routed(self, seconds: float) -> None:
        """`/route` has named a node."""
        self.routes[ROUTED] += 1
        self.route_seconds.note(seconds)

    def count_refused(self, code: str, seconds: float) -> None:
        """`/route` has refused."""
        self.routes[code.lower()] += 1
        self.route_seconds.note(seconds)

    def count_claim(self, outcome: str) -> None:
        self.claims[outcome] += 1

    def count_finding(self, outcome: str) -> None:
        self.findings[outcome] += 1

    def count_move(self, outcome: str, seconds: float) -> None:
        """A move that this director asked for is settled: `done`, `failed` or `closed` (nobody was there any more)."""
        self.moves[outcome] += 1
        self.move_seconds.note(seconds)

    def count_operation(self, kind: OperationKind, state: OperationState) -> None:
        """An operation that this director ran has ended so."""
        self.operations[kind.value, state.value] += 1

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _DirectorCollector(Collector):
    def __init__(self, metrics: DirectorMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        yield from self._routing()
        yield from self._fleet()
        yield from self._duties()

    def _routing(self) -> Iterator[Metric]:
        it = self._metrics
        yield _counted("hall_director_routes", "Answers of /route by outcome", it.routes, _ROUTE_OUTCOMES)
        yield _histogram("hall_director_route_seconds", "Seconds to answer /route", it.route_seconds)
        yield _counted("hall_director_claims", "Claims of rooms by outcome", it.claims, _CLAIM_OUTCOMES)

    def _fleet(self) -> Iterator[Metric]:
        view = self._metrics.view
        yield GaugeMetricFamily("hall_director_rooms", "Rooms with an owner", value=view.room_count)
        leases = view.leases()
        nodes = GaugeMetricFamily(
            "hall_director_nodes", "Nodes whose lease stands, by state or order", labels=["state"]
        )
        tally = Counter(view.state_of(lease.node) for lease in leases)
        for state in NodeState:
            nodes.add_metric([state.value], tally[state])
        yield nodes
        loads = GaugeMetricFamily("hall_director_node_load", "What a node's rooms count for", labels=["node"])
        for lease in leases:
            loads.add_metric([lease.node], view.load_on(lease))
        yield loads
        lapsed = len(view.lapsed())
        yield GaugeMetricFamily("hall_director_nodes_lapsed", "Nodes without a lease, not declared dead", value=lapsed)
        odd = sum(lease.timings != self._metrics.timings for lease in leases)
        yield GaugeMetricFamily("hall_director_nodes_odd_timings", "Nodes with other lease timings", value=odd)
        doubted = sum(not lease.store_ok for lease in leases)
        yield GaugeMetricFamily("hall_director_nodes_store_doubted", "Nodes whose store failed of late", value=doubted)
        yield _counted("hall_director_findings", "Findings on nodes by outcome", self._metrics.findings, _FINDINGS)

    def _duties(self) -> Iterator[Metric]:
        it, watched = self._metrics, self._metrics.watched
        steward = float(watched.is_steward())
        yield GaugeMetricFamily("hall_director_is_steward", "1 for the director that is steward", value=steward)
        age = watched.redis_age()
        yield GaugeMetricFamily(
            "hall_director_redis_age_seconds", "Seconds since Redis answered a read of leases", value=age
        )
        left = watched.settles_in()
        yield GaugeMetricFamily("hall_director_settling_seconds", "Seconds until rooms are claimed again", value=left)
        yield _counted("hall_director_moves", "Moves asked for here by outcome", it.moves, _MOVE_OUTCOMES)
        yield _histogram("hall_director_move_seconds", "Seconds from asking for a move to its end", it.move_seconds)
        ended = CounterMetricFamily("hall_director_operations", "Operations ended", labels=["kind", "outcome"])
        for kind, state in dict.fromkeys([*_OPERATIONS, *it.operations]):
            ended.add_metric([kind, state], it.operations[kind, state])
        yield ended
        running = watched.running()
        yield GaugeMetricFamily("hall_director_operations_running", "Operations that run here", value=running)
        streams = watched.streams()
        yield GaugeMetricFamily("hall_director_event_streams", "Open streams of /admin/events", value=streams)


def _counted(name: str, meaning: str, counts: Mapping[str, int], known: Iterable[str]) -> CounterMetricFamily:
    """A counter by outcome; what is known and was never counted stands at 0, so that its first rise is seen."""
    family = CounterMetricFamily(name, meaning, labels=["outcome"])
    for outcome in dict.fromkeys([*known, *counts]):
        family.add_metric([outcome], counts.get(outcome, 0))
    return family


def _histogram(name: str, meaning: str, spread: Spread) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, meaning, buckets=spread.cumulative(), sum_value=spread.total)
