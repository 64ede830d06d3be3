"""A zombie: an owner that slept, was replaced meanwhile, and woke; what its members were still shown by it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from director.contract.ids import NodeName, RoomId
from loadtest.contract.history import Admitted, Framed, Gapped, HistoryEvent
from persistence.contract.store import OwnerRecord


@dataclass(frozen=True, slots=True)
class Waking:
    """After a node went on: of its `rooms` that had been given to others it showed `frames`, the last of them `latest`
    seconds after it went on; `past_fence` held entries that it cannot have written."""

    rooms: int
    frames: int
    latest: float | None
    past_fence: int


@dataclass(slots=True)
class _Epoch:
    node: NodeName | None = None
    # the last instant at which a frame up to this number was heard
    heard: dict[int, float] = field(default_factory=dict)


class Wakings:
    """Hears events, as a recorder, in any mixture of clients; then says what a waking brought."""

    def __init__(self) -> None:
        self._epochs: dict[RoomId, dict[int, _Epoch]] = defaultdict(lambda: defaultdict(_Epoch))

    def record(self, event: HistoryEvent) -> None:
        """Hear one event."""
        match event:
            case Admitted():
                self._epochs[event.room][event.pos.epoch].node = event.node
            case Framed() | Gapped():
                self._epochs[event.room][event.epoch].heard[event.to] = event.heard_at
            case _:
                pass

    def waking_of(
        self, node: NodeName, *, slept_at: float, woke_at: float, owners: Mapping[RoomId, Sequence[OwnerRecord]]
    ) -> Waking:
        """What `node` showed after `woke_at` of rooms that others had by then; `owners` are the store's records. A room
        that it served before it slept and that has a later owner counts, and frames of before its sleep do not."""
        rooms = frames = past_fence = 0
        latest: float | None = None
        for room, epochs in self._epochs.items():
            for number, epoch in epochs.items():
                fence = min((its.first_seq for its in owners.get(room, ()) if its.epoch > number), default=None)
                if epoch.node != node or fence is None or not _was_served_before(epoch, slept_at):
                    continue
                rooms += 1
                for to, heard_at in epoch.heard.items():
                    if heard_at >= woke_at:
                        frames += 1
                        latest = max(latest or 0.0, heard_at - woke_at)
                        past_fence += to >= fence
        return Waking(rooms, frames, latest, past_fence)


def _was_served_before(epoch: _Epoch, at: float) -> bool:
    return any(heard_at < at for heard_at in epoch.heard.values())
