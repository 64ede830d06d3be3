"""director/core/move_watch: what a room's record says about a move that was asked for."""

from msgspec.structs import replace

from director.contract.ids import Epoch, Incarnation, NodeName, RoomId
from director.contract.ownership import RoomRecord
from director.core.move_watch import Moved, NobodyThere, NotMoved, UnderWay, seen_of

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
I1 = Incarnation("i1")
BEFORE = RoomRecord(RoomId("math-101"), A, I1, Epoch(7), "ring", 20)
ASKED = replace(BEFORE, version=21, target=B, target_incarnation=I1, target_why="ordered")
HANDED_OVER = RoomRecord(BEFORE.room, B, I1, Epoch(8), "ordered", 23, moves=1)


def test_a_move_is_under_way_until_its_room_has_another_owner() -> None:
    for standing in (BEFORE, ASKED, replace(ASKED, version=22, is_warm=True)):
        assert seen_of(ASKED, standing, owner_died=False) == UnderWay()
    assert seen_of(ASKED, HANDED_OVER, owner_died=False) == Moved()


def test_an_older_record_that_names_the_target_is_no_move() -> None:
    """The room was there before: a picture that lags shows it still."""
    assert seen_of(ASKED, replace(HANDED_OVER, epoch=Epoch(6), version=15), owner_died=False) == UnderWay()


def test_a_room_that_went_elsewhere_was_not_moved() -> None:
    seen = seen_of(ASKED, replace(HANDED_OVER, owner=C), owner_died=True)
    assert isinstance(seen, NotMoved)
    assert "c owns the room" in seen.problem


def test_who_gave_the_move_up_is_told_from_who_took_the_room_back() -> None:
    gave_up = seen_of(ASKED, replace(BEFORE, version=22), owner_died=False)
    took_back = seen_of(ASKED, replace(BEFORE, epoch=Epoch(9), version=24), owner_died=False)
    assert isinstance(gave_up, NotMoved)
    assert isinstance(took_back, NotMoved)
    assert "a gave the move up" in gave_up.problem
    assert "a took it back" in took_back.problem


def test_a_dead_owner_moves_nothing_any_more() -> None:
    seen = seen_of(ASKED, ASKED, owner_died=True)
    assert isinstance(seen, NotMoved)
    assert "a died" in seen.problem
    assert seen_of(ASKED, HANDED_OVER, owner_died=True) == Moved()


def test_a_room_without_a_record_was_closed() -> None:
    assert seen_of(ASKED, None, owner_died=False) == NobodyThere()


def test_another_target_is_another_move() -> None:
    assert isinstance(seen_of(ASKED, replace(ASKED, version=25, target=C), owner_died=False), NotMoved)
