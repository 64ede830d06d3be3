"""Orders: what operators have said about nodes and rooms, kept in Redis until they take it back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import NodeName, RoomId

MAX_ORDERS = 20_000


class Cordon(msgspec.Struct, frozen=True, tag="cordon"):
    """The node is given no rooms; it keeps those that it has."""

    node: NodeName

    @property
    def key(self) -> str:
        return f"cordon:{self.node}"


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """The node is given no rooms and gives away those that it has, in good order. `operation` is its progress.
    When that has ended a Cordon stands in its place."""

    node: NodeName
    operation: str
    rooms_at_a_time: int = 4
    members_per_second: float = 500.0
    within: float = 300.0

    @property
    def key(self) -> str:
        return f"drain:{self.node}"


class Pin(msgspec.Struct, frozen=True, tag="pin"):
    """The room belongs on the node, whatever the ring and the loads say, while that node can be given rooms."""

    room: RoomId
    node: NodeName

    @property
    def key(self) -> str:
        return f"pin:{self.room}"


class Capacity(msgspec.Struct, frozen=True, tag="capacity"):
    """The node's share of the load beside others', which have 1.0; more than 0."""

    node: NodeName
    share: float

    @property
    def key(self) -> str:
        return f"capacity:{self.node}"


class Reserve(msgspec.Struct, frozen=True, tag="reserve"):
    """`members` are expected in `room` from `starts_at_ms` (Unix, by Redis' clock) for `minutes`."""

    room: RoomId
    members: int
    starts_at_ms: int
    minutes: int

    @property
    def key(self) -> str:
        return f"reserve:{self.room}:{self.starts_at_ms}"


Order = Cordon | Drain | Pin | Capacity | Reserve


@dataclass(frozen=True, slots=True)
class OrderBook:
    """All orders that stand and that this version knows, by key, as of change `number` of `generation` or later.
    `is_begun` tells whether Redis remembers that an order was ever given or taken back."""

    generation: str = ""
    number: int = 0
    orders: Mapping[str, Order] = field(default_factory=dict)
    is_begun: bool = True


def too_many_orders() -> Refusal:
    """What a further order is refused with where MAX_ORDERS stand."""
    return Refusal(ErrorCode.BUSY, f"{MAX_ORDERS} orders stand, as many as a hall keeps: take some back first")


class Orders(Protocol):
    """The orders. Every call raises ControlPathUnavailable when Redis does not answer; all are idempotent. Each change
    publishes OrdersChanged."""

    async def put(self, order: Order) -> None:
        """Let the order stand, in place of one with the same key. Raises Refusal BUSY where MAX_ORDERS others stand."""
        ...

    async def withdraw(self, key: str) -> bool:
        """Take the order back; answers whether it stood."""
        ...

    async def replace(self, former: Order, order: Order) -> bool:
        """Let `order` stand in place of `former`, at once, if that stands exactly so; answers whether it did."""
        ...

    async def orders(self) -> OrderBook:
        """All orders that stand."""
        ...

    async def restore(self, orders: Sequence[Order]) -> bool:
        """Put these, if none was given or taken back in what Redis remembers: for a director whose Redis forgot them.
        Answers whether it did."""
        ...
