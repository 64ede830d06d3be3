"""The members of one room: who is here by which connections, and who has not been shown all."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from director.contract.ids import Seq, UserId
from persistence.contract.messages import Author
from shard_node.fanout.connection import Connection
from shard_node.fanout.packets import Packet

GONE = Seq(2**63)
"""The cursor of a member that has left: beyond all entries, so that it is shown nothing more."""


@dataclass(slots=True, eq=False)
class Member:
    """One connection of one person. `shown` is the last entry that was written to it; `behind_since` is when it was
    last seen to read, if there is more."""

    connection: Connection
    author: Author
    shown: Seq
    behind_since: float | None = None


class Members:
    """Who is in a room. Iterated over by connection."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._behind: dict[str, Member] = {}
        self._users: Counter[UserId] = Counter()
        self._authors: dict[UserId, Author] = {}
        self._untold: dict[str, Member] = {}
        self._news: Packet | None = None

    def __len__(self) -> int:
        """How many people."""
        return len(self._users)

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    @property
    def connections(self) -> int:
        return len(self._members)

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
        self._untold.pop(connection.sid, None)
        member.shown = GONE
        user = member.author.id
        self._users[user] -= 1
        if self._users[user] <= 0:
            del self._users[user]
            del self._authors[user]

    def page(self, *, after: UserId | None, limit: int) -> tuple[tuple[Author, ...], bool]:
        """People by ascending id, each once; whether there are others beyond."""
        users = sorted(user for user in self._users if after is None or user > after)
        return tuple(self._authors[user] for user in users[:limit]), len(users) > limit

    # who is behind

    @property
    def behind(self) -> tuple[Member, ...]:
        """Those that have not been shown all, first the one that was given nothing for longest."""
        return tuple(self._behind.values())

    @property
    def anyone_behind(self) -> bool:
        return bool(self._behind)

    @property
    def outgoing(self) -> int:
        """Bytes that wait to be sent to those who have been shown all."""
        return sum(member.connection.unsent for member in self._members.values() if member.behind_since is None)

    def fell_behind(self, member: Member, now: float) -> bool:
        """The member was not shown something; whether it had been shown all until then."""
        if member.behind_since is not None:
            return False
        member.behind_since = now
        self._behind[member.connection.sid] = member
        return True

    def moved_on(self, member: Member, now: float) -> None:
        """The member was shown something, and there is more: others come first now."""
        sid = member.connection.sid
        del self._behind[sid]
        member.behind_since = now
        self._behind[sid] = member

    def caught_up(self, member: Member) -> None:
        """The member has been shown all."""
        member.behind_since = None
        del self._behind[member.connection.sid]

    # news that may be missed

    def tell(self, news: Packet) -> None:
        """Let everybody here be told; what somebody has not been told yet is replaced."""
        self._news, self._untold = news, dict(self._members)

    def tell_on(self, most: int) -> int:
        """Write the news to those that have not been told and read now, but no more than `most`; to how many."""
        told = 0
        if self._news is not None:
            for sid, member in list(self._untold.items()):
                if told >= most:
                    break
                if member.connection.offer(self._news):
                    del self._untold[sid]
                    told += 1
        return told
