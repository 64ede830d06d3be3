"""The heartbeat: Engine.IO's pings of all sessions, by one timer.

A session has its ping every `interval` seconds, and `timeout` seconds to answer; one that has no namespace in 15 s is
cut (a stock server keeps it).
"""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

CONNECT_WITHIN = 15.0


class Pinged(Protocol):
    """What is kept alive, or not."""

    joined: bool
    pongs: int

    @property
    def is_open(self) -> bool: ...

    def ping(self) -> None: ...

    def cut(self) -> None: ...


class _Due:
    """Sessions by the instant at which something is due, the same span after each was added; and the pongs that each
    had sent until then."""

    def __init__(self, span: float) -> None:
        self._span = span
        self._waiting: deque[tuple[float, Pinged, int]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, session: Pinged, now: float) -> None:
        self._waiting.append((now + self._span, session, session.pongs))

    def at(self, now: float) -> Iterator[tuple[Pinged, int]]:
        """Take out the open ones that are due."""
        while self._waiting and self._waiting[0][0] <= now:
            _, session, pongs = self._waiting.popleft()
            if session.is_open:
                yield session, pongs


class Heartbeat:
    """Call `beat` many times a second; what is due at monotonic `now` is done. A closed session is forgotten at its
    next turn: it should keep little."""

    def __init__(self, *, interval: float, timeout: float) -> None:
        self._pings = _Due(interval)
        self._pongs = _Due(timeout)
        self._joins = _Due(CONNECT_WITHIN)

    def __len__(self) -> int:
        """How many things are to be done."""
        return len(self._pings) + len(self._pongs) + len(self._joins)

    def add(self, session: Pinged, now: float) -> None:
        """A session has begun."""
        self._pings.add(session, now)
        self._joins.add(session, now)

    def watch_joining(self, session: Pinged, now: float) -> None:
        """The session has no namespace, and may ask for one again."""
        self._joins.add(session, now)

    def beat(self, now: float) -> None:
        """Send the pings that are due, and cut who has not answered or not joined in time."""
        for session, pongs in self._pongs.at(now):
            if session.pongs == pongs:
                session.cut()
        for session, _ in self._joins.at(now):
            if not session.joined:
                session.cut()
        for session, _ in self._pings.at(now):
            self._pongs.add(session, now)
            session.ping()
            self._pings.add(session, now)
