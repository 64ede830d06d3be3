"""The history checker: what members were told and shown, judged against each other and against the store's log.

It proves, or names what contradicts it: every acked entry is stored once, at its number, with its cid; none is doubled;
the log is numbered 1 to n, or on from what was pruned; every member was given the entries in order, each once, or told
of the range that it was not given; a member that resumed missed nothing; per member epochs never fall; nothing was
shown that is not stored; one owner for each epoch. One checker serves replay, load and torture.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from director.contract.ids import RoomId
from loadtest.contract.history import HistoryEvent
from loadtest.core.findings import Findings, Promise, StoredEntry, StoredLog, Violation
from loadtest.core.hearing import Hearing
from persistence.contract.store import OwnerRecord


class HistoryCheck:
    """Hears events in any mixture of clients and rooms, each client's in order, then judges. A recorder, too."""

    def __init__(self) -> None:
        self._hearings: dict[RoomId, Hearing] = {}
        self._events = 0

    @property
    def rooms(self) -> tuple[RoomId, ...]:
        """The rooms heard of, whose logs `judge` wants."""
        return tuple(sorted(self._hearings))

    def record(self, event: HistoryEvent) -> None:
        """Hear one event."""
        self._events += 1
        hearing = self._hearings.get(event.room)
        if hearing is None:
            hearing = self._hearings[event.room] = Hearing(event.room)
        hearing.hear(event)

    def highest_ack(self, room: RoomId) -> int:
        """The highest number that was acked in `room`, 0 if none was."""
        hearing = self._hearings.get(room)
        return max((seq for seq, _, _ in hearing.acks.values()), default=0) if hearing else 0

    def judge(self, logs: Mapping[RoomId, StoredLog], *, long_after: bool = False) -> Findings:
        """The verdict, given the logs as they stand after the last event. Only if they were read `long_after` it may an
        acked entry have been pruned."""
        violations: list[Violation] = []
        for room, hearing in sorted(self._hearings.items()):
            violations += hearing.violations
            log = logs.get(room)
            if log is None:
                violations.append(Violation(Promise.LOG_UNREAD, room, None, None, f"{room}: its log was not given"))
                continue
            violations += _RoomJudge(hearing, log, long_after=long_after).judged()
            hearing.tally.stored = len(log.entries)
            hearing.tally.epochs = len(hearing.epochs)
        rooms = {room: hearing.tally for room, hearing in self._hearings.items()}
        return Findings(tuple(violations), rooms, self._events)


def check(events: Iterable[HistoryEvent], logs: Mapping[RoomId, StoredLog]) -> Findings:
    """Judge a whole history at once."""
    history = HistoryCheck()
    for event in events:
        history.record(event)
    return history.judge(logs)


