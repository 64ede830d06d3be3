"""The heartbeat: who lives is pinged, who is silent is cut, and who has closed is forgotten."""

from dataclasses import dataclass, field

import pytest

from shard_node.fanout.heartbeat import CONNECT_WITHIN, Heartbeat


@dataclass(slots=True, eq=False)
class Client:
    """One that answers pings, unless told otherwise, at once."""

    joined: bool = True
    answers: bool = True
    pongs: int = 0
    is_open: bool = True
    pings: int = 0
    now: float = 0.0
    cut_at: float | None = None
    pinged_at: list[float] = field(default_factory=list)

    def ping(self) -> None:
        self.pinged_at.append(self.now)
        if self.answers:
            self.pongs += 1

    def cut(self) -> None:
        self.is_open = False
        self.cut_at = self.now


def run(heartbeat: Heartbeat, client: Client, *, until: float, since: float = 0.0) -> None:
    """Beat once every half second."""
    for number in range(int(since * 2), int(until * 2) + 1):
        client.now = number / 2
        heartbeat.beat(client.now)


def begun(client: Client, *, interval: float = 10, timeout: float = 5) -> Heartbeat:
    heartbeat = Heartbeat(interval=interval, timeout=timeout)
    heartbeat.add(client, 0.0)
    return heartbeat


def test_who_answers_is_pinged_every_interval_and_stays() -> None:
    client = Client()
    run(begun(client), client, until=60)
    assert client.pinged_at == [10, 20, 30, 40, 50, 60]
    assert client.is_open


def test_who_does_not_answer_is_cut_when_its_time_is_up() -> None:
    client = Client(answers=False)
    run(begun(client), client, until=60)
    assert (client.pinged_at, client.cut_at) == ([10], 15)


def test_who_stops_answering_is_cut_as_well() -> None:
    client = Client()
    heartbeat = begun(client)
    run(heartbeat, client, until=12)
    client.answers = False
    run(heartbeat, client, since=12.5, until=60)
    assert client.cut_at == 25


def test_who_answers_slowly_stays_also_where_pings_come_faster_than_answers_may() -> None:
    """One sign told whether the last ping was answered: a ping every second and 5 s to answer cut whoever needed more
    than a second."""
    client = Client(answers=False)
    heartbeat = begun(client, interval=1, timeout=5)
    for number in range(120):
        client.now = number / 2
        client.pongs = sum(sent <= client.now - 4 for sent in client.pinged_at)
        heartbeat.beat(client.now)
    assert client.is_open
    client.pongs = 1_000
    run(heartbeat, client, since=60, until=80)
    assert client.cut_at is not None


@pytest.mark.parametrize("is_joining", [False, True])
def test_who_never_joins_is_cut_and_who_joins_is_not(is_joining: bool) -> None:
    client = Client(joined=False)
    heartbeat = begun(client)
    run(heartbeat, client, until=CONNECT_WITHIN - 1)
    client.joined = is_joining
    run(heartbeat, client, since=CONNECT_WITHIN, until=60)
    assert client.cut_at == (None if is_joining else CONNECT_WITHIN)


def test_who_leaves_its_namespace_may_come_back_within_the_same_time() -> None:
    client = Client()
    heartbeat = begun(client)
    run(heartbeat, client, until=30)
    client.joined = False
    heartbeat.watch_joining(client, 30)
    run(heartbeat, client, since=30, until=60)
    assert client.cut_at == 30 + CONNECT_WITHIN


def test_a_closed_client_is_left_alone_and_forgotten() -> None:
    client = Client(joined=False)
    heartbeat = begun(client)
    client.is_open = False
    run(heartbeat, client, until=CONNECT_WITHIN)
    assert (client.pinged_at, client.cut_at, len(heartbeat)) == ([], None, 0)
