"""Every setting tells what it does, and README.md's table is what they tell."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from director.cli.settings_table import BEGIN, END, as_markdown, facts_of_both, put_into
from shard_node.settings import NodeSettings

README = Path(__file__).parents[2] / "README.md"


def test_every_setting_says_what_it_does() -> None:
    silent = [fact.name for fact in facts_of_both() if not fact.meaning]
    assert silent == []


def test_every_span_says_its_unit() -> None:
    by_name = {fact.name: fact for fact in facts_of_both()}
    spans = [
        name for name in by_name if name.endswith(("_TTL", "_INTERVAL", "_TIMEOUT", "_LINGER")) or "_LEASE_" in name
    ]
    assert len(spans) >= 8
    assert {by_name[name].unit for name in spans} == {"s"}


def test_settings_that_both_read_mean_the_same_to_both() -> None:
    both = [fact for fact in facts_of_both() if fact.of == ("director", "node")]
    assert {fact.name for fact in both} >= {"HALL_REDIS_URL", "HALL_TICKET_KEY", "HALL_LEASE_EXPIRE"}
    assert [fact.name for fact in both if "; node:" in fact.meaning] == []


def test_the_readme_s_table_is_made_by_the_settings() -> None:
    table = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert table.strip() == as_markdown(facts_of_both()).strip(), "run: hall settings --into README.md"


def test_a_table_is_put_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(page, "| new |\n")
    assert page.read_text() == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no"):
        put_into(page, "| new |\n")


@pytest.mark.parametrize(
    ("host", "redis", "probe", "starts"),
    [
        ("127.0.0.1", "redis://127.0.0.1:6379/0", "", True),
        ("127.0.0.1", "unix:///run/redis.sock", "", True),
        ("127.0.0.1", "redis+sentinel://localhost:1,127.0.0.1:2/hall", "", True),
        ("10.0.0.7", "redis://redis.example/0", "", True),
        ("127.0.0.1", "redis://:secret@redis.example:6379/0", "", False),
        ("127.0.0.1", "redis+sentinel://127.0.0.1:1,redis.example:2/hall", "", False),
        ("0.0.0.0", "redis://127.0.0.1:6379/0", "", False),
        ("::", "redis://127.0.0.1:6379/0", "", False),
        ("0.0.0.0", "redis://redis.example/0", "http://10.0.0.7:9001", True),
        ("127.0.0.1", "redis://redis.example/0", "http://127.0.0.1:9001", True),
    ],
)
def test_a_node_that_directors_elsewhere_would_take_for_dead_does_not_start(
    monkeypatch: pytest.MonkeyPatch, host: str, redis: str, probe: str, starts: bool
) -> None:
    """A director that probed 127.0.0.1 asked its own host, was refused twice, and had its proof of death."""
    monkeypatch.setenv("HALL_TICKET_KEY", "t" * 32)
    monkeypatch.setenv("HALL_NODE_HOST", host)
    monkeypatch.setenv("HALL_REDIS_URL", redis)
    monkeypatch.setenv("HALL_NODE_PROBE_URL", probe)
    if starts:
        assert NodeSettings().node_host == host
        return
    with pytest.raises(ValidationError, match="HALL_NODE_PROBE_URL") as refused:
        NodeSettings()
    assert "secret" not in str(refused.value.errors(include_input=False))
