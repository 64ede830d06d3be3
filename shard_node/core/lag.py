"""How late this process is, and whether it was asleep: a beat that comes late tells of a pause in which the world may
have moved on."""

from director.contract.spread import QUICK, Spread

BEAT_EVERY = 0.1
MAX_LAG = 1.0


class LagProbe:
    """Beaten every tenth of a second; after a pause of more than 1 s, doubtful until the rooms' rows were read.

    Compare first, act then: `is_doubtful` sees a pause also before the first beat after it.
    """

    def __init__(self, now: float) -> None:
        self._beat_at = now
        self._doubt_since: float | None = None
        self._latest = 0.0
        self._due_at = now + BEAT_EVERY
        self.lateness = Spread(QUICK)

    def beat(self, now: float) -> None:
        """The process ran at monotonic `now`."""
        self._look(now)
        late = max(0.0, now - self._due_at)
        self._latest = max(self._latest, late)
        self.lateness.note(late)
        self._beat_at = now
        self._due_at = now + BEAT_EVERY

    def take_latest(self) -> float:
        """Seconds by which the latest beat since this was last called was late."""
        latest, self._latest = self._latest, 0.0
        return latest

    def is_doubtful(self, now: float) -> bool:
        """Whether a pause has not been followed by a fresh look at the rooms' rows."""
        self._look(now)
        return self._doubt_since is not None

    def confirmed(self, *, sent_at: float) -> None:
        """The rooms' rows were read by a request sent at `sent_at`; a doubt that is older is settled."""
        if self._doubt_since is not None and sent_at >= self._doubt_since:
            self._doubt_since = None

    def _look(self, now: float) -> None:
        if now - self._beat_at > MAX_LAG:
            self._doubt_since = now
            self._beat_at = now
