"""The members of one room: one frame for all, and a cursor for each one that cannot keep up (design, section 4)."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from director.contract.ids import Seq, UserId
from persistence.contract.messages import Author
from shard_node.contract.events import Frame
from shard_node.core.room import Room
from shard_node.fanout.connection import Connection
from shard_node.fanout.packets import event_packet

STUCK_AFTER = 15.0


@dataclass(slots=True, eq=False)
class Member:
    """One connection of one person; `shown` is the last entry that was written to it."""

    connection: Connection
    author: Author
    shown: Seq
    behind_since: float | None = None


class Members:
    """Who is in a room, and how far each has been shown.

    A member that does not read is skipped; it costs its cursor and nothing else until it reads again.
    """

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._behind: dict[str, Member] = {}
        self._users: Counter[UserId] = Counter()
        self._authors: dict[UserId, Author] = {}

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    @property
    def connections(self) -> int:
        return len(self._members)

    @property
    def behind(self) -> int:
        return len(self._behind)

    @property
    def anyone_behind(self) -> bool:
        return bool(self._behind)

    def has(self, user: UserId) -> bool:
        """Whether the person is here by some connection."""
        return user in self._users

    def connections_of(self, user: UserId) -> int:
        """By how many connections the person is here."""
        return self._users.get(user, 0)

    def member_of(self, connection: Connection) -> Member | None:
        return self._members.get(connection.sid)

    def add(self, member: Member) -> None:
        """Register a member that has been shown everything up to `member.shown`."""
        self._members[member.connection.sid] = member
        self._users[member.author.id] += 1
        self._authors[member.author.id] = member.author

    def remove(self, connection: Connection) -> None:
        """Forget a connection; idempotent."""
        member = self._members.pop(connection.sid, None)
        if member is None:
            return
        self._behind.pop(connection.sid, None)
        user = member.author.id
        self._users[user] -= 1
        if self._users[user] <= 0:
            del self._users[user]
            del self._authors[user]

    def page(self, *, after: UserId | None, limit: int) -> tuple[tuple[Author, ...], bool]:
        """People by ascending id, each once; whether there are others beyond."""
        users = sorted(user for user in self._users if after is None or user > after)
        return tuple(self._authors[user] for user in users[:limit]), len(users) > limit

    def show(self, frame: Frame, now: float) -> None:
        """Write a frame to all that have been shown everything before it."""
        packet = event_packet("frame", frame)
        last = frame.from_ - 1
        to = frame.to
        for member in self._members.values():
            if member.shown == last and member.connection.offer(packet):
                member.shown = to
            elif member.shown < to and member.behind_since is None:
                member.behind_since = now
                self._behind[member.connection.sid] = member

    def catch_up(self, room: Room, now: float, *, too_slow: Callable[[Member], None]) -> None:
        """Show those behind what they lack, as far as they read; call `too_slow` for one that has been stuck for 15 s
        or lacks what the room no longer holds."""
        for member in list(self._behind.values()):
            if not room.recent.covers(member.shown):
                too_slow(member)
                continue
            if not member.connection.reads:
                if member.behind_since is not None and now - member.behind_since >= STUCK_AFTER:
                    too_slow(member)
                continue
            moved = False
            for frame in room.frames_after(member.shown):
                if not member.connection.offer(event_packet("frame", frame)):
                    break
                member.shown = frame.to
                moved = True
            if member.shown == room.head:
                member.behind_since = None
                del self._behind[member.connection.sid]
            elif moved:
                member.behind_since = now

    def tell(self, name: str, body: object) -> None:
        """Write an event that may be missed to all that keep up."""
        packet = event_packet(name, body)
        for member in self._members.values():
            member.connection.offer(packet)
