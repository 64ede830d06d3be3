"""The history checker: it passes what is right, and every planted fault is caught by its own name."""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace as changed
from typing import TypeVar

import msgspec
import pytest
from msgspec.structs import replace

from director.contract.ids import Epoch, Incarnation, LogId, NodeName, RoomId, Seq, UserId
from loadtest.contract.history import (
    Acked,
    Admitted,
    Asked,
    Denied,
    Finished,
    Framed,
    Gapped,
    HistoryEvent,
    Parted,
    Seen,
)
from loadtest.core.findings import Findings, Promise, StoredEntry, StoredLog
from loadtest.core.history_check import HistoryCheck, check
from persistence.contract.store import OwnerRecord
from shard_node.contract.events import Position

ROOM = RoomId("math-101")
LOG = LogId("log-1")
E = TypeVar("E", bound=HistoryEvent)
History = list[HistoryEvent]


def seen(seq: int, *, cid: str = "", author: str = "", digest: str | None = "d", target: int | None = None) -> Seen:
    who = UserId(author or ("ada" if seq % 2 else "bob"))
    said = None if digest is None else f"{digest}{seq}"
    return Seen(Seq(seq), cid or f"c{seq}", who, said, None if target is None else Seq(target))


def stored(count: int, *, epochs: Sequence[tuple[int, int]] = ((1, 1),)) -> StoredLog:
    """A log of `count` entries, with owners as (epoch, first number)."""
    entries = tuple(StoredEntry(seen(seq), at=1_000 + seq) for seq in range(1, count + 1))
    owners = [OwnerRecord(ROOM, Epoch(epoch), Incarnation(f"i{epoch}"), Seq(first)) for epoch, first in epochs]
    return StoredLog(entries, owners)


def position(seq: int, epoch: int = 1) -> Position:
    return Position(LOG, Epoch(epoch), Seq(seq))


def admitted(client: str, at: int, *, since: int | None = None, tail: Iterable[int] = (), epoch: int = 1) -> Admitted:
    return Admitted(
        client,
        ROOM,
        0.0,
        node=NodeName(f"node-{epoch}"),
        since=None if since is None else position(since, 1),
        pos=position(at, epoch),
        recovered=since is not None,
        reason=None,
        entries=tuple(seen(seq) for seq in tail),
    )


def framed(client: str, first: int, last: int, *, epoch: int = 1) -> Framed:
    entries = tuple(seen(seq) for seq in range(first, last + 1))
    return Framed(client, ROOM, 0.0, LOG, Epoch(epoch), Seq(first), Seq(last), entries)


def acked(seq: int, *, epoch: int = 1) -> Acked:
    author = UserId("ada" if seq % 2 else "bob")
    return Acked(f"{ROOM}/{author}", ROOM, 0.0, f"c{seq}", author, Seq(seq), Epoch(epoch), False)


def asked(seq: int) -> Asked:
    author = UserId("ada" if seq % 2 else "bob")
    return Asked(f"{ROOM}/{author}", ROOM, 0.0, f"c{seq}", author)


def clean_history() -> History:
    """Ten entries. `eve` drops after 4 and comes back to another owner, which wrote 7 to 10."""
    events: History = [admitted("ada", 0), admitted("bob", 0), admitted("eve", 0)]
    events += [asked(seq) for seq in range(1, 11)]
    for client in ("ada", "bob", "eve"):
        events += [framed(client, 1, 2), framed(client, 3, 4)]
    events.append(Parted("eve", ROOM, 0.0, "Lost"))
    events += [framed(client, 5, 6) for client in ("ada", "bob")]
    events += [acked(seq) for seq in range(1, 7)]
    events += [Parted(client, ROOM, 0.0, "Lost") for client in ("ada", "bob")]
    events += [admitted(client, 6, since=6, epoch=2) for client in ("ada", "bob")]
    events += [framed("ada", 7, 10, epoch=2), framed("bob", 7, 8, epoch=2), framed("bob", 9, 10, epoch=2)]
    events.append(admitted("eve", 8, since=4, tail=range(5, 9), epoch=2))
    events.append(framed("eve", 9, 10, epoch=2))
    events += [acked(seq, epoch=2) for seq in range(7, 11)]
    events += [Finished(client, ROOM, 0.0, True) for client in ("ada", "bob", "eve")]
    return events


