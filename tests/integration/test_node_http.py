"""What a node says over HTTP, and to whose pages."""

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.fleet import Fleet
from tests.support.raw_client import fresh_room, raw_client, route


async def test_a_node_tells_its_name_and_incarnation_and_that_it_is_ready(fleet: Fleet) -> None:
    async with httpx.AsyncClient() as http:
        for name, url in fleet.node_urls.items():
            health = (await http.get(f"{url}/healthz")).json()
            assert (health["ok"], health["node"]) == (True, name)
            assert health["incarnation"]
            assert (await http.get(f"{url}/readyz")).status_code == 200
            assert "hall_node_rooms" in (await http.get(f"{url}/metrics")).text


async def test_an_unknown_address_is_answered_in_the_error_shape(fleet: Fleet) -> None:
    async with httpx.AsyncClient() as http:
        for url in fleet.node_urls.values():
            answer = await http.get(f"{url}/nothing")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "UNSUPPORTED")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_foreign_page_is_refused_by_polling_and_by_websocket(fleet: Fleet, origin: str) -> None:
    place = await route(fleet, fresh_room())
    address = f"{place.url}{place.path}?EIO=4&transport="
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{address}polling", headers={"Origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
        assert "access-control-allow-origin" not in answer.headers
    with pytest.raises(InvalidStatus) as refused:
        await connect(address.replace("http", "ws", 1) + "websocket", origin=origin)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403


async def test_the_directors_own_page_is_answered_with_one_header(fleet: Fleet) -> None:
    place = await route(fleet, fresh_room())
    for origin in (fleet.director_url, fleet.director_url.replace("127.0.0.1", "localhost"), place.url):
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{place.url}{place.path}?EIO=4&transport=polling", headers={"Origin": origin})
            assert answer.status_code == 200
            assert answer.headers.get_list("access-control-allow-origin") == [origin]
            assert "access-control-allow-credentials" not in answer.headers
        async with raw_client(place, origin=origin) as client:
            assert (await client.join({"v": 1, "ticket": place.ticket}))["room"] == place.room
