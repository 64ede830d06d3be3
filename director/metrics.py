"""The director's figures for Prometheus; no label names a room or a person."""

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from director.contract.lease import NodeState
from director.fleet_view import FleetView


class _FleetCollector(Collector):
    """Gauges read from the view when somebody scrapes; `timings` is the fingerprint of the director's own."""

    def __init__(self, view: FleetView, timings: str) -> None:
        self._view = view
        self._timings = timings

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("hall_director_rooms", "Rooms with an owner", value=self._view.room_count)
        nodes = GaugeMetricFamily("hall_director_nodes", "Nodes whose lease stands", labels=["state"])
        leases = self._view.leases()
        tally = Tally(lease.state for lease in leases)
        for state in NodeState:
            nodes.add_metric([state.value], tally[state])
        yield nodes
        lapsed = len(self._view.lapsed())
        yield GaugeMetricFamily("hall_director_nodes_lapsed", "Nodes without a lease, not declared dead", value=lapsed)
        odd = sum(lease.timings != self._timings for lease in leases)
        yield GaugeMetricFamily("hall_director_nodes_odd_timings", "Nodes with other lease timings", value=odd)
        doubted = sum(not lease.store_ok for lease in leases)
        yield GaugeMetricFamily("hall_director_nodes_store_doubted", "Nodes whose store failed of late", value=doubted)


class DirectorMetrics:
    """Counters with a registry of their own, so that several directors can live in one process."""

    def __init__(self, view: FleetView, *, timings: str) -> None:
        self._registry = CollectorRegistry()
        self._routes = Counter(
            "hall_director_routes", "Answers of /route by outcome", ["outcome"], registry=self._registry
        )
        self._claims = Counter("hall_director_claims", "Claims by outcome", ["outcome"], registry=self._registry)
        self._findings = Counter(
            "hall_director_findings", "Findings on nodes by outcome", ["outcome"], registry=self._registry
        )
        self._registry.register(_FleetCollector(view, timings))
        self._routed = self._routes.labels("routed")

    def count_routed(self) -> None:
        self._routed.inc()

    def count_refused(self, code: str) -> None:
        self._routes.labels(code.lower()).inc()

    def count_claim(self, outcome: str) -> None:
        self._claims.labels(outcome).inc()

    def count_finding(self, outcome: str) -> None:
        self._findings.labels(outcome).inc()

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)
