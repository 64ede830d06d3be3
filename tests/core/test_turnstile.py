"""shard_node/fanout/turnstile: a crowd comes in a few at a time, in order."""

import asyncio
import itertools
from functools import partial
from typing import Any

from shard_node.fanout.turnstile import Turnstile


async def test_a_crowd_leaves_the_loop_time_for_others() -> None:
    turnstile = Turnstile(per_turn=4)
    came: list[int] = []

    async def come(number: int) -> None:
        came.append(number)

    for number in range(10):
        turnstile.queue(partial(come, number))
    seen = []
    while len(came) < 10:
        seen.append(len(came))
        await asyncio.sleep(0)
    assert came == list(range(10))
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 4


async def test_who_waits_inside_holds_nobody_up() -> None:
    turnstile = Turnstile(per_turn=1)
    first_may_go, second_came = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        await first_may_go.wait()

    async def second() -> None:
        second_came.set()

    turnstile.queue(first)
    turnstile.queue(second)
    async with asyncio.timeout(5):
        await second_came.wait()
    first_may_go.set()


async def test_a_turnstile_that_is_closed_lets_nobody_in() -> None:
    turnstile = Turnstile()
    came: list[int] = []

    async def come() -> None:
        came.append(1)

    turnstile.queue(come)
    turnstile.close()
    turnstile.queue(come)
    turnstile.close()
    for _ in range(3):
        await asyncio.sleep(0)
    assert came == []


async def test_an_admission_that_fails_keeps_nobody_else_out() -> None:
    """One fault while others waited, and nobody came in any more as long as the node lived."""
    turnstile = Turnstile(per_turn=2)
    faults, came = list[Any](), list[int]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))

    def fail() -> None:
        raise RuntimeError("a fault of ours")

    turnstile.queue(fail)
    for number in range(5):
        turnstile.queue(partial(came.append, number))
    async with asyncio.timeout(5):
        while len(came) < 5:  # noqa: ASYNC110 (the loop itself is what is waited for)
            await asyncio.sleep(0)
    turnstile.queue(partial(came.append, 5))
    await asyncio.sleep(0)
    assert came == list(range(6))
    assert [type(fault) for fault in faults] == [RuntimeError]
