"""Ambient news of a room: counts that are told now and then, and not while a crowd comes or goes (protocol 5)."""

from collections.abc import Mapping

from shard_node.contract.events import Ambient, NodeMode

TOLD_EVERY = 2.0
TOLD_EVERY_IN_CALM = 10.0
MAX_SILENCE = 20.0
CROWD = 10
CROWD_SHARE = 0.05


class AmbientNews:
    """When to tell a room's newest counts: every 2 s at most (10 s in calm mode), only what has changed, and not while
    more than 10 members and 5 % of the room come or go in such a span; but every 20 s all the same."""

    def __init__(self, now: float) -> None:
        self._told: Ambient | None = None
        self._told_at = now
        self._looked_at = now
        self._stir = 0

    def stir(self) -> None:
        """A member came or went."""
        self._stir += 1

    def newest(self, *, members: int, reactions: Mapping[str, int], mode: NodeMode, now: float) -> Ambient | None:
        """What is to be told now, which then counts as told; None for nothing. `reactions` are those not told yet."""
        if now - self._looked_at < (TOLD_EVERY_IN_CALM if mode is NodeMode.CALM else TOLD_EVERY):
            return None
        self._looked_at = now
        stir, self._stir = self._stir, 0
        news = Ambient(members=members, reactions=dict(reactions), node_mode=mode)
        if not news.reactions and news == self._told:
            return None
        if stir > max(CROWD, CROWD_SHARE * members) and now - self._told_at < MAX_SILENCE:
            return None
        self._told, self._told_at = Ambient(members=members, reactions={}, node_mode=mode), now
        return news
