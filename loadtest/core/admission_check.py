"""The check of stale owners: nobody admitted and nothing shown by an owner that has long been replaced (design, 2).

It compares instants, so it is for clients of one machine and one clock. That a newer epoch serves a room is known from
when anybody first heard from it: the store's fence was earlier, so what is found is true, and what is a little late is
not found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from director.contract.ids import NodeName, RoomId
from loadtest.contract.history import Acked, Admitted, Framed, Gapped, HistoryEvent
from loadtest.core.findings import Promise, Violation

MAX_STALE_ADMISSION = 2.0
MAX_STALE_FRAME = 1.0


@dataclass(slots=True)
class _Epoch:
    """One epoch of a room as its clients heard it: from when on, from which node, and who was served last."""

    first_at: float
    node: NodeName | None = None
    admitted: list[tuple[float, str]] = field(default_factory=list)
    shown: list[tuple[float, str]] = field(default_factory=list)


class AdmissionCheck:
    """Hears events, as a recorder, in any mixture of clients; then judges."""

    def __init__(self) -> None:
        self._rooms: dict[RoomId, dict[int, _Epoch]] = {}

    def record(self, event: HistoryEvent) -> None:
        """Hear one event."""
        match event:
            case Admitted():
                epoch = self._epoch(event.room, event.pos.epoch, event.heard_at)
                epoch.node = event.node
                epoch.admitted.append((event.heard_at, event.client))
            case Framed() | Gapped():
                epoch = self._epoch(event.room, event.epoch, event.heard_at)
                # of frames in one instant the first tells enough
                if not epoch.shown or epoch.shown[-1][0] < event.heard_at:
                    epoch.shown.append((event.heard_at, event.client))
            case Acked(dup=False):
                self._epoch(event.room, event.epoch, event.heard_at)
            case _:
                pass

    def judge(self, *, slack: float, thaws: Mapping[NodeName, Sequence[float]]) -> tuple[Violation, ...]:
        """Violations. `slack` is how late a client may have heard what was said in time (its own lag, a slow network);
        `thaws` are the instants at which a frozen node went on: it may still show what it had for a second."""
        return tuple(
            violation
            for room, epochs in sorted(self._rooms.items())
            for violation in _judged(room, epochs, slack, thaws)
        )

    def _epoch(self, room: RoomId, number: int, at: float) -> _Epoch:
        epochs = self._rooms.setdefault(room, {})
        epoch = epochs.get(number)
        if epoch is None:
            epoch = epochs[number] = _Epoch(at)
        epoch.first_at = min(epoch.first_at, at)
        return epoch


def _judged(
    room: RoomId, epochs: Mapping[int, _Epoch], slack: float, thaws: Mapping[NodeName, Sequence[float]]
) -> Sequence[Violation]:
    found: list[Violation] = []
    for number, epoch in sorted(epochs.items()):
        newer = [(other.first_at, later) for later, other in epochs.items() if later > number]
        if not newer:
            continue
        replaced_at, later = min(newer)
        thawed_at = [] if epoch.node is None else thaws.get(epoch.node, [])
        for at, client in epoch.admitted:
            if (late := at - replaced_at) > MAX_STALE_ADMISSION + slack:
                said = f"epoch {number} admitted it {late:.1f} s after epoch {later} had served"
                found.append(_violation(Promise.ADMITTED_BY_STALE, room, client, said))
        for at, client in epoch.shown:
            since = max([replaced_at, *(thaw for thaw in thawed_at if thaw <= at)])
            if (late := at - since) > MAX_STALE_FRAME + slack:
                said = f"epoch {number} showed a frame {late:.1f} s after epoch {later} had served"
                found.append(_violation(Promise.SHOWN_BY_STALE, room, client, said))
    return found


def _violation(promise: Promise, room: RoomId, client: str, said: str) -> Violation:
    return Violation(promise, room, None, client, f"{room} for {client}: {said}")
