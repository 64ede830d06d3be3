"""Showing: what is written to the members of one room, and how far each has been shown (design, section 4).

1. `show` offers a batch's frames to every member whose cursor stands right before them, and moves the cursor. A member
   that does not read, or lacks something before, costs its cursor and nothing else.
2. A large room is shown a thousand members at a time, and the process does other things in between. Cursors make that
   safe: who joins meanwhile was given the batch with `joined` and stands behind it, who left stands beyond all, and who
   was behind may catch up in between. Before the next batch is shown, the former is finished.
3. `catch_up` shows those behind the rest or a gap, as far as they read.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from director.contract.ids import Seq
from shard_node.contract.events import Frame
from shard_node.core.catch_up import TooFar
from shard_node.core.room import Gap, Room
from shard_node.core.tally import NodeTally
from shard_node.fanout.members import Member, Members
from shard_node.fanout.packets import Packet, event_packet

SLICE = 1_000
STUCK_AFTER = 15.0
CATCH_UP_WITHIN = 0.02


class Showing:
    """Shows one room's entries to its members. `now` is monotonic. `cpu` counts the seconds that this thread has run,
    and `learn(seconds, members)` is told how many of them each batch has taken. What is shown is counted in `tally`."""

    def __init__(
        self,
        members: Members,
        *,
        now: Callable[[], float],
        cpu: Callable[[], float] | None = None,
        learn: Callable[[float, int], None] | None = None,
        tally: NodeTally | None = None,
    ) -> None:
        self._members = members
        self._now = now
        self._cpu = cpu or now
        self._learn = learn
        self._tally = tally or NodeTally()
        self._batch: list[tuple[Seq, Seq, Packet]] = []
        self._left: Iterator[Member] = iter(())
        self._next: asyncio.Handle | None = None
        self._cost = 0.0
        self._size = 0

    def show(self, frames: Sequence[Frame], *, strikes: bool = False) -> None:
        """Write one batch's frames to all that have been shown everything before them. One that `strikes`, as it holds
        a deletion, ends the former: its frames may hold the text that is gone, so who is left catches up without it."""
        if strikes:
            self.leave_rest()
        self.finish()
        began_at = self._cpu()
        self._batch = [(Seq(frame.from_ - 1), frame.to, event_packet("frame", frame)) for frame in frames]
        self._left, self._size = iter(self._members), self._members.connections
        for _, _, packet in self._batch:
            self._tally.frame_bytes.note(len(packet.frame))
        self._cost = self._cpu() - began_at
        self._show_slice()

    def finish(self) -> None:
        """Show all that has been begun."""
        while self._batch:
            self._offer_slice()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def stop(self) -> None:
        """Show nothing more of what has been begun: the room is no longer ours."""
        self._batch = []

    def leave_rest(self) -> None:
        """Show nobody else what has been begun: who has not been shown it catches up later."""
        if self._batch:
            now, to = self._now(), self._batch[-1][1]
            for member in self._left:
                if member.shown < to:
                    self._tally.fell_behind += self._members.fell_behind(member, now)
            self._batch = []

    def _show_slice(self) -> None:
        if self._batch:
            self._offer_slice()
        self._next = asyncio.get_running_loop().call_soon(self._show_slice) if self._batch else None

    def _offer_slice(self) -> None:
        now, began_at = self._now(), self._cpu()
        some = list(islice(self._left, SLICE))
        missed = 0
        for last, to, packet in self._batch:
            for member in some:
                if member.shown == last and member.connection.offer(packet):
                    member.shown = to
                elif member.shown < to:
                    missed += 1
                    self._tally.fell_behind += self._members.fell_behind(member, now)
        self._tally.deliveries += len(some) * len(self._batch) - missed
        self._cost += self._cpu() - began_at
        if len(some) < SLICE:
            self._batch = []
            self._tally.fanout.note(self._cost)
            if self._learn is not None:
                self._learn(self._cost, self._size)

    def catch_up(self, room: Room) -> list[Member]:
        """Show those behind what they lack, as far as they read and for 20 ms at most; the members that are too slow:
        they have read nothing for 15 s, or lack what not even a gap could tell of."""
        began_at = self._now()
        too_slow: list[Member] = []
        steps: _Steps = {}
        for member in self._members.behind:
            if self._now() - began_at > CATCH_UP_WITHIN:
                break
            before = member.shown
            is_told = self._show_rest(member, room, steps)
            if member.shown >= room.head:
                self._members.caught_up(member)
            elif is_told and member.shown > before:
                self._members.moved_on(member, began_at)
            elif not is_told or began_at - (member.behind_since or began_at) >= STUCK_AFTER:
                too_slow.append(member)
        return too_slow

    def _show_rest(self, member: Member, room: Room, steps: "_Steps") -> bool:
        """Show a member what it lacks, as far as it reads; False if that can no longer be told. `steps` are shared by
        those who lack the same."""
        while member.shown < room.head and member.connection.reads:
            if member.shown not in steps:
                steps[member.shown] = _step_of(room, member.shown)
            step = steps[member.shown]
            if step is None:
                return False
            packet, to, is_gap = step
            if not member.connection.offer(packet):
                break
            member.shown = to
            self._tally.deliveries += 1
            self._tally.gaps += is_gap
        return True


_Steps = dict[Seq, tuple[Packet, Seq, bool] | None]


def _step_of(room: Room, shown: Seq) -> tuple[Packet, Seq, bool] | None:
    """The next packet for a member behind, how far it brings it, and whether by a gap; None if it lacks too much."""
    match room.next_for(shown):
        case Frame() as frame:
            return event_packet("frame", frame), frame.to, False
        case Gap(frame):
            return event_packet("gap", frame), frame.to, True
        case TooFar():
            return None
