"""shard_node/settings: what is wrong is said together with what to do, by the name that people set."""

import os

import pytest
from pydantic import ValidationError

from director.settings import words_of
from shard_node import app
from shard_node.settings import NodeSettings

KEY = {"HALL_TICKET_KEY": "t" * 32}
DEMO = {"HALL_DEMO": "1"}
FAR_REDIS = {"HALL_REDIS_URL": "redis://redis.internal:6379/0"}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HALL_")]:
        monkeypatch.delenv(name)


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> NodeSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return NodeSettings()


def test_a_demo_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = settings(monkeypatch, **DEMO)
    assert demo.url == demo.probe_url == "http://127.0.0.1:9001"
    assert demo.origins == ("http://127.0.0.1:8000", "http://localhost:8000", "http://127.0.0.1:9001")


def test_a_node_of_a_fleet_is_told_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    far = settings(
        monkeypatch,
        **KEY,
        **FAR_REDIS,
        HALL_NODE_URL="https://node-7.chat.example.org/",
        HALL_NODE_PROBE_URL="http://10.0.0.7:9001",
        HALL_ALLOWED_ORIGINS="https://chat.example.org/, http://localhost:3000",
    )
    assert far.url == "https://node-7.chat.example.org"
    assert set(far.origins) >= {"https://chat.example.org", "http://localhost:3000"}


@pytest.mark.parametrize(
    ("environment", "advice"),
    [
        ({}, "HALL_TICKET_KEY must have 32 characters"),
        ({"HALL_TICKET_KEY": "change-me-" + "x" * 32}, "HALL_TICKET_KEY is still the example's"),
        ({**DEMO, "HALL_NODE_HOST": "0.0.0.0"}, "HALL_NODE_HOST=127.0.0.1"),
        ({**KEY, **FAR_REDIS}, "set HALL_NODE_PROBE_URL"),
        ({**DEMO, "HALL_NODE_NAME": "no spaces"}, "HALL_NODE_NAME: "),
        ({**DEMO, "HALL_NODE_PORT": "http"}, "HALL_NODE_PORT: "),
        ({**DEMO, "HALL_NODE_PATH": "socket.io"}, "begin and end with a slash"),
        ({**DEMO, "HALL_FANOUT": "fast"}, "HALL_FANOUT: Input should be 'direct' or 'stock'"),
        ({**DEMO, "HALL_LEASE_EXPIRE": "1"}, "out of order"),
        ({**DEMO, "HALL_REDIS_URL": "localhost:6379"}, "HALL_REDIS_URL begins with"),
        ({**DEMO, "HALL_NODE_URL": "node-7.example.org"}, "HALL_NODE_URL: takes an origin"),
        ({**DEMO, "HALL_NODE_PROBE_URL": "10.0.0.7:9001"}, "HALL_NODE_PROBE_URL: takes an origin"),
        ({**DEMO, "HALL_ALLOWED_ORIGINS": "https://a.example, *"}, "HALL_ALLOWED_ORIGINS: takes origins"),
    ],
)
def test_what_cannot_work_is_refused_with_advice(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], advice: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(monkeypatch, **environment)
    assert advice in words_of(caught.value)


def test_a_node_that_cannot_start_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It once printed pydantic's own report, with a link in it."""
    for name, value in {"HALL_NODE_PORT": "99999", "HALL_PING_INTERVAL": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        app.main()
    port = "HALL_NODE_PORT: Input should be less than or equal to 65535"
    assert str(end.value) == f"node: {port}; HALL_PING_INTERVAL: Input should be greater than or equal to 1"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"HALL_STORE_URL": "mysql://hall:secret@db/hall"},
            "the store must be sqlite+aiosqlite:///PATH or postgresql://USER@HOST/DATABASE, not mysql://hall:***@db/hall",
        ),
        (
            {"HALL_REDIS_URL": "redis+sentinel://:secret@127.0.0.1"},
            "a Sentinel URL is redis+sentinel://HOST:PORT,HOST:PORT/MASTER, with /DB if that is not 0",
        ),
        ({"HALL_STORE_URL": "postgresql://hall:secret@127.0.0.1:1/hall"}, "the store could not be read: "),
    ],
)
async def test_a_node_with_an_address_that_leads_nowhere_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    """It once ended in a traceback."""
    with pytest.raises(SystemExit) as end:
        await app.run(settings(monkeypatch, **DEMO, **environment))
    said = str(end.value)
    assert said.startswith(f"node node-1: {words}")
    assert "\n" not in said
    assert "secret" not in said
