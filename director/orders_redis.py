"""Orders in Redis: the adapter of Orders."""

from collections.abc import Sequence

import msgspec

from director.contract.orders import MAX_ORDERS, Order, OrderBook, too_many_orders
from director.redis_client import ORDERS, HallRedis

_decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


class RedisOrders:
    """Orders over one HallRedis."""

    def __init__(self, hall: HallRedis) -> None:
        self._hall = hall

    async def put(self, order: Order) -> None:
        if not await self._hall.run("order_put", [ORDERS], [order.key, _json(order), MAX_ORDERS]):
            raise too_many_orders()

    async def withdraw(self, key: str) -> bool:
        return bool(await self._hall.run("order_withdraw", [ORDERS], [key]))

    async def replace(self, former: Order, order: Order) -> bool:
        args: list[str | int] = [former.key, _json(former), order.key, _json(order)]
        return bool(await self._hall.run("order_replace", [ORDERS], args))

    async def orders(self) -> OrderBook:
        generation, number, is_begun, flat = await self._hall.run("orders_read", [ORDERS], [])
        told = {key: _order_of(text) for key, text in zip(flat[::2], flat[1::2], strict=True)}
        orders = {key: order for key, order in told.items() if order is not None}
        return OrderBook(generation, int(number), orders, bool(is_begun))

    async def restore(self, orders: Sequence[Order]) -> bool:
        args = [part for order in orders[:MAX_ORDERS] for part in (order.key, _json(order))]
        return bool(await self._hall.run("order_restore", [ORDERS], args))


def _json(order: Order) -> str:
    return msgspec.json.encode(order).decode()


def _order_of(text: str) -> Order | None:
    """The order, None for what this version cannot read (a newer director's kind of order): it stands, but not here."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        return None
