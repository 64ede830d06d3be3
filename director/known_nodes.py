"""The nodes that a director knows: whose lease stands, whose has lapsed, and who is dead. No I/O.

A lease lapses if a read of all leases that was asked for after the node was last heard of says so. Silence of Redis
proves nothing: nodes known then stay (design, invariant 7), and those that a Redis in its settle time forgot have
lapsed.
"""

from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass

from director.contract.ids import Incarnation, NodeName
from director.contract.lease import LiveNodes, NodeLease
from director.core.ring import Ring
from director.room_loads import NodeKey


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node whose lease stands as far as is known; it cannot lapse before `lapses_at` of the own monotonic clock."""

    lease: NodeLease
    lapses_at: float
    heard_at: float


class KnownNodes:
    """The nodes, and the `ring` of those whose lease stands."""

    def __init__(self) -> None:
        self._standing: dict[NodeName, KnownNode] = {}
        self._lapsed: dict[NodeName, NodeLease] = {}
        self._gone: dict[NodeKey, float] = {}
        self._dead: set[NodeKey] = set()
        self.ring = Ring(())

    def __iter__(self) -> Iterator[NodeLease]:
        """The leases known to stand."""
        return (known.lease for known in self._standing.values())

    def of(self, name: NodeName) -> KnownNode | None:
        """The node, if its lease is known to stand."""
        return self._standing.get(name)

    def lapsed_of(self, name: NodeName) -> NodeLease | None:
        """A node's last words, if its lease does not stand and it is not known to be dead."""
        return self._lapsed.get(name)

    def lapsed(self) -> Sequence[NodeLease]:
        """The last words of all such nodes."""
        return list(self._lapsed.values())

    def last_words_of(self, name: NodeName) -> NodeLease | None:
        """A node's lease, whether it stands or has lapsed."""
        known = self._standing.get(name)
        return self._lapsed.get(name) if known is None else known.lease

    def is_known(self, node: NodeName, incarnation: Incarnation) -> bool:
        """Whether that incarnation has a lease, or had one and is not known to be dead."""
        lease = self.last_words_of(node)
        return lease is not None and lease.incarnation == incarnation

    def is_dead(self, node: NodeName, incarnation: Incarnation) -> bool:
        return (node, incarnation) in self._dead

    def hear(self, lease: NodeLease, *, now: float) -> None:
        """Take the word of a node, unless it has died since."""
        if (lease.node, lease.incarnation) not in self._gone:
            self._meet(lease, lapses_at=now, now=now)

    def read(self, read: LiveNodes, *, sent_at: float, owners: Collection[NodeKey]) -> None:
        """Take a read of all leases that was asked for at `sent_at`. The death of one of the `owners` of rooms is not
        forgotten."""
        self._gone = {key: at for key, at in self._gone.items() if at >= sent_at}
        self._dead = {key for key in self._dead if key in owners or key in self._gone}
        for node in read.nodes:
            if self._is_news(node.lease, sent_at=sent_at):
                self._meet(node.lease, lapses_at=sent_at + node.remaining, now=sent_at)
        for lease in read.lapsed:
            if self._is_news(lease, sent_at=sent_at):
                self._lapse(lease)
        self._miss({node.lease.node for node in read.nodes} | {lease.node for lease in read.lapsed}, read, sent_at)

    def bury(self, node: NodeName, incarnation: Incarnation, *, now: float) -> None:
        """Take it that this incarnation is dead, whatever a read that is under way will say."""
        self._gone[node, incarnation] = now
        self._dead.add((node, incarnation))
        lapsed = self._lapsed.get(node)
        if lapsed is not None and lapsed.incarnation == incarnation:
            del self._lapsed[node]
        known = self._standing.get(node)
        if known is not None and known.lease.incarnation == incarnation:
            self._forget(node)

    def _is_news(self, lease: NodeLease, *, sent_at: float) -> bool:
        """Whether a read that was asked for then knows better than what has been heard."""
        known = self._standing.get(lease.node)
        is_newer_known = known is not None and known.heard_at > sent_at
        return not is_newer_known and (lease.node, lease.incarnation) not in self._gone

    def _meet(self, lease: NodeLease, *, lapses_at: float, now: float) -> None:
        self._standing[lease.node] = KnownNode(lease, lapses_at, now)
        self._lapsed.pop(lease.node, None)
        self._dead.discard((lease.node, lease.incarnation))
        if lease.node not in self.ring.nodes:
            self.ring = Ring(self._standing)

    def _miss(self, told: Set[NodeName], read: LiveNodes, sent_at: float) -> None:
        """Forget the nodes that a read knows nothing of; a Redis in its settle time knows nothing for certain."""
        for name, known in list(self._standing.items()):
            if name not in told and known.heard_at <= sent_at:
                self._forget(name)
                if read.settles_in > 0:
                    self._lapsed[name] = known.lease
        if not read.settles_in:
            self._lapsed = {name: lease for name, lease in self._lapsed.items() if name in told}

    def _lapse(self, lease: NodeLease) -> None:
        if lease.node in self._standing:
            self._forget(lease.node)
        self._lapsed[lease.node] = lease

    def _forget(self, node: NodeName) -> None:
        del self._standing[node]
        self.ring = Ring(self._standing)
