"""The director's figures for Prometheus; no label names a room or a person."""

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from director.contract.lease import NodeState
from director.fleet_view import FleetView


class _FleetCollector(Collector):
    """Gauges read from the view when somebody scrapes."""

    def __init__(self, view: FleetView) -> None:
        self._view = view

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("hall_director_rooms", "Rooms with an owner", value=self._view.room_count)
        nodes = GaugeMetricFamily("hall_director_nodes", "Nodes whose lease stands", labels=["state"])
        tally = Tally(lease.state for lease in self._view.leases())
        for state in NodeState:
            nodes.add_metric([state.value], tally[state])
        yield nodes


class DirectorMetrics:
    """Counters with a registry of their own, so that several directors can live in one process."""

    def __init__(self, view: FleetView) -> None:
        self._registry = CollectorRegistry()
        self._routes = Counter(
            "hall_director_routes", "Answers of /route by outcome", ["outcome"], registry=self._registry
        )
        self._claims = Counter("hall_director_claims", "Claims by outcome", ["outcome"], registry=self._registry)
        self._registry.register(_FleetCollector(view))
        self._routed = self._routes.labels("routed")

    def count_routed(self) -> None:
        self._routed.inc()

    def count_refused(self, code: str) -> None:
        self._routes.labels(code.lower()).inc()

    def count_claim(self, outcome: str) -> None:
        self._claims.labels(outcome).inc()

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)
