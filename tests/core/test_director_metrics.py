"""A director's figures: each rises by what happens here."""

from prometheus_client.parser import text_string_to_metric_families

from director.contract.lease import LiveNode, LiveNodes
from director.contract.operations import OperationKind, OperationState
from director.fleet_view import FleetView
from director.metrics import DirectorMetrics, Watched
from tests.support.halls import lease_of


def told(metrics: DirectorMetrics) -> dict[str, float]:
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def test_answers_are_counted_by_outcome_and_by_how_long_they_took() -> None:
    it = DirectorMetrics(FleetView(), timings="")
    it.count_routed(0.0002)
    it.count_routed(0.2)
    it.count_refused("NO_NODES", 0.0001)
    it.count_refused("MUTED", 10.0)
    figures = told(it)
    assert figures["hall_director_routes_total routed"] == 2
    assert figures["hall_director_routes_total no_nodes"] == figures["hall_director_routes_total muted"] == 1
    assert figures["hall_director_route_seconds_bucket 0.0001"] == 1
    assert figures["hall_director_route_seconds_bucket 0.25"] == 3
    assert figures["hall_director_route_seconds_count"] == 4
    assert round(figures["hall_director_route_seconds_sum"], 4) == 10.2003


def test_claims_findings_moves_and_operations_are_counted_by_outcome() -> None:
    it = DirectorMetrics(FleetView(), timings="")
    it.count_claim("claimed")
    it.count_finding("proven")
    it.count_move("done", 0.4)
    it.count_move("failed", 10.0)
    it.count_operation(OperationKind.DRAIN, OperationState.DONE)
    figures = told(it)
    for name in (
        "claims_total claimed",
        "findings_total proven",
        "moves_total done",
        "moves_total failed",
        "operations_total drain done",
        "move_seconds_bucket 0.5",
    ):
        assert figures[f"hall_director_{name}"] == 1, name
    assert figures["hall_director_move_seconds_sum"] == 10.4


def test_what_has_not_happened_yet_stands_at_nought() -> None:
    """A first time would not be seen as a rise, if its figure began with 1."""
    figures = told(DirectorMetrics(FleetView(), timings=""))
    for name in ("routes_total owner_unconfirmed", "claims_total unavailable", "findings_total heldback"):
        assert figures[f"hall_director_{name}"] == 0
    assert sum(name.startswith("hall_director_operations_total") for name in figures) == 12


def test_nodes_are_counted_by_their_state_and_those_that_are_odd_are_told() -> None:
    view = FleetView()
    alike = lease_of("node-1")
    view.read_leases(
        LiveNodes("g", 0, [LiveNode(alike, 1.0), LiveNode(lease_of("node-2"), 1.0)], 0, [lease_of("node-9")], 0.0),
        sent_at=0.0,
    )
    figures = told(DirectorMetrics(view, timings=alike.timings))
    assert figures["hall_director_nodes serving"] == 2
    assert figures["hall_director_nodes_lapsed"] == 1
    assert figures["hall_director_nodes_odd_timings"] == 0
    assert figures["hall_director_node_load node-1"] == 0
    assert told(DirectorMetrics(view, timings="other"))["hall_director_nodes_odd_timings"] == 2


def test_what_other_parts_know_is_read_when_somebody_scrapes() -> None:
    it = DirectorMetrics(FleetView(), timings="")
    assert told(it)["hall_director_redis_age_seconds"] == float("inf")
    streams = [0]
    it.watch(
        Watched(
            is_steward=lambda: True,
            redis_age=lambda: 0.5,
            settles_in=lambda: 3.0,
            streams=lambda: streams[0],
            running=lambda: 2,
        )
    )
    streams[0] = 7
    figures = told(it)
    assert figures["hall_director_is_steward"] == 1
    assert figures["hall_director_redis_age_seconds"] == 0.5
    assert figures["hall_director_settling_seconds"] == 3.0
    assert figures["hall_director_event_streams"] == 7
    assert figures["hall_director_operations_running"] == 2
