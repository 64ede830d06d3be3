"""The rooms' past moves in memory, as the lists in Redis: the newest first, 20 at most, for a day after the last."""

from collections.abc import Sequence

from director.contract.ids import RoomId
from director.contract.ownership import PastMove

MAX_PAST = 20
DAY = 86_400.0


class PastMoves:
    """The lists of all rooms; `now` is the hall's clock."""

    def __init__(self) -> None:
        # in the order of their latest moves, so that those that are over come first
        self._lists: dict[RoomId, tuple[float, tuple[PastMove, ...]]] = {}

    def copy(self) -> "PastMoves":
        copied = PastMoves()
        copied._lists = dict(self._lists)
        return copied

    def of(self, room: RoomId, *, now: float) -> Sequence[PastMove]:
        self._forget(now)
        return list(self._lists.get(room, (now, ()))[1])

    def add(self, room: RoomId, move: PastMove, *, now: float) -> None:
        self._forget(now)
        _, former = self._lists.pop(room, (now, ()))
        self._lists[room] = (now, (move, *former)[:MAX_PAST])

    def _forget(self, now: float) -> None:
        while self._lists:
            room = next(iter(self._lists))
            if self._lists[room][0] > now - DAY:
                return
            del self._lists[room]
