"""The orders that a director knows, and what is reserved by them as time goes on. No I/O.

They stand as they were read last. Where a Redis knows of none, nor that there have been any, it forgot them: they go on
standing, until they are restored or others are given.
"""

from collections.abc import Mapping, Sequence

from director.contract.ids import RoomId
from director.contract.orders import Order, OrderBook
from director.standing_orders import StandingOrders


class KnownOrders:
    """The orders: `standing` for looking them up, `forgotten` those that Redis should be told again, `reserved` the
    members that rooms count for now. `need_reading` until a read tells all that is known to have changed."""

    def __init__(self) -> None:
        self.standing = StandingOrders()
        self.forgotten: Sequence[Order] = ()
        self.reserved: Mapping[RoomId, int] = {}
        self.need_reading = True
        self._generation: str | None = None
        self._number_due = 0
        self._now_ms: int | None = None
        self._reserved_until_ms: int | None = None

    def expect(self, generation: str, number: int) -> None:
        """Take it that they have changed, last by change `number`."""
        self._generation, self._number_due = generation, number
        self.need_reading = not self._is_told_by(self.standing.book)

    def take(self, book: OrderBook) -> None:
        """Take a read of all orders."""
        self.need_reading = not self._is_told_by(book)
        if not book.is_begun and self.standing.book.orders:
            self.forgotten = tuple(self.standing.book.orders.values())
            return
        self.forgotten = ()
        self.standing = StandingOrders.of(book)
        if self._now_ms is not None:
            self._reserve(self._now_ms)

    def note_time(self, now_ms: int) -> None:
        """Take it that it is `now_ms` (Unix, by Redis' clock): reservations begin and end to count. Cheap."""
        is_due = self._reserved_until_ms is not None and now_ms >= self._reserved_until_ms
        if self._now_ms is None or now_ms < self._now_ms or is_due:
            self._reserve(now_ms)
        self._now_ms = now_ms

    def over(self) -> Sequence[str]:
        """The keys of reservations that are over now, so that they can be taken back."""
        return [] if self._now_ms is None else [order.key for order in self.standing.over_at(self._now_ms)]

    def _reserve(self, now_ms: int) -> None:
        self.reserved = self.standing.reserved_at(now_ms)
        self._reserved_until_ms = self.standing.changes_after(now_ms)

    def _is_told_by(self, book: OrderBook) -> bool:
        return book.generation == self._generation and book.number >= self._number_due
