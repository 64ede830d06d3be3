"""How a process waits for a lock that cannot tell it when it is free."""

import pytest

from persistence.core.patience import pauses


@pytest.mark.parametrize("within", [0.01, 0.5, 2.0])
def test_the_pauses_use_the_time_given_and_no_more(within: float) -> None:
    assert within - 0.01 < sum(pauses(within)) <= within


def test_who_has_waited_longer_looks_more_often() -> None:
    all_pauses = list(pauses(1.0))
    assert all_pauses == sorted(all_pauses, reverse=True)
    assert all_pauses[-1] < all_pauses[0] / 2


def test_no_time_means_one_try() -> None:
    assert list(pauses(0.0)) == []
