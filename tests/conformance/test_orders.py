"""What Orders promises, over memory, Valkey and Redis 7.0 alike."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import NodeName, RoomId
from director.contract.orders import MAX_ORDERS, Capacity, Cordon, Drain, Order, OrderBook, Pin, Reserve
from director.contract.ownership import OrdersChanged
from director.orders_redis import RedisOrders
from director.redis_client import ORDERS
from tests.support.halls import ART, KINDS, MATHS, Hall, hall_on, lease_of, server_of
from tests.support.valkey_server import ValkeyServer

N1, N2 = NodeName("node-1"), NodeName("node-2")
ALL: list[Order] = [
    Cordon(N1),
    Drain(N1, "op-1", rooms_at_a_time=2, members_per_second=250.5, within=60.0),
    Pin(MATHS, N2),
    Capacity(N2, 2.5),
    Reserve(ART, 3_000, 1_790_000_000_000, 90),
    Reserve(ART, 200, 1_800_000_000_000, 45),
]


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ValkeyServer | None]:
    with server_of(request.param) as server:
        yield server


@pytest.fixture
async def hall(server: ValkeyServer | None) -> AsyncIterator[Hall]:
    async with hall_on(server) as hall:
        yield hall


def book_of(*orders: Order) -> dict[str, Order]:
    return {order.key: order for order in orders}


async def test_a_hall_begins_without_orders(hall: Hall) -> None:
    snapshot = await hall.owners.snapshot()

    assert await hall.orders.orders() == OrderBook(snapshot.generation, 0, {}, is_begun=False)


async def test_an_order_stands_until_it_is_taken_back(hall: Hall) -> None:
    for order in ALL:
        await hall.orders.put(order)
    assert (await hall.orders.orders()).orders == book_of(*ALL)

    assert await hall.orders.withdraw("cordon:node-1")
    assert await hall.orders.withdraw(ALL[4].key)
    assert not await hall.orders.withdraw(ALL[4].key)
    assert not await hall.orders.withdraw("cordon:node-9")

    book = await hall.orders.orders()
    assert book.orders == book_of(ALL[1], ALL[2], ALL[3], ALL[5])
    assert book.is_begun


async def test_an_order_replaces_the_one_with_the_same_key(hall: Hall) -> None:
    await hall.orders.put(Pin(MATHS, N1))
    await hall.orders.put(Pin(ART, N1))
    await hall.orders.put(Pin(MATHS, N2))

    assert (await hall.orders.orders()).orders == book_of(Pin(MATHS, N2), Pin(ART, N1))


async def test_an_order_stands_in_place_of_another_only_where_that_stands_as_it_is_known(hall: Hall) -> None:
    drain, cordon, other = Drain(N1, "drain-1"), Cordon(N1), Drain(N1, "drain-2")
    assert not await hall.orders.replace(drain, cordon)
    await hall.orders.put(other)
    assert not await hall.orders.replace(drain, cordon)
    assert (await hall.orders.orders()).orders == book_of(other)

    async with hall.listening() as heard:
        assert await hall.orders.replace(other, cordon)
        assert not await hall.orders.replace(other, cordon)
        book = await hall.orders.orders()
        assert book.orders == book_of(cordon)
        assert await heard.next() == OrdersChanged(book.generation, book.number)


async def test_each_change_of_orders_is_told_and_no_repetition(hall: Hall) -> None:
    n = (await hall.orders.orders()).number
    async with hall.listening() as heard:
        for order in (Cordon(N1), Cordon(N1), Pin(MATHS, N1), Pin(MATHS, N2)):
            await hall.orders.put(order)
        await hall.orders.withdraw("cordon:node-1")
        await hall.orders.withdraw("cordon:node-1")
        await hall.orders.restore([Cordon(N2)])
        lease = lease_of("node-1")
        await hall.leases.acquire(lease, expire=60)

        generation = (await hall.owners.snapshot()).generation
        assert [await heard.next() for _ in range(4)] == [OrdersChanged(generation, n + i) for i in (1, 2, 3, 4)]
        assert not isinstance(await heard.next(), OrdersChanged)
    assert (await hall.orders.orders()).number == n + 5


async def test_a_read_is_at_least_as_new_as_the_notice_that_asked_for_it(hall: Hall) -> None:
    async with hall.listening() as heard:
        await asyncio.gather(*(hall.orders.put(Cordon(NodeName(f"node-{i}"))) for i in range(20)))
        for _ in range(20):
            notice = await heard.next()
            assert isinstance(notice, OrdersChanged)
            book = await hall.orders.orders()
            assert (book.generation, len(book.orders)) == (notice.generation, 20)
            assert book.number >= notice.number


async def test_what_redis_forgot_is_put_again_once(hall: Hall) -> None:
    for order in ALL:
        await hall.orders.put(order)
    hall.wipe()
    assert not (await hall.orders.orders()).is_begun

    answers = await asyncio.gather(*(hall.orders.restore(ALL) for _ in range(5)))

    assert sorted(answers) == [False] * 4 + [True]
    book = await hall.orders.orders()
    assert (book.orders, book.number, book.is_begun) == (book_of(*ALL), 1, True)


async def test_orders_that_were_taken_back_are_not_put_again(hall: Hall) -> None:
    await hall.orders.put(Cordon(N1))
    await hall.orders.withdraw("cordon:node-1")
    await hall.restart()

    assert not await hall.orders.restore([Cordon(N1)])
    book = await hall.orders.orders()
    assert (book.orders, book.is_begun) == ({}, True)


async def test_what_an_operator_orders_after_a_loss_is_not_mixed_with_what_was_ordered_before(hall: Hall) -> None:
    await hall.orders.put(Cordon(N2))

    assert not await hall.orders.restore([Cordon(N1)])
    assert (await hall.orders.orders()).orders == book_of(Cordon(N2))


async def test_restoring_nothing_is_no_change(hall: Hall) -> None:
    assert not await hall.orders.restore([])
    book = await hall.orders.orders()
    assert (book.number, book.is_begun) == (0, False)


async def test_orders_outlive_a_restart_that_lost_nothing(hall: Hall) -> None:
    await hall.orders.put(Pin(MATHS, N1))
    before = await hall.orders.orders()
    await hall.restart()

    after = await hall.orders.orders()

    assert (after.orders, after.number) == (before.orders, before.number)
    assert after.generation != before.generation


async def test_more_orders_than_a_hall_keeps_are_refused_and_all_others_stand(hall: Hall) -> None:
    full = [Pin(RoomId(f"room-{i}"), N1) for i in range(MAX_ORDERS)]
    assert await hall.orders.restore(full)

    with pytest.raises(Refusal) as refused:
        await hall.orders.put(Cordon(N1))
    await hall.orders.put(Pin(RoomId("room-7"), N2))
    assert await hall.orders.withdraw("pin:room-8")
    await hall.orders.put(Cordon(N1))

    assert refused.value.code is ErrorCode.BUSY
    orders = (await hall.orders.orders()).orders
    assert len(orders) == MAX_ORDERS
    assert orders["pin:room-7"] == Pin(RoomId("room-7"), N2)
    assert orders["cordon:node-1"] == Cordon(N1)


async def test_an_order_of_an_unknown_kind_stands_and_is_left_out(hall: Hall) -> None:
    if not isinstance(hall.orders, RedisOrders):
        pytest.skip("the hall in memory has no wire")
    await hall.orders.put(Cordon(N1))
    async with hall.orders._hall.asked() as redis:
        for key, text in (("mute:node-1", '{"type":"mute"}'), ("pin:x", '{"type":"pin","room":7}'), ("junk", "{")):
            await redis.hset(ORDERS, key, text)

    assert (await hall.orders.orders()).orders == book_of(Cordon(N1))
    assert await hall.orders.withdraw("mute:node-1")


def test_orders_are_named_by_what_they_are_about() -> None:
    assert [order.key for order in ALL] == [
        "cordon:node-1",
        "drain:node-1",
        "pin:math-101",
        "capacity:node-2",
        "reserve:art~2:1790000000000",
        "reserve:art~2:1800000000000",
    ]