def clean_log() -> StoredLog:
    return stored(10, epochs=((1, 1), (2, 7)))


def promises(events: Iterable[HistoryEvent], log: StoredLog | None = None) -> list[Promise]:
    return [violation.promise for violation in judged(events, log).violations]


def judged(events: Iterable[HistoryEvent], log: StoredLog | None = None) -> Findings:
    return check(events, {ROOM: log or clean_log()})


def place_of(events: History, kind: type[E], client: str, number: int = 0) -> tuple[int, E]:
    """The `number`th event of a kind that a client had, and its place."""
    found = [(place, e) for place, e in enumerate(events) if isinstance(e, kind) and e.client == client]
    return found[number]


def test_a_clean_history_with_a_dead_owner_and_a_returning_member_passes() -> None:
    findings = judged(clean_history())
    assert findings.violations == ()
    tally = findings.rooms[ROOM]
    assert (tally.members, tally.asked, tally.acked, tally.stored) == (3, 10, 10, 10)
    assert (tally.drops, tally.resumed, tally.restarted, tally.shown) == (3, 3, 0, 30)
    assert (tally.nodes, tally.epochs) == ({"node-1", "node-2"}, 2)
    assert findings.events == len(clean_history())


def test_a_lost_ack_is_caught() -> None:
    """Acked without a commit: the last entry is not there."""
    log = stored(9, epochs=((1, 1), (2, 7)))
    found = judged([event for event in clean_history() if isinstance(event, Asked | Acked)], log)
    assert [(v.promise, v.seq, v.client) for v in found.violations] == [(Promise.ACK_NOT_STORED, 10, f"{ROOM}/bob")]
    assert "c10 was acked as 10" in found.violations[0].sentence


def test_an_ack_with_another_number_than_the_stored_one_is_caught() -> None:
    events = [replace(event, seq=Seq(4)) if event == acked(3) else event for event in clean_history()]
    assert promises(events) == [Promise.ACK_ELSEWHERE]


def test_two_acks_of_one_cid_that_differ_are_caught() -> None:
    assert promises([*clean_history(), replace(acked(3), seq=Seq(5), dup=True)]) == [Promise.ACK_ELSEWHERE]


def test_a_repeated_ack_of_the_same_result_passes() -> None:
    assert promises([*clean_history(), replace(acked(3), dup=True)]) == []


def test_an_ack_of_another_epoch_than_the_owner_record_is_caught() -> None:
    events = [acked(8, epoch=1) if event == acked(8, epoch=2) else event for event in clean_history()]
    assert promises(events) == [Promise.ACK_OF_WRONG_EPOCH]


def test_a_doubled_entry_is_caught() -> None:
    log = clean_log()
    twice = StoredEntry(seen(11, cid="c1", author="ada"), at=2_000)
    assert promises(clean_history(), changed(log, entries=(*log.entries, twice))) == [Promise.DOUBLED]


def test_the_same_cid_of_two_authors_is_no_double() -> None:
    log = clean_log()
    other = StoredEntry(seen(11, cid="c1", author="bob"), at=2_000)
    assert promises(clean_history(), changed(log, entries=(*log.entries, other))) == []


def test_a_hole_in_the_log_is_caught() -> None:
    log = clean_log()
    without = tuple(entry for entry in log.entries if entry.seen.seq != 5)
    found = promises([asked(1), acked(1)], changed(log, entries=without))
    assert found == [Promise.LOG_HOLE]


def pruned_log(floor: int) -> StoredLog:
    """The clean log without its first entries, which were let go for their age."""
    log = clean_log()
    return changed(log, entries=log.entries[floor:], pruned=floor)


def judged_long_after(events: Iterable[HistoryEvent], log: StoredLog) -> Findings:
    history = HistoryCheck()
    for event in events:
        history.record(event)
    return history.judge({ROOM: log}, long_after=True)


@pytest.mark.parametrize("floor", [1, 5, 8, 10])
def test_a_log_that_was_pruned_since_passes_and_says_how_much_could_not_be_looked_for(floor: int) -> None:
    """Entries below the floor once counted as lost, and the first one above it as one after a hole."""
    findings = judged_long_after(clean_history(), pruned_log(floor))
    assert findings.violations == ()
    assert (findings.rooms[ROOM].pruned, findings.rooms[ROOM].stored) == (floor, 10 - floor)


