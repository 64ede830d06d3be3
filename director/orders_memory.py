"""Orders in memory: the twin of orders_redis."""

from collections.abc import Sequence

from director.contract.orders import MAX_ORDERS, Order, OrderBook, too_many_orders
from director.contract.ownership import OrdersChanged
from director.memory_hall import MemoryHall


class MemoryOrders:
    """Orders over a MemoryHall."""

    def __init__(self, hall: MemoryHall) -> None:
        self._hall = hall

    async def put(self, order: Order) -> None:
        hall = self._hall
        hall.answer()
        if hall.orders.get(order.key) == order:
            return
        if order.key not in hall.orders and len(hall.orders) >= MAX_ORDERS:
            raise too_many_orders()
        hall.orders[order.key] = order
        self._notify()

    async def withdraw(self, key: str) -> bool:
        self._hall.answer()
        if self._hall.orders.pop(key, None) is None:
            return False
        self._notify()
        return True

    async def replace(self, former: Order, order: Order) -> bool:
        orders = self._hall.orders
        self._hall.answer()
        if orders.get(former.key) != former:
            return False
        del orders[former.key]
        orders[order.key] = order
        self._notify()
        return True

    async def orders(self) -> OrderBook:
        hall = self._hall
        hall.answer()
        return OrderBook(hall.generation, hall.number, dict(hall.orders), hall.has_orders)

    async def restore(self, orders: Sequence[Order]) -> bool:
        hall = self._hall
        hall.answer()
        if not orders or hall.has_orders:
            return False
        hall.orders = {order.key: order for order in orders[:MAX_ORDERS]}
        self._notify()
        return True

    def _notify(self) -> None:
        hall = self._hall
        hall.has_orders = True
        hall.publish(OrdersChanged(hall.generation, hall.next_number()))
