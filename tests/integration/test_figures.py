"""A running fleet tells the figures that it is watched by, and names nobody."""

import httpx
import pytest

from tests.support.crowd import gauge
from tests.support.figures import Family, director_text, families_of, node_text
from tests.support.fleet import Fleet
from tests.support.raw_client import fresh_cid, fresh_room, member, raw_client, route
from tests.support.watching import dashboard_queries, names_nothing_unknown, rules


async def figures_at(url: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{url}/metrics", timeout=15.0)
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


async def test_dashboard_and_rules_ask_for_what_every_process_tells(fleet: Fleet) -> None:
    director = families_of(await figures_at(fleet.director_url))
    for url in fleet.node_urls.values():
        known = director | families_of(await figures_at(url))
        for where, query in [*dashboard_queries(), *((rule.alert, rule.fields["expr"]) for rule in rules())]:
            assert names_nothing_unknown(query, known).selected, where


@pytest.fixture(scope="module")
def listed() -> tuple[dict[str, Family], dict[str, Family]]:
    """What docs/METRICS.md lists, which tests/core checks: of a director and of a node."""
    return families_of(director_text()), families_of(node_text())


async def test_a_process_tells_all_that_the_page_lists_and_nothing_else(
    fleet: Fleet, listed: tuple[dict[str, Family], dict[str, Family]]
) -> None:
    told = {url: await figures_at(url) for url in (fleet.director_url, *fleet.node_urls.values())}
    for url, text in told.items():
        expected = listed[url != fleet.director_url]
        assert families_of(text).keys() == expected.keys()
        for name, family in families_of(text).items():
            assert (family.kind, family.labels.keys()) == (expected[name].kind, expected[name].labels.keys()), name


async def test_figures_follow_what_members_do_and_name_neither_room_nor_person(fleet: Fleet) -> None:
    room = fresh_room("oddly-named")
    async with member(fleet, room, user="oddly") as (client, _):
        place = await route(fleet, room)
        names = ('joins_total{kind="new"}', "entries_total", "settle_seconds_count", 'events_total{event="send"}')
        before = [await gauge(place, f"hall_node_{name}") for name in names]
        assert (await client.ask("send", {"cid": fresh_cid(), "text": "oddly put"}))["ok"]
        await client.until("frame")
        async with raw_client(place) as second:
            await second.join({"v": 1, "ticket": place.ticket})
            after = [await gauge(place, f"hall_node_{name}") for name in names]
        assert all(new > old for new, old in zip(after, before, strict=True)), (before, after)
        routed = families_of(await figures_at(fleet.director_url))["hall_director_routes_total"]
        assert "routed" in routed.labels["outcome"]
        for url in (fleet.director_url, *fleet.node_urls.values()):
            assert "oddly" not in await figures_at(url)
