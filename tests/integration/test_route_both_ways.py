"""The director's own answers of `/route`, at its door and by ASGI: the same status, headers and body."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest
from msgspec.structs import replace

from director.app import build_app
from director.http_server import CuttableHttp, HttpServer
from director.settings import DirectorSettings
from tests.support.halls import hall_on, lease_of, server_of
from tests.support.route_site import FOREIGN, ORIGIN, WITHIN, serving
from tests.support.valkey_server import ValkeyServer

PLATFORM_KEY = "p" * 32
LONG = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with server_of("valkey") as server:
        assert server is not None
        yield server


@asynccontextmanager
async def both_ways(server: ValkeyServer, **settings: object) -> AsyncIterator[tuple[httpx.AsyncClient, ...]]:
    """Clients of one director: of its door, and of the same without one."""
    given = {
        "demo": True,
        "ticket_key": "t" * 32,
        "redis_url": server.url,
        "allowed_origins": ORIGIN,
        "admin_token": "the-operators-token",
        **settings,
    }
    app = build_app(DirectorSettings(**given))  # type: ignore[arg-type]
    async with (
        app.router.lifespan_context(app),
        serving(app, app.state.door) as with_door,
        serving(app, CuttableHttp) as without,
        client_of(with_door) as at_the_door,
        client_of(without) as behind_it,
    ):
        yield at_the_door, behind_it


def client_of(server: HttpServer) -> httpx.AsyncClient:
    port = server.servers[0].sockets[0].getsockname()[1]
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=WITHIN)


async def ready(http: httpx.AsyncClient, is_enough: Callable[[httpx.Response], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not is_enough(await http.get("/readyz")):  # noqa: ASYNC110 - as one asks from outside
            await asyncio.sleep(0.01)


def said_in(answer: httpx.Response) -> dict[str, Any]:
    """An answer without what differs from one second to the next."""
    body = answer.json() if answer.content else None
    length = answer.headers["content-length"]
    if body and "ticket" in body:
        header, payload, signature = body["ticket"].split(".")
        assert (len(header) > 10, len(payload) > 10, len(signature)) == (True, True, 43)
        body["ticket"] = header
    kept = {name: value for name, value in answer.headers.items() if name not in ("date", "content-length")}
    return {"status": answer.status_code, "headers": sorted(kept.items()), "length": length, "body": body}


async def same(ways: tuple[httpx.AsyncClient, ...], target: str, **headers: str) -> httpx.Response:
    """The answer, which is the same both ways."""
    at_the_door, behind_it = [await http.get(target, headers=headers) for http in ways]
    assert said_in(at_the_door) == said_in(behind_it)
    return at_the_door


def bearer(**claims: object) -> str:
    return "Bearer " + jwt.encode(claims, PLATFORM_KEY, algorithm="HS256")


async def test_members_are_routed_alike_both_ways(server: ValkeyServer) -> None:
    async with hall_on(server) as hall:
        await hall.leases.acquire(lease_of("node-1"), expire=LONG)
        async with both_ways(server) as ways:
            await ready(ways[0], lambda answer: answer.status_code == 200)
            url = "/route?room=math-101&user=ann&name=Ann&role=lecturer"
            for answer in (await same(ways, url), await same(ways, url, Origin=ORIGIN)):
                assert (answer.status_code, answer.json()["node"]) == (200, "node-1")
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert (await same(ways, url, Origin=FOREIGN)).status_code == 403
            assert (await same(ways, url + "&redirect=1", Origin=ORIGIN)).headers["location"] == "http://127.0.0.1:1"
            for query in ("", "?room=a%20b", "?room=%FF", "?" + "a=1&" * 40 + "room=a", "?room=a&role=dean"):
                assert (await same(ways, "/route" + query, Origin=ORIGIN)).status_code == 400


async def test_the_platforms_people_are_refused_alike_both_ways(server: ValkeyServer) -> None:
    async with hall_on(server) as hall:
        await hall.leases.acquire(lease_of("node-1"), expire=LONG)
        async with both_ways(server, demo=False, platform_key=PLATFORM_KEY) as ways:
            await ready(ways[0], lambda answer: answer.status_code == 200)
            url = "/route?room=math-101"
            assert (await same(ways, url)).status_code == 401
            assert (await same(ways, url, Authorization="Bearer a.b.c", Origin=ORIGIN)).status_code == 401
            assert (await same(ways, url, Authorization=bearer(sub="u", rooms=[]))).status_code == 403
            assert (await same(ways, url, Authorization=bearer(sub="u"), Origin=ORIGIN)).status_code == 200


async def test_without_a_node_or_redis_people_are_asked_to_come_again_alike_both_ways(server: ValkeyServer) -> None:
    async with hall_on(server), both_ways(server) as ways:
        await ready(ways[0], lambda answer: "settle" not in answer.text)
        assert (await same(ways, "/route?room=math-101", Origin=ORIGIN)).json()["error"]["code"] == "NO_NODES"
    async with both_ways(server, redis_url="redis://127.0.0.1:1/0") as ways:
        answer = await same(ways, "/route?room=math-101")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["code"] == "OWNER_UNCONFIRMED"


async def test_a_node_s_address_adds_no_header(server: ValkeyServer) -> None:
    """uvicorn looks for ends of lines in headers, the door does not."""
    async with hall_on(server) as hall:
        lease = replace(lease_of("node-1"), url="http://127.0.0.1:1/\r\nSet-Cookie: a=b")
        await hall.leases.acquire(lease, expire=LONG)
        async with both_ways(server) as ways:
            await ready(ways[0], lambda answer: answer.status_code == 200)
            answer = await same(ways, "/route?room=math-101&redirect=1")
            assert answer.status_code == 307
            assert "set-cookie" not in answer.headers
