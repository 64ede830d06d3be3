"""director/single_flight: one does the work, all get its outcome."""

import asyncio

import pytest

from director.single_flight import SingleFlight
from tests.support.virtual_time import in_virtual_time


class Work:
    def __init__(self, error: Exception | None = None) -> None:
        self.runs = 0
        self._error = error

    async def __call__(self) -> int:
        self.runs += 1
        await asyncio.sleep(1)
        if self._error is not None:
            raise self._error
        return self.runs


@in_virtual_time
async def test_those_who_ask_at_once_share_one_run_and_later_ones_begin_another() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    assert await asyncio.gather(*(flights.run("a", work) for _ in range(5))) == [1] * 5
    assert await flights.run("a", work) == 2


@in_virtual_time
async def test_keys_do_not_wait_for_each_other() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    await asyncio.gather(flights.run("a", work), flights.run("b", work))
    assert work.runs == 2


@in_virtual_time
async def test_a_failure_is_shared_and_not_kept() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    failing = Work(ValueError("no"))
    outcomes = await asyncio.gather(*(flights.run("a", failing) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
    assert failing.runs == 1
    with pytest.raises(ValueError, match="no"):
        await flights.run("a", failing)
    assert await flights.run("a", Work()) == 1


@in_virtual_time
async def test_where_the_worker_is_cancelled_another_takes_over() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    first = asyncio.create_task(flights.run("a", work))
    others = [asyncio.create_task(flights.run("a", work)) for _ in range(3)]
    await asyncio.sleep(0.5)
    first.cancel()
    assert await asyncio.gather(*others) == [2, 2, 2]
    assert first.cancelled()


@in_virtual_time
async def test_one_that_waits_may_leave() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    first = asyncio.create_task(flights.run("a", work))
    second = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0.5)
    second.cancel()
    assert await first == 1
