"""Backoff: restarts come quickly at first, ever more slowly after, and never not at all."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from director.core.backoff import Backoff, Restart, restart_of
from tests.support.virtual_time import in_virtual_time

BACKOFF = Backoff(first=0.2, longest=5.0, forgive_after=10.0)


def test_the_first_restart_comes_after_the_first_wait() -> None:
    assert restart_of(BACKOFF, deaths=0, lived=0.0) == Restart(after=0.2, deaths=1)


def test_each_death_in_a_row_doubles_the_wait_up_to_the_longest() -> None:
    waits, deaths = [], 0
    for _ in range(7):
        restart = restart_of(BACKOFF, deaths=deaths, lived=1.0)
        waits.append(restart.after)
        deaths = restart.deaths
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_long_enough_life_forgives_all_former_deaths() -> None:
    assert restart_of(BACKOFF, deaths=6, lived=9.99).after == 5.0
    assert restart_of(BACKOFF, deaths=6, lived=10.0) == Restart(after=0.2, deaths=1)


@given(deaths=st.integers(0, 10**9), lived=st.floats(0, 1e9))
def test_the_wait_keeps_its_bounds_however_often_a_process_dies(deaths: int, lived: float) -> None:
    restart = restart_of(BACKOFF, deaths=deaths, lived=lived)
    assert BACKOFF.first <= restart.after <= BACKOFF.longest
    assert 1 <= restart.deaths <= deaths + 1


@in_virtual_time
async def test_a_process_that_dies_at_once_is_started_at_most_twenty_times_in_a_minute() -> None:
    loop = asyncio.get_running_loop()
    began_at, starts, deaths = loop.time(), 0, 0
    while loop.time() - began_at < 60:
        starts += 1
        restart = restart_of(BACKOFF, deaths=deaths, lived=0.0)
        deaths = restart.deaths
        await asyncio.sleep(restart.after)
    assert 15 <= starts <= 20
