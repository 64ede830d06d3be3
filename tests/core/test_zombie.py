"""What an owner still showed that slept, was replaced meanwhile, and woke."""

import pytest

from director.contract.ids import Epoch, Incarnation, LogId, NodeName, RoomId, Seq
from loadtest.contract.history import Admitted, Framed, Gapped, Parted
from loadtest.core.zombie import Waking, Wakings
from persistence.contract.store import OwnerRecord
from shard_node.contract.events import Position

MATH, ART = RoomId("math"), RoomId("art")
N1, N2 = NodeName("node-1"), NodeName("node-2")
LOG = LogId("log")
OWNERS = {
    MATH: (
        OwnerRecord(MATH, Epoch(1), Incarnation("i1"), Seq(1)),
        OwnerRecord(MATH, Epoch(4), Incarnation("i2"), Seq(8)),
    )
}


def admitted(room: RoomId = MATH, *, node: NodeName = N1, epoch: int = 1, at: float = 1.0) -> Admitted:
    position = Position(LOG, Epoch(epoch), Seq(0))
    return Admitted("a", room, at, node, since=None, pos=position, recovered=False, reason=None, entries=())


def framed(to: int, at: float, *, room: RoomId = MATH, epoch: int = 1) -> Framed:
    return Framed("a", room, at, LOG, Epoch(epoch), Seq(to), Seq(to), ())


def waking(*events: Admitted | Framed | Gapped | Parted, node: NodeName = N1) -> Waking:
    wakings = Wakings()
    for event in events:
        wakings.record(event)
    return wakings.waking_of(node, slept_at=100.0, woke_at=110.0, owners=OWNERS)


def test_frames_after_the_waking_are_counted_and_the_last_is_timed() -> None:
    found = waking(
        admitted(),
        framed(5, 99.0),
        framed(6, 110.25),
        framed(7, 110.125),
        framed(8, 120.0, epoch=4),
        Parted("a", MATH, 0, ""),
    )
    assert found == Waking(rooms=1, frames=2, latest=0.25, past_fence=0)


def test_a_frame_that_reached_many_counts_once_and_by_the_last_who_heard_it() -> None:
    found = waking(admitted(), framed(5, 99.0), framed(6, 110.25), framed(6, 110.5))
    assert found == Waking(rooms=1, frames=1, latest=0.5, past_fence=0)


def test_what_the_new_owner_wrote_cannot_come_from_the_old_one() -> None:
    found = waking(admitted(), framed(5, 99.0), Gapped("a", MATH, 111.0, LOG, Epoch(1), Seq(6), Seq(8), ()))
    assert (found.frames, found.past_fence) == (1, 1)


def test_who_woke_and_said_nothing_is_counted_with_its_rooms() -> None:
    assert waking(admitted(), framed(5, 99.0)) == Waking(rooms=1, frames=0, latest=None, past_fence=0)


@pytest.mark.parametrize(
    "events",
    [
        (admitted(ART), framed(5, 99.0, room=ART), framed(6, 111.0, room=ART)),
        (admitted(node=N2), framed(5, 99.0), framed(6, 111.0)),
        (admitted(), framed(6, 111.0)),
        (admitted(epoch=4), framed(5, 99.0, epoch=4), framed(9, 111.0, epoch=4)),
    ],
    ids=["a room that nobody else was given", "another node", "opened after the sleep", "the last owner"],
)
def test_what_is_no_zombie_s_is_left_out(events: tuple[Admitted | Framed, ...]) -> None:
    assert waking(*events) == Waking(rooms=0, frames=0, latest=None, past_fence=0)