def test_what_is_above_the_pruned_floor_is_judged_as_ever() -> None:
    log = pruned_log(4)
    without = tuple(entry for entry in log.entries if entry.seen.seq != 8)
    found = [it.promise for it in judged_long_after(clean_history(), changed(log, entries=without)).violations]
    assert found == [Promise.LOG_HOLE, Promise.ACK_NOT_STORED, Promise.SHOWN_NOT_STORED]
    found = [it.promise for it in judged_long_after([*clean_history(), admitted("zoe", 12, epoch=2)], log).violations]
    assert found == [Promise.SHOWN_NOT_STORED]
    moved = [replace(event, seq=Seq(3)) if event == acked(8, epoch=2) else event for event in clean_history()]
    assert [it.promise for it in judged_long_after(moved, log).violations] == [Promise.ACK_ELSEWHERE]


def test_nothing_that_was_acked_just_now_can_have_been_pruned() -> None:
    events = [event for event in clean_history() if isinstance(event, Asked | Acked)]
    found = judged(events, pruned_log(2)).violations
    assert [(it.promise, it.seq) for it in found] == [(Promise.ACK_NOT_STORED, 1), (Promise.ACK_NOT_STORED, 2)]


def test_a_new_owner_of_a_room_whose_entries_are_all_pruned_does_not_contradict_the_former_one() -> None:
    log = changed(stored(0, epochs=((1, 1), (2, 7), (3, 11))), pruned=10)
    assert judged_long_after([admitted("zoe", 10, epoch=3)], log).violations == ()
    beyond = changed(log, pruned=9)
    assert {it.promise for it in judged_long_after([asked(1)], beyond).violations} == {Promise.OWNERS_DISAGREE}


def test_a_log_whose_time_goes_back_is_caught() -> None:
    log = clean_log()
    earlier = changed(log.entries[4], at=1)
    found = promises(clean_history(), changed(log, entries=(*log.entries[:4], earlier, *log.entries[5:])))
    assert found == [Promise.AT_FELL]


def test_an_unreported_hole_is_caught() -> None:
    """A frame that was dropped on its way to one member."""
    events = clean_history()
    place, _ = place_of(events, Framed, "bob", 1)
    del events[place]
    found = judged(events)
    assert [(v.promise, v.seq, v.client) for v in found.violations] == [(Promise.UNREPORTED, 3, "bob")]


def test_a_dropped_last_frame_is_caught() -> None:
    events = clean_history()
    place, _ = place_of(events, Framed, "bob", 4)
    del events[place]
    found = judged(events)
    assert [(v.promise, v.seq, v.client) for v in found.violations] == [(Promise.MISSED_END, 9, "bob")]


def test_a_member_that_was_not_live_in_the_end_need_not_have_seen_it() -> None:
    events = clean_history()
    place, _ = place_of(events, Framed, "bob", 4)
    del events[place]
    events[place_of(events, Finished, "bob")[0]] = Finished("bob", ROOM, 0.0, False)
    assert promises(events) == []


def test_a_hole_that_a_gap_tells_of_passes_and_is_counted() -> None:
    events = clean_history()
    place, frame = place_of(events, Framed, "bob", 1)
    events[place] = Gapped("bob", ROOM, 0.0, LOG, frame.epoch, frame.from_, frame.to, (seen(4),))
    findings = judged(events)
    assert findings.violations == ()
    assert findings.rooms[ROOM].gaps == 1
    assert findings.rooms[ROOM].not_given == 1


def test_re_ordered_frames_are_caught() -> None:
    events = clean_history()
    first, _ = place_of(events, Framed, "ada", 0)
    events[first], events[first + 1] = events[first + 1], events[first]
    assert promises(events) == [Promise.UNREPORTED, Promise.REORDERED]


def test_a_repeated_frame_is_caught() -> None:
    events = clean_history()
    place, frame = place_of(events, Framed, "ada", 1)
    events.insert(place + 1, frame)
    found = judged(events)
    assert [(v.promise, v.seq, v.client) for v in found.violations] == [(Promise.REPEATED, 3, "ada")]


def test_an_overlapping_frame_is_caught() -> None:
    events = clean_history()
    place, _ = place_of(events, Framed, "ada", 1)
    events[place] = framed("ada", 2, 4)
    assert promises(events) == [Promise.REPEATED]


