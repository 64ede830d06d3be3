"""The check of stale owners: it tells a moment's lateness from an owner that goes on as if nothing had happened."""

import pytest

from director.contract.ids import Epoch, LogId, NodeName, RoomId, Seq, UserId
from loadtest.contract.history import Acked, Admitted, Framed, Gapped, HistoryEvent, Parted
from loadtest.core.admission_check import AdmissionCheck
from loadtest.core.findings import Promise
from shard_node.contract.events import Position

ROOM = RoomId("r")
LOG = LogId("log")


def admitted(client: str, at: float, epoch: int, *, room: RoomId = ROOM) -> Admitted:
    return Admitted(
        client,
        room,
        at,
        NodeName(f"node-{epoch}"),
        since=None,
        pos=Position(LOG, Epoch(epoch), Seq(0)),
        recovered=False,
        reason=None,
        entries=(),
    )


def framed(at: float, epoch: int) -> Framed:
    return Framed("m", ROOM, at, LOG, Epoch(epoch), Seq(1), Seq(1), ())


def broken(*events: HistoryEvent, slack: float = 0.0, thawed_at: float | None = None) -> list[Promise]:
    check = AdmissionCheck()
    for event in events:
        check.record(event)
    thaws = {} if thawed_at is None else {NodeName("node-1"): [thawed_at]}
    return [violation.promise for violation in check.judge(slack=slack, thaws=thaws)]


def test_an_owner_that_nobody_replaced_may_do_as_it_likes() -> None:
    assert broken(admitted("a", 1.0, 1), framed(2.0, 1), admitted("b", 900.0, 1), framed(999.0, 1)) == []


def test_an_owner_of_another_room_replaces_nobody() -> None:
    assert broken(admitted("a", 1.0, 1), admitted("b", 2.0, 2, room=RoomId("other")), admitted("c", 90.0, 1)) == []


@pytest.mark.parametrize(
    "evidence",
    [
        admitted("b", 10.0, 2),
        framed(10.0, 2),
        Gapped("b", ROOM, 10.0, LOG, Epoch(2), Seq(1), Seq(1), ()),
        Acked("b", ROOM, 10.0, "c", UserId("b"), Seq(1), Epoch(2), False),
    ],
)
def test_whatever_a_newer_epoch_says_first_begins_the_two_seconds(evidence: HistoryEvent) -> None:
    first = admitted("a", 1.0, 1)
    assert broken(first, evidence, admitted("c", 11.9, 1)) == []
    assert broken(first, evidence, admitted("c", 12.1, 1)) == [Promise.ADMITTED_BY_STALE]
    assert broken(first, evidence, admitted("c", 12.1, 1), slack=0.5) == []


def test_an_answer_given_again_is_no_evidence_of_its_epoch() -> None:
    again = Acked("b", ROOM, 10.0, "c", UserId("b"), Seq(1), Epoch(2), True)
    assert broken(admitted("a", 1.0, 1), again, Parted("b", ROOM, 11.0, "Lost"), admitted("c", 90.0, 1)) == []


def test_events_may_be_heard_in_any_mixture_of_clients() -> None:
    assert broken(admitted("c", 12.1, 1), admitted("b", 10.0, 2)) == [Promise.ADMITTED_BY_STALE]
    assert broken(admitted("d", 11.0, 2), admitted("c", 12.1, 1), admitted("b", 10.0, 2)) == [Promise.ADMITTED_BY_STALE]


def test_a_frame_of_a_replaced_owner_may_be_a_second_late() -> None:
    history = [admitted("a", 1.0, 1), admitted("b", 10.0, 2)]
    assert broken(*history, framed(10.9, 1)) == []
    assert broken(*history, framed(11.1, 1)) == [Promise.SHOWN_BY_STALE]
    assert broken(*history, framed(11.1, 1), framed(11.1, 1)) == [Promise.SHOWN_BY_STALE], "told once for an instant"


def test_a_zombie_may_show_what_it_had_for_a_second_after_it_woke() -> None:
    history = [admitted("a", 1.0, 1), admitted("b", 10.0, 2)]
    assert broken(*history, framed(30.9, 1), thawed_at=30.0) == []
    assert broken(*history, framed(31.1, 1), thawed_at=30.0) == [Promise.SHOWN_BY_STALE]
    assert broken(*history, framed(29.0, 1), thawed_at=30.0) == [Promise.SHOWN_BY_STALE], "it was not asleep then"
    assert broken(framed(1.0, 1), framed(10.0, 2), framed(30.5, 1), thawed_at=30.0) == [Promise.SHOWN_BY_STALE], (
        "whose frames these are is known from a join alone"
    )


def test_a_violation_is_told_in_words() -> None:
    check = AdmissionCheck()
    for event in (admitted("a", 1.0, 1), admitted("b", 10.0, 2), admitted("c", 15.0, 1)):
        check.record(event)
    (found,) = check.judge(slack=0.0, thaws={})
    assert found.sentence == "r for c: epoch 1 admitted it 5.0 s after epoch 2 had served"
