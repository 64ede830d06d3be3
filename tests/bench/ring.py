"""The ring: where a room would go, among 8 and 64 nodes, beside uhashring as documented; and a whole placement."""

from itertools import count
from typing import Any

from uhashring import HashRing

from director.contract.ids import NodeName, RoomId
from director.core.placement import Facts, place
from director.core.ring import Ring
from tests.bench.figures import Figure, figure, microseconds, report


def main() -> dict[str, Any]:
    """Microseconds a call."""
    figures: list[Figure] = []
    for size in (8, 64):
        nodes = [NodeName(f"node-{number}") for number in range(size)]
        ring, stock = Ring(nodes), HashRing(nodes)
        numbers = count()
        loads = {node: 30 * number for number, node in enumerate(nodes)}
        serving = frozenset(nodes)

        def order(ring: Ring = ring, numbers: Any = numbers) -> object:
            return ring.order_of(RoomId(f"room-{next(numbers)}"))

        def made(nodes: list[NodeName] = nodes) -> object:
            return Ring(nodes)

        def first(stock: Any = stock, numbers: Any = numbers) -> object:
            return stock.get_node(f"room-{next(numbers)}")

        def placed(ring: Ring = ring, numbers: Any = numbers, loads: Any = loads, serving: Any = serving) -> object:
            room = RoomId(f"room-{next(numbers)}")
            return place(room, Facts(None, False, serving, loads, ring.order_of(room)))

        figures += [
            figure(f"{size} nodes: the order of all nodes for a room", "µs", microseconds(order, times=2_000)),
            figure(f"{size} nodes: uhashring's one node for a room", "µs", microseconds(first, times=2_000)),
            figure(f"{size} nodes: a room placed", "µs", microseconds(placed, times=2_000)),
            figure(f"{size} nodes: a ring made", "µs", microseconds(made, times=20)),
        ]
    return report(figures)


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