def test_a_frame_of_an_older_epoch_after_a_newer_one_is_caught() -> None:
    events = clean_history()
    place, frame = place_of(events, Framed, "eve", 2)
    events[place] = replace(frame, epoch=Epoch(1))
    found = promises(events)
    assert Promise.EPOCH_FELL in found
    assert set(found) == {Promise.EPOCH_FELL, Promise.SHOWN_BEFORE_OWNED}


def test_an_old_owner_that_shows_what_the_new_one_wrote_is_caught() -> None:
    events = [*clean_history(), admitted("zoe", 10, tail=(9, 10), epoch=1)]
    assert promises(events) == [Promise.SHOWN_BEFORE_OWNED, Promise.SHOWN_BEFORE_OWNED]


def test_a_stale_prefix_from_an_old_owner_passes() -> None:
    assert promises([*clean_history(), admitted("zoe", 6, tail=(5, 6), epoch=1)]) == []


def test_something_shown_that_is_not_stored_is_caught() -> None:
    """Shown before its commit, which then failed."""
    events = [*clean_history(), framed("ada", 11, 11, epoch=2)]
    assert promises(events) == [Promise.SHOWN_NOT_STORED, Promise.SHOWN_NOT_STORED]


def test_a_head_past_the_log_is_caught() -> None:
    assert promises([*clean_history(), admitted("zoe", 12, epoch=2)]) == [Promise.SHOWN_NOT_STORED]


@pytest.mark.parametrize("other", [seen(3, cid="x"), seen(3, author="eve"), seen(3, digest="x")])
def test_an_entry_shown_with_another_content_than_is_stored_is_caught(other: Seen) -> None:
    events: History = [admitted("ada", 0), replace(framed("ada", 1, 3), entries=(seen(1), seen(2), other))]
    assert promises(events) == [Promise.SHOWN_OTHERWISE]


def test_an_entry_shown_to_two_members_with_different_contents_is_caught() -> None:
    events = clean_history()
    place, frame = place_of(events, Framed, "bob", 0)
    events[place] = replace(frame, entries=(seen(1), seen(2, digest="other")))
    assert promises(events) == [Promise.SHOWN_OTHERWISE]


def deleted_log() -> StoredLog:
    """Entry 2 is deleted by entry 5."""
    log = stored(5)
    entries = list(log.entries)
    entries[1] = StoredEntry(seen(2, digest=None), at=1_002)
    entries[4] = StoredEntry(seen(5, target=2), at=1_005)
    return changed(log, entries=tuple(entries))


def test_a_text_shown_before_its_deletion_passes_and_afterwards_is_caught() -> None:
    delete = replace(framed("ada", 5, 5), entries=(seen(5, target=2),))
    events: History = [admitted("ada", 0), framed("ada", 1, 4), delete]
    assert promises(events, deleted_log()) == []
    gone = replace(admitted("bob", 5), entries=(seen(2, digest=None), seen(3), seen(4), seen(5, target=2)))
    assert promises([*events, gone], deleted_log()) == []
    assert promises([gone, *events], deleted_log()) == []
    told = replace(admitted("bob", 5), entries=(seen(2), seen(3), seen(4), seen(5, target=2)))
    assert promises([*events, told], deleted_log()) == [Promise.DELETED_SHOWN]


def test_a_deletion_of_something_nobody_was_shown_passes() -> None:
    late = replace(admitted("bob", 5), entries=(seen(5, target=2),))
    assert promises([late], deleted_log()) == []


def test_a_resume_that_left_something_out_is_caught() -> None:
    events = clean_history()
    place, back = place_of(events, Admitted, "eve", 1)
    events[place] = replace(back, entries=back.entries[1:])
    assert promises(events) == [Promise.MALFORMED]
    events[place] = replace(back, entries=back.entries[:-1])
    assert promises(events) == [Promise.MALFORMED]


def test_a_resume_to_nowhere_is_caught() -> None:
    """`recovered` although the client had no position: then everything from 1 on must be there."""
    events: History = [replace(admitted("ada", 4, tail=(3, 4)), recovered=True)]
    assert promises(events) == [Promise.MALFORMED]


def test_a_return_that_is_told_not_to_be_complete_passes_and_is_counted() -> None:
    events = clean_history()
    place, back = place_of(events, Admitted, "eve", 1)
    events[place] = replace(back, recovered=False, reason="too_far", entries=(seen(8),))
    findings = judged(events)
    assert findings.violations == ()
    assert findings.rooms[ROOM].restarted == 1
    assert findings.rooms[ROOM].not_given == 3


