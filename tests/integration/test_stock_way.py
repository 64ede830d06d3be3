"""The most telling tests of joining, events and hostile clients once more, on a node that carries all members by
python-socketio (`HALL_FANOUT=stock`): both ways keep the same promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_events import (  # noqa: F401
    test_a_binary_event_is_refused_and_swallows_nothing,
    test_a_member_that_stops_reading_costs_the_others_nothing,
    test_a_message_is_acked_with_its_place_and_shown_to_all,
    test_a_packet_above_the_announced_payload_ends_the_connection,
    test_a_retry_is_harmless_also_on_another_connection_and_in_flight,
    test_all_see_one_order_without_a_hole_however_many_talk,
    test_an_event_of_another_shape_is_answered,
    test_more_than_eight_unanswered_events_are_too_many,
    test_what_cannot_be_decoded_is_ignored,
    test_what_is_wrong_gets_its_error_and_costs_nothing,
)
from tests.integration.test_hostile import (  # noqa: F401
    test_a_flood_of_pings_that_reads_no_pongs_is_cut,
    test_a_request_to_connect_behind_a_close_makes_no_ghost,
    test_half_a_character_is_answered_and_holds_nothing_up,
    test_one_person_has_a_bounded_number_of_connections,
    test_what_is_no_packet_at_all_is_ignored_and_the_member_stays,
)
from tests.integration.test_joining import (  # noqa: F401
    test_a_malformed_request_to_join_is_not_to_be_repeated,
    test_a_member_that_comes_back_gets_exactly_what_it_missed,
    test_a_second_request_to_connect_changes_nothing,
    test_a_stock_client_reads_the_code_of_a_refusal,
    test_an_auth_that_is_no_object_is_refused_and_not_hung,
    test_connect_comes_first_then_joined_then_frames_then_early_answers,
    test_only_the_default_namespace_is_served,
)
from tests.support.fleet import Fleet, running_fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of one node that takes the stock way."""
    data = tmp_path_factory.mktemp("stock") / "data"
    with running_fleet(nodes=1, data=data, env={"HALL_FANOUT": "stock"}) as running:
        yield running


def test_the_node_was_told_so(fleet: Fleet) -> None:
    environ = Path(f"/proc/{fleet.pid_of('node-1')}/environ").read_bytes()
    assert b"HALL_FANOUT=stock" in environ.split(b"\0")
