"""A member's timeline: in order, each number once, whatever order events are handled in."""

import itertools

import msgspec
import pytest

from director.contract.ids import Epoch, LogId, Role, RoomId, Seq, UserId
from loadtest.contract.received import Frame, Joined
from loadtest.core.stamp import asked_at_of, stamped_cid
from loadtest.core.timeline import Applied, Foreign, Held, Started, Timeline
from persistence.contract.messages import Author, Entry, Kind, Mode
from shard_node.contract.events import Position, RoomSnapshot

LOG = LogId("log")
ADA = Author(UserId("ada"), "Ada", Role.STUDENT)


def entries(*numbers: int) -> tuple[Entry, ...]:
    return tuple(Entry(Seq(n), n, Kind.MESSAGE, f"c{n}", ADA, text=f"text {n}") for n in numbers)


def frame(first: int, last: int, *, epoch: int = 1, only: tuple[int, ...] | None = None, log: str = LOG) -> Frame:
    given = tuple(range(first, last + 1)) if only is None else only
    return Frame(LogId(log), Epoch(epoch), Seq(first), Seq(last), entries(*given))


def joined(at: int, *given: int, recovered: bool = False, epoch: int = 1) -> Joined:
    snapshot = RoomSnapshot(Mode.OPEN, 0, None, 1)
    pos = Position(LOG, Epoch(epoch), Seq(at))
    return Joined(RoomId("r"), ADA, pos, recovered, None, entries(*given), snapshot, 250)


def seqs(outcome: object) -> list[int]:
    assert isinstance(outcome, Applied | Started)
    return [entry.seq for entry in outcome.entries]


def test_a_first_join_starts_the_list_with_its_tail() -> None:
    line = Timeline()
    outcome = line.join(joined(7, 5, 6, 7))
    assert isinstance(outcome, Started)
    assert seqs(outcome) == [5, 6, 7]
    assert line.position == Position(LOG, Epoch(1), Seq(7))


def test_a_resume_goes_on_where_the_list_was() -> None:
    line = Timeline()
    line.join(joined(3))
    outcome = line.join(joined(6, 3, 4, 5, 6, recovered=True, epoch=2))
    assert isinstance(outcome, Applied)
    assert seqs(outcome) == [4, 5, 6]
    assert line.position == Position(LOG, Epoch(2), Seq(6))


def test_a_return_that_is_not_complete_starts_the_list_anew() -> None:
    line = Timeline()
    line.join(joined(3))
    assert isinstance(line.join(joined(900, 899, 900)), Started)


def test_frames_are_applied_in_order_and_move_the_position() -> None:
    line = Timeline()
    line.join(joined(0))
    assert seqs(line.take(frame(1, 2))) == [1, 2]
    assert seqs(line.take(frame(3, 3, epoch=4))) == [3]
    assert line.position == Position(LOG, Epoch(4), Seq(3))


def test_what_overlaps_is_cut() -> None:
    line = Timeline()
    line.join(joined(2))
    assert seqs(line.take(frame(1, 4))) == [3, 4]
    assert seqs(line.take(frame(1, 4))) == []
    assert line.position == Position(LOG, Epoch(1), Seq(4))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_frames_handled_in_any_order_are_applied_in_theirs(order: tuple[int, ...]) -> None:
    line = Timeline()
    line.join(joined(0))
    frames = [frame(1, 2), frame(3, 3), frame(4, 6, only=(4,)), frame(7, 8)]
    applied: list[int] = []
    for place in order:
        outcome = line.take(frames[place], is_gap=place == 2)
        if isinstance(outcome, Applied):
            applied += seqs(outcome)
    assert applied == [1, 2, 3, 4, 7, 8]
    assert not line.has_hole


def test_a_frame_after_a_hole_waits_for_what_is_missing() -> None:
    line = Timeline()
    line.join(joined(0))
    assert line.take(frame(3, 4)) == Held()
    assert line.has_hole
    assert line.position == Position(LOG, Epoch(1), Seq(0))
    assert seqs(line.take(frame(1, 2))) == [1, 2, 3, 4]
    assert not line.has_hole


def test_a_gap_moves_the_position_and_tells_what_was_skipped() -> None:
    line = Timeline()
    line.join(joined(2))
    outcome = line.take(frame(2, 9, only=(2, 5)), is_gap=True)
    assert isinstance(outcome, Applied)
    assert seqs(outcome) == [5]
    assert outcome.skipped == ((3, 9),)
    assert line.position == Position(LOG, Epoch(1), Seq(9))


def test_a_new_connection_forgets_what_the_former_one_left_waiting() -> None:
    line = Timeline()
    line.join(joined(0))
    line.take(frame(5, 5))
    line.join(joined(1, 1, recovered=True))
    assert not line.has_hole
    assert seqs(line.take(frame(2, 2))) == [2]


def test_a_frame_of_another_log_or_before_the_join_is_foreign() -> None:
    line = Timeline()
    assert line.take(frame(1, 1)) == Foreign()
    line.join(joined(0))
    assert line.take(frame(1, 1, log="other")) == Foreign()
    assert line.position == Position(LOG, Epoch(1), Seq(0))


def test_an_older_epoch_does_not_lower_the_position() -> None:
    line = Timeline()
    line.join(joined(0, epoch=5))
    line.take(frame(1, 1, epoch=3))
    assert line.position == Position(LOG, Epoch(5), Seq(1))


def test_a_frame_is_read_from_the_wire_by_its_names_there() -> None:
    wire = {"log": "log", "epoch": 1, "from": 1, "to": 2, "entries": [], "new_field": 1}
    assert msgspec.convert(wire, Frame) == Frame(LOG, Epoch(1), Seq(1), Seq(2), ())


class TestStamp:
    """A `cid` that tells when its sender first asked."""

    def test_it_tells_the_time_to_the_microsecond(self) -> None:
        import random

        cid = stamped_cid(12_345.678901, random.Random(1))
        assert asked_at_of(cid) == pytest.approx(12_345.678901, abs=1e-6)
        assert len(cid) <= 40

    def test_two_of_the_same_moment_differ(self) -> None:
        import random

        rng = random.Random(1)
        assert stamped_cid(1.0, rng) != stamped_cid(1.0, rng)

    @pytest.mark.parametrize("cid", ["", "abc", "short.12", "0123456789abcdef", "0123456789abcdef.xyz"])
    def test_the_ids_of_others_tell_nothing(self, cid: str) -> None:
        assert asked_at_of(cid) is None