def test_a_return_with_an_empty_tail_that_is_told_not_to_be_complete_passes() -> None:
    events = clean_history()
    place, back = place_of(events, Admitted, "eve", 1)
    events[place] = replace(back, recovered=False, reason="too_far", entries=())
    findings = judged(events)
    assert findings.violations == ()
    assert findings.rooms[ROOM].not_given == 4


def test_a_tail_that_does_not_reach_the_head_is_caught() -> None:
    assert promises([admitted("ada", 6, tail=(4, 5))]) == [Promise.MALFORMED]


@pytest.mark.parametrize("given", [(1, 3), (1,), (1, 2, 3, 4), (2, 1)])
def test_a_frame_that_does_not_hold_its_range_is_caught(given: tuple[int, ...]) -> None:
    wrong = replace(framed("ada", 1, 3), entries=tuple(seen(seq) for seq in given))
    assert promises([admitted("ada", 0), wrong]) == [Promise.MALFORMED]


@pytest.mark.parametrize("given", [(2, 1), (3, 4), (0, 1)])
def test_a_gap_with_entries_outside_its_range_is_caught(given: tuple[int, ...]) -> None:
    entries = tuple(seen(seq) for seq in given)
    gap = Gapped("ada", ROOM, 0.0, LOG, Epoch(1), Seq(1), Seq(3), entries)
    assert Promise.MALFORMED in promises([admitted("ada", 0), gap])


def test_a_frame_before_the_join_is_caught() -> None:
    assert Promise.BEFORE_JOINED in promises([framed("ada", 1, 2), admitted("ada", 2)])
    events: History = [admitted("ada", 0), Parted("ada", ROOM, 0.0, "Lost"), framed("ada", 1, 2)]
    assert promises(events) == [Promise.BEFORE_JOINED]


def test_a_member_that_comes_back_with_a_position_that_is_not_its_own_is_caught() -> None:
    events = clean_history()
    place, back = place_of(events, Admitted, "eve", 1)
    events[place] = replace(back, since=position(3), entries=(seen(4), *back.entries))
    assert promises(events) == [Promise.MISREMEMBERED]


def test_a_member_that_rejoins_before_a_hole_is_not_blamed_for_its_position() -> None:
    events: History = [admitted("ada", 0), framed("ada", 1, 2), framed("ada", 5, 6)]
    events += [Parted("ada", ROOM, 0.0, "Lost"), admitted("ada", 6, since=2, tail=range(3, 7))]
    assert promises(events) == [Promise.UNREPORTED]


def test_a_head_that_lies_before_what_was_shown_is_caught() -> None:
    events: History = [admitted("ada", 0), framed("ada", 1, 6), Parted("ada", ROOM, 0.0, "Lost")]
    events.append(replace(admitted("ada", 5, since=6, tail=(4, 5)), recovered=False, reason="new_log"))
    assert promises(events) == [Promise.HEAD_FELL]


def test_a_position_that_is_refused_although_the_log_holds_it_is_caught() -> None:
    events: History = [admitted("ada", 0), framed("ada", 1, 4), Parted("ada", ROOM, 0.0, "Lost")]
    events.append(replace(admitted("ada", 6, since=4, tail=(5, 6)), recovered=False, reason="new_log"))
    assert promises(events) == [Promise.FORGOTTEN]


def test_a_second_log_of_one_room_is_caught() -> None:
    other = replace(admitted("bob", 0), pos=Position(LogId("log-2"), Epoch(1), Seq(0)))
    assert promises([admitted("ada", 0), other]) == [Promise.LOG_CHANGED]


def test_two_nodes_that_serve_one_epoch_are_caught() -> None:
    other = replace(admitted("bob", 0), node=NodeName("node-9"))
    assert promises([admitted("ada", 0), other]) == [Promise.TWO_OWNERS]


def test_an_epoch_that_the_store_never_took_is_caught() -> None:
    """Admitted without asking the guard: the store has another owner."""
    assert promises([admitted("ada", 10, epoch=3)]) == [Promise.UNKNOWN_OWNER]


