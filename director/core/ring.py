"""The ring: which nodes a room prefers, in order (consistent hashing, uhashring >= 2.5)."""

from collections.abc import Iterable
from hashlib import blake2b

from uhashring import HashRing

from director.contract.ids import NodeName, RoomId

_POINTS = 160


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")


class Ring:
    """An immutable set of nodes on a circle; another set is another ring, swapped whole.

    Every director must answer alike, whatever its version: the tests hold golden vectors. A node that joins or leaves
    changes the order of the others for no room.
    """

    __slots__ = ("_ring", "nodes")

    def __init__(self, nodes: Iterable[NodeName]) -> None:
        self.nodes = frozenset(nodes)
        # Sorted, so that two nodes whose points collide are settled alike everywhere.
        self._ring = HashRing(sorted(self.nodes), vnodes=_POINTS, hash_fn=_hash)

    def order_of(self, room: RoomId) -> tuple[NodeName, ...]:
        """All nodes, the one that the room prefers first; empty if there are none."""
        if not self.nodes:
            return ()  # uhashring's own answer would be one None
        return tuple(self._ring.iterate_nodes(room))
