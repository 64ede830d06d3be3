"""A hearing: what the members of one room say they were told and shown, judged by itself, without the store.

It keeps one line for each member and each entry, not for each delivery, so that a history of any length fits.
"""

from dataclasses import dataclass, field
from typing import assert_never

from director.contract.ids import LogId, RoomId
from loadtest.contract.history import (
    NOT_DONE,
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
from loadtest.core.findings import Promise, Tally, Violation


@dataclass(slots=True)
class Member:
    """What one member has been given: everything up to `last`, but for the `missing` ranges."""

    joined: bool = False
    log: LogId | None = None
    last: int = 0
    epoch: int = 0
    missing: list[tuple[int, int]] = field(default_factory=list)
    finished_live: bool = False


@dataclass(slots=True)
class ShownEntry:
    """An entry as it was shown first, and the bounds of when and by whom it was shown."""

    seen: Seen
    client: str
    lowest_epoch: int
    text_shown_at_head: int


class Hearing:
    """Hears the events of one room. Public fields are what the store's log is compared with."""

    def __init__(self, room: RoomId) -> None:
        self.room = room
        self.tally = Tally()
        self.violations: list[Violation] = []
        self.members: dict[str, Member] = {}
        self.acks: dict[tuple[str, str], tuple[int, int, str]] = {}
        self.shown: dict[int, ShownEntry] = {}
        self.head: tuple[int, str] = (0, "")
        self.epochs: dict[int, str] = {}
        self._nodes: dict[int, str] = {}
        self._log: LogId | None = None

    def hear(self, event: HistoryEvent) -> None:
        """Take the next event of its client."""
        match event:
            case Framed():
                self.tally.frames += 1
                self._hear_range(event)
            case Gapped():
                self.tally.gaps += 1
                self.tally.not_given += event.to - event.from_ + 1 - len(event.entries)
                self._hear_range(event)
            case Admitted():
                self._hear_admitted(event)
            case Asked():
                self.tally.asked += 1
            case Acked():
                self._hear_acked(event)
            case Denied():
                if event.code == NOT_DONE:
                    self.tally.unanswered += 1
                else:
                    self.tally.refused += 1
            case Parted():
                self.tally.drops += event.why != "left"
                self._member(event.client).joined = False
            case Finished():
                self._member(event.client).finished_live = event.live
            case _:  # pragma: no cover  # the type checker proves it
                assert_never(event)

    def _member(self, client: str) -> Member:
        member = self.members.get(client)
        if member is None:
            member = self.members[client] = Member()
            self.tally.members += 1
        return member

    def _hear_acked(self, event: Acked) -> None:
        self.tally.acked += 1
        known = self.acks.setdefault((event.author, event.cid), (event.seq, event.epoch, event.client))
        if known[:2] != (event.seq, event.epoch):
            said = (
                f"{event.cid} was acked as {known[0]} of epoch {known[1]}, then as {event.seq} of epoch {event.epoch}"
            )
            self._break(Promise.ACK_ELSEWHERE, event.seq, event.client, said)

    def _hear_admitted(self, event: Admitted) -> None:
        member, pos, since = self._member(event.client), event.pos, event.since
        self.tally.nodes.add(event.node)
        if self._nodes.setdefault(pos.epoch, event.node) != event.node:
            said = f"epoch {pos.epoch} was served by {self._nodes[pos.epoch]} and by {event.node}"
            self._break(Promise.TWO_OWNERS, pos.seq, event.client, said)
        self._hear_origin(event.client, member, pos.log, pos.epoch)
        if since is not None:
            if not member.missing and member.log is not None and since.seq != member.last:
                said = f"it came back with {since.seq} after it was given {member.last}"
                self._break(Promise.MISREMEMBERED, since.seq, event.client, said)
            if since.log == pos.log and pos.seq < since.seq:
                said = f"it had {since.seq}, and was told that the head is {pos.seq}"
                self._break(Promise.HEAD_FELL, pos.seq, event.client, said)
            elif since.log == pos.log and event.reason == "new_log":
                said = f"{since.seq} of the same log was refused although the head is {pos.seq}"
                self._break(Promise.FORGOTTEN, since.seq, event.client, said)
        if event.recovered:
            self.tally.resumed += 1
            first = since.seq + 1 if since is not None else 1
        else:
            self.tally.restarted += since is not None
            first = event.entries[0].seq if event.entries else pos.seq + 1
            if since is not None:
                self.tally.not_given += max(0, first - 1 - since.seq)
        self._hear_entries(event.client, event.entries, first, pos.seq, pos.epoch, whole=True)
        member.joined, member.log, member.last, member.epoch = True, pos.log, pos.seq, max(member.epoch, pos.epoch)
        member.missing.clear()

    def _hear_range(self, event: Framed | Gapped) -> None:
        member = self._member(event.client)
        if not member.joined:
            self._break(Promise.BEFORE_JOINED, event.from_, event.client, f"{event.from_} to {event.to} came unasked")
        self._hear_origin(event.client, member, event.log, event.epoch)
        expected = member.last + 1
        if event.from_ > expected and member.joined:
            said = f"{expected} to {event.from_ - 1} was neither given nor told of"
            self._break(Promise.UNREPORTED, expected, event.client, said)
            member.missing.append((expected, event.from_ - 1))
        elif event.from_ < expected:
            late = any(first <= event.from_ <= last for first, last in member.missing)
            said = f"{event.from_} to {event.to} came after {member.last}"
            self._break(Promise.REORDERED if late else Promise.REPEATED, event.from_, event.client, said)
        whole = isinstance(event, Framed)
        self._hear_entries(event.client, event.entries, event.from_, event.to, event.epoch, whole=whole)
        member.log, member.last, member.epoch = event.log, max(member.last, event.to), max(member.epoch, event.epoch)

    def _hear_origin(self, client: str, member: Member, log: LogId, epoch: int) -> None:
        self.epochs.setdefault(epoch, client)
        if self._log is None:
            self._log = log
        elif log != self._log:
            self._break(Promise.LOG_CHANGED, None, client, f"it was given log {log}, others {self._log}")
        if epoch < member.epoch:
            said = f"epoch {epoch} served it after epoch {member.epoch}"
            self._break(Promise.EPOCH_FELL, member.last, client, said)

    def _hear_entries(
        self, client: str, entries: tuple[Seen, ...], first: int, head: int, epoch: int, *, whole: bool
    ) -> None:
        self.tally.shown += len(entries)
        if head > self.head[0]:
            self.head = (head, client)
        expected = first
        in_order = True
        for seen in entries:
            in_order = in_order and (seen.seq == expected if whole else seen.seq >= expected)
            expected = seen.seq + 1
            known = self.shown.get(seen.seq)
            if known is None:
                self.shown[seen.seq] = ShownEntry(seen, client, epoch, 0 if seen.digest is None else head)
                continue
            if epoch < known.lowest_epoch:
                known.lowest_epoch = epoch
            if seen.digest is not None and head > known.text_shown_at_head:
                known.text_shown_at_head = head
            if seen != known.seen:
                self._compare(known, seen, client)
        if not in_order or (expected != head + 1 if whole else expected > head + 1):
            said = f"{first} to {head} was claimed, {[seen.seq for seen in entries]} was given"
            self._break(Promise.MALFORMED, first, client, said)

    def _compare(self, known: ShownEntry, seen: Seen, client: str) -> None:
        if (seen.cid, seen.author) != (known.seen.cid, known.seen.author) or None not in (
            seen.digest,
            known.seen.digest,
        ):
            said = f"{seen.seq} was shown with another content than to {known.client}"
            self._break(Promise.SHOWN_OTHERWISE, seen.seq, client, said)
        elif known.seen.digest is None:
            known.seen = seen

    def _break(self, promise: Promise, seq: int | None, client: str | None, said: str) -> None:
        who = "" if client is None else f" for {client}"
        self.violations.append(Violation(promise, self.room, seq, client, f"{self.room}{who}: {said}"))