@pytest.mark.parametrize(
    "epochs",
    [((1, 1), (1, 7)), ((2, 1), (1, 7)), ((1, 1), (2, 12)), ((1, 5), (2, 3))],
    ids=["one epoch twice", "epochs fall", "past the end", "numbers fall"],
)
def test_owner_records_that_contradict_each_other_are_caught(epochs: Sequence[tuple[int, int]]) -> None:
    found = promises([asked(1)], stored(10, epochs=epochs))
    assert set(found) == {Promise.OWNERS_DISAGREE}


def test_an_owner_that_wrote_nothing_does_not_count_as_a_writer() -> None:
    log = stored(10, epochs=((1, 1), (2, 7), (3, 7), (4, 11)))
    events = [replace(acked(8), epoch=Epoch(3)), acked(6)]
    assert promises(events, log) == []
    assert promises([replace(acked(8), epoch=Epoch(2))], log) == [Promise.ACK_OF_WRONG_EPOCH]


def test_without_owner_records_everything_else_is_judged() -> None:
    log = changed(clean_log(), owners=None)
    assert promises(clean_history(), log) == []
    assert promises([*clean_history(), replace(acked(2), cid="lost")], log) == [Promise.ACK_NOT_STORED]


def test_entries_before_the_first_owner_record_have_no_writer() -> None:
    log = stored(4, epochs=((1, 3),))
    assert Promise.ACK_OF_WRONG_EPOCH in promises([acked(1)], log)
    assert Promise.SHOWN_BEFORE_OWNED not in promises([admitted("ada", 4, tail=(1, 2, 3, 4))], log)


def test_a_room_whose_log_is_missing_is_not_passed() -> None:
    found = check(clean_history(), {}).violations
    assert [violation.promise for violation in found] == [Promise.LOG_UNREAD]


def test_what_was_denied_may_or_may_not_be_stored() -> None:
    events: History = [asked(1), Denied("ada", ROOM, 0.0, "c1", "NOT_DONE"), asked(99)]
    findings = judged(events)
    assert findings.violations == ()
    assert findings.rooms[ROOM].unanswered == 1


def test_a_refusal_is_counted_apart_from_no_answer() -> None:
    findings = judged([asked(1), Denied("ada", ROOM, 0.0, "c1", "MODE_CLOSED")])
    assert (findings.rooms[ROOM].refused, findings.rooms[ROOM].unanswered) == (1, 0)


def test_rooms_are_judged_apart() -> None:
    other = RoomId("art-1")
    elsewhere: History = [replace(event, room=other) for event in clean_history()]
    history = HistoryCheck()
    for event in (*clean_history(), *elsewhere):
        history.record(event)
    assert history.rooms == (other, ROOM)
    assert history.highest_ack(other) == 10
    assert history.highest_ack(RoomId("empty")) == 0
    assert history.judge({ROOM: clean_log(), other: clean_log()}).violations == ()


def test_a_hundred_thousand_events_are_judged_in_a_moment() -> None:
    log = stored(2_000)
    events: History = []
    for client in range(50):
        events.append(admitted(f"m{client}", 0))
        events += [framed(f"m{client}", seq, seq) for seq in range(1, 2_001)]
    began_at = time.process_time()
    assert judged(events, log).violations == ()
    assert time.process_time() - began_at < 10


def test_a_history_says_the_same_after_it_was_written_and_read() -> None:
    from loadtest.contract.history import events_in

    lines = [msgspec.json.encode(event) + b"\n" for event in clean_history()]
    assert list(events_in(lines, name="h")) == clean_history()


def plant_skip(events: History, chance: random.Random) -> None:
    frames = [place for place, event in enumerate(events) if isinstance(event, Framed)]
    del events[chance.choice(frames)]


def plant_repeat(events: History, chance: random.Random) -> None:
    frames = [place for place, event in enumerate(events) if isinstance(event, Framed)]
    place = chance.choice(frames)
    events.insert(place, events[place])


def plant_false_ack(events: History, chance: random.Random) -> None:
    events.append(replace(acked(chance.randint(1, 6)), cid="never stored"))


@pytest.mark.parametrize("plant", [plant_skip, plant_repeat, plant_false_ack])
@pytest.mark.parametrize("seed", range(5))
def test_a_fault_planted_anywhere_is_caught(plant: Callable[[History, random.Random], None], seed: int) -> None:
    events = clean_history()
    plant(events, random.Random(seed))
    assert promises(events) != []