class _RoomJudge:
    """Compares one room's hearing with its log."""

    def __init__(self, hearing: Hearing, log: StoredLog, *, long_after: bool) -> None:
        self._hearing = hearing
        self._entries: dict[int, StoredEntry] = {entry.seen.seq: entry for entry in log.entries}
        self._log = log
        self._long_after = long_after
        self._last = max(self._entries, default=log.pruned)
        self._found: list[Violation] = []

    def judged(self) -> Sequence[Violation]:
        self._judge_log()
        self._judge_acks()
        self._judge_shown()
        self._judge_ends()
        if self._log.owners is not None:
            self._judge_owners(self._log.owners)
        return self._found

    def _judge_log(self) -> None:
        stands: dict[tuple[str, str], int] = {}
        last_seq, last_at = self._log.pruned, 0
        for entry in self._log.entries:
            seen = entry.seen
            if seen.seq != last_seq + 1:
                self._break(Promise.LOG_HOLE, seen.seq, f"{seen.seq} follows {last_seq}")
            if entry.at < last_at:
                self._break(Promise.AT_FELL, seen.seq, f"{seen.seq} is of {entry.at}, the one before of {last_at}")
            before = stands.setdefault((seen.author, seen.cid), seen.seq)
            if before != seen.seq:
                self._break(Promise.DOUBLED, seen.seq, f"{seen.cid} of {seen.author} is {before} and {seen.seq}")
            last_seq, last_at = seen.seq, entry.at
            if seen.target is not None and seen.target in self._hearing.shown:
                shown = self._hearing.shown[seen.target]
                if shown.text_shown_at_head >= seen.seq:
                    said = f"the text of {seen.target} was shown together with {shown.text_shown_at_head}"
                    self._break(Promise.DELETED_SHOWN, seen.target, f"{said}, but {seen.seq} deletes it")
        self._stands = stands

    def _judge_acks(self) -> None:
        owners = self._log.owners
        for (author, cid), (seq, epoch, client) in self._hearing.acks.items():
            stored = self._stands.get((author, cid))
            if stored is None and self._long_after and seq <= self._log.pruned:
                self._hearing.tally.pruned += 1
            elif stored is None:
                self._break(Promise.ACK_NOT_STORED, seq, f"{cid} was acked as {seq} and is not there", client)
            elif stored != seq:
                self._break(Promise.ACK_ELSEWHERE, seq, f"{cid} was acked as {seq} and stands at {stored}", client)
            elif owners is not None and _writer_of(seq, owners) != epoch:
                said = f"{seq} was acked in epoch {epoch}, its owner was of epoch {_writer_of(seq, owners)}"
                self._break(Promise.ACK_OF_WRONG_EPOCH, seq, said, client)

    def _judge_shown(self) -> None:
        for seq, shown in self._hearing.shown.items():
            stored = self._entries.get(seq)
            if stored is None and seq <= self._log.pruned:
                continue
            if stored is None:
                said = f"{seq} ({shown.seen.cid}) was shown and is not there"
                self._break(Promise.SHOWN_NOT_STORED, seq, said, shown.client)
                continue
            same = (stored.seen.cid, stored.seen.author) == (shown.seen.cid, shown.seen.author)
            if not same or (
                None not in (stored.seen.digest, shown.seen.digest) and stored.seen.digest != shown.seen.digest
            ):
                said = f"{seq} was shown with another content than is stored"
                self._break(Promise.SHOWN_OTHERWISE, seq, said, shown.client)
        head, client = self._hearing.head
        if head > (last := self._last):
            self._break(Promise.SHOWN_NOT_STORED, head, f"it was told of {head}, the log ends at {last}", client)

    def _judge_ends(self) -> None:
        end = max((seq for seq, _, _ in self._hearing.acks.values()), default=0)
        for client, member in self._hearing.members.items():
            if member.finished_live and member.last < end:
                said = f"{member.last + 1} to {end} never came, though it was live"
                self._break(Promise.MISSED_END, member.last + 1, said, client)

    def _judge_owners(self, owners: Sequence[OwnerRecord]) -> None:
        last_epoch, last_first, end = 0, 1, self._last
        for record in owners:
            if record.epoch <= last_epoch or not last_first <= record.first_seq <= end + 1:
                said = f"the record of epoch {record.epoch} from {record.first_seq} on follows epoch {last_epoch}"
                self._break(Promise.OWNERS_DISAGREE, record.first_seq, f"{said} from {last_first} on")
            last_epoch, last_first = record.epoch, record.first_seq
        known = {record.epoch for record in owners}
        for epoch, client in self._hearing.epochs.items():
            if epoch not in known:
                said = f"epoch {epoch} served, the store knows {sorted(known)}"
                self._break(Promise.UNKNOWN_OWNER, None, said, client)
        for seq, shown in self._hearing.shown.items():
            writer = _writer_of(seq, owners)
            if writer is not None and shown.lowest_epoch < writer:
                said = f"{seq} was shown by epoch {shown.lowest_epoch}, but epoch {writer} wrote it"
                self._break(Promise.SHOWN_BEFORE_OWNED, seq, said, shown.client)

    def _break(self, promise: Promise, seq: int | None, said: str, client: str | None = None) -> None:
        room = self._hearing.room
        who = "" if client is None else f" for {client}"
        self._found.append(Violation(promise, room, seq, client, f"{room}{who}: {said}"))


def _writer_of(seq: int, owners: Sequence[OwnerRecord]) -> int | None:
    """The epoch that wrote entry `seq`: of owners that wrote nothing, the last counts."""
    place = bisect_right(owners, seq, key=lambda record: record.first_seq)
    return owners[place - 1].epoch if place else None
