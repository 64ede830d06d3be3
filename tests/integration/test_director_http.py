"""The director's HTTP interface over a real Valkey: what is answered, refused, and in which shape."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt
import msgspec
import pytest

from director.app import build_app
from director.contract.errors import ErrorCode
from director.contract.ids import Incarnation, NodeName, Role
from director.settings import DirectorSettings
from director.ticket_jwt import JwtTicketBook
from tests.support.halls import MATHS, Hall, hall_on, lease_of, server_of
from tests.support.valkey_server import ValkeyServer

TICKET_KEY, PLATFORM_KEY, ADMIN = "t" * 32, "p" * 32, "the-operators-token"
LONG = 60.0
OWN = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with server_of("valkey") as server:
        assert server is not None
        yield server


@pytest.fixture
async def hall(server: ValkeyServer) -> AsyncIterator[Hall]:
    async with hall_on(server) as hall:
        for node in ("node-1", "node-2", "node-3"):
            await hall.leases.acquire(lease_of(node), expire=LONG)
        yield hall


@dataclass(slots=True)
class Browser:
    """A client of one director, without a socket in between."""

    http: httpx.AsyncClient

    async def get(self, url: str, **headers: str) -> httpx.Response:
        return await self.http.get(url, headers=headers)

    async def get_until(self, url: str, is_enough: Callable[[httpx.Response], bool]) -> httpx.Response:
        """Ask again and again until the answer is what is waited for."""
        async with asyncio.timeout(10):
            while True:
                response = await self.get(url)
                if is_enough(response):
                    return response
                await asyncio.sleep(0)  # without a socket nothing else would make this step aside

    async def routed(self, url: str) -> dict[str, object]:
        """The answer of `/route`, asked for again while the director says so, as a client would."""
        response = await self.get_until(url, lambda response: response.status_code != 503)
        answer: dict[str, object] = response.json()
        return answer

    async def ready(self) -> "Browser":
        await self.get_until("/readyz", lambda response: response.status_code == 200)
        return self


@asynccontextmanager
async def director(server: ValkeyServer, *, web: Path | None = None, **settings: object) -> AsyncIterator[Browser]:
    given = {"demo": True, "ticket_key": TICKET_KEY, "redis_url": server.url, "admin_token": ADMIN, **settings}
    app = build_app(DirectorSettings(**given), **({} if web is None else {"web": web}))  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=OWN) as http:
        yield Browser(http)


@pytest.fixture
async def demo(hall: Hall, server: ValkeyServer) -> AsyncIterator[Browser]:
    async with director(server) as browser:
        yield await browser.ready()


@pytest.fixture
async def closed(hall: Hall, server: ValkeyServer) -> AsyncIterator[Browser]:
    """A director outside demo mode."""
    async with director(server, demo=False, platform_key=PLATFORM_KEY) as browser:
        yield await browser.ready()


def bearer(**claims: object) -> str:
    return "Bearer " + jwt.encode(claims, PLATFORM_KEY, algorithm="HS256")


def is_refused(response: httpx.Response, code: ErrorCode, status: int | None = None) -> bool:
    body = response.json()
    assert body["ok"] is False
    assert sorted(body["error"]) == ["action", "code", "message", "retry_after_ms", "temporary"]
    assert body["error"]["code"] == code, body
    assert body["error"]["action"] == code.action
    assert response.status_code == (status or code.http_status)
    assert response.headers["content-type"] == "application/json"
    if response.status_code in (429, 503):
        assert int(response.headers["retry-after"]) == -(-body["error"]["retry_after_ms"] // 1000)
    return True


async def test_a_route_has_all_that_a_client_needs(demo: Browser, hall: Hall) -> None:
    response = await demo.get("/route?room=math-101&user=ann&name=Ann+B&role=lecturer")

    body = response.json()
    record = await hall.owners.room_record(MATHS)
    assert record is not None
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert {**body, "ticket": ""} == {
        "ok": True,
        "room": "math-101",
        "node": record.owner,
        "url": "http://127.0.0.1:1",
        "path": "/socket.io/",
        "epoch": record.epoch,
        "ticket": "",
        "ticket_expires_in_ms": 60_000,
        "connect_after_ms": 0,
    }
    now_ms = int(time.time() * 1000)
    ticket = JwtTicketBook(TICKET_KEY).read(body["ticket"], now_ms=now_ms)
    assert (ticket.room, ticket.user, ticket.name, ticket.role) == ("math-101", "ann", "Ann B", Role.LECTURER)
    assert (ticket.node, ticket.epoch) == (record.owner, record.epoch)
    assert abs(ticket.expires_at_ms - now_ms - 60_000) < 5_000


async def test_two_directors_send_everybody_to_the_same_node(hall: Hall, server: ValkeyServer) -> None:
    async with director(server) as one, director(server) as two:
        await one.ready()
        await two.ready()
        urls = [f"/route?room=room-{i}" for i in range(20) for _ in range(3)]
        answers = await asyncio.gather(*(browser.routed(url) for url in urls for browser in (one, two)))
    owners = {(answer["room"], answer["node"], answer["epoch"]) for answer in answers}
    assert len(owners) == 20


@pytest.mark.parametrize(
    "query", ["", "?room=", "?room=a%20b", "?room=" + "x" * 129, "?room=%FF", "?" + "a=1&" * 40 + "room=a"]
)
async def test_a_bad_room_is_a_bad_request(demo: Browser, query: str) -> None:
    assert is_refused(await demo.get("/route" + query), ErrorCode.BAD_REQUEST)


@pytest.mark.parametrize("query", ["role=dean", "name=" + "x" * 65, "user=a%00b"])
async def test_somebody_who_cannot_be_is_a_bad_request(demo: Browser, query: str) -> None:
    assert is_refused(await demo.get("/route?room=math-101&" + query), ErrorCode.BAD_REQUEST)


async def test_a_redirect_is_for_people_and_has_no_ticket(demo: Browser) -> None:
    response = await demo.get("/route?room=math-101&redirect=1")
    assert response.status_code == 307
    assert response.headers["location"] == "http://127.0.0.1:1"
    assert response.content == b""
    assert (await demo.get("/route?room=math-101&redirect=0")).status_code == 200


async def test_outside_a_demo_the_platform_says_who_is_asking(closed: Browser) -> None:
    url = "/route?room=math-101&user=root&role=lecturer"
    assert is_refused(await closed.get(url), ErrorCode.UNAUTHENTICATED)
    assert is_refused(await closed.get(url, Authorization="Bearer a.b.c"), ErrorCode.UNAUTHENTICATED)
    response = await closed.get(url, Authorization=bearer(sub="u1", name="Ann", rooms=["math-*"]))
    ticket = JwtTicketBook(TICKET_KEY).read(response.json()["ticket"], now_ms=0)
    assert (ticket.user, ticket.name, ticket.role) == ("u1", "Ann", Role.STUDENT)
    other = await closed.get("/route?room=art", Authorization=bearer(sub="u1", rooms=["math-*"]))
    assert is_refused(other, ErrorCode.FORBIDDEN)


async def test_a_refused_request_claims_nothing(closed: Browser, hall: Hall) -> None:
    await closed.get("/route?room=math-101")
    await closed.get("/route?room=math-101", Authorization=bearer(sub="u1", rooms=[]))
    assert list((await hall.owners.snapshot()).rooms) == []


async def test_a_failed_node_is_probed_and_its_room_moves(demo: Browser) -> None:
    """The leases of this test name port 1, where nobody listens: that is proof."""
    first = (await demo.get("/route?room=math-101")).json()
    again = (await demo.get(f"/route?room=math-101&failed={first['node']}")).json()
    assert again["node"] != first["node"]
    assert again["epoch"] > first["epoch"]
    stale = (await demo.get(f"/route?room=math-101&failed={first['node']}")).json()
    assert (stale["node"], stale["epoch"]) == (again["node"], again["epoch"])
    nonsense = await demo.get("/route?room=math-101&failed=no%20node")
    assert nonsense.json()["node"] == again["node"]


async def test_a_node_that_may_live_is_not_given_up(hall: Hall, server: ValkeyServer) -> None:
    with socket.socket() as frozen:
        frozen.bind(("127.0.0.1", 0))
        frozen.listen()
        for node in ("node-1", "node-2", "node-3"):
            await hall.leases.release(NodeName(node), Incarnation("i1"))
        await hall.leases.acquire(lease_of("node-4", port=frozen.getsockname()[1]), expire=LONG)
        async with director(server) as browser:
            await browser.ready()
            await browser.get("/route?room=math-101")
            refusal = await browser.get("/route?room=math-101&failed=node-4")
            assert is_refused(refusal, ErrorCode.OWNER_UNCONFIRMED)
            assert (await browser.get("/route?room=math-101")).status_code == 200


async def test_known_rooms_are_routed_while_redis_is_away(hall: Hall, server: ValkeyServer) -> None:
    async with director(server) as browser:
        await browser.ready()
        first = (await browser.get("/route?room=math-101")).json()
        server.kill()
        try:
            again = (await browser.get("/route?room=math-101")).json()
            assert (again["node"], again["epoch"]) == (first["node"], first["epoch"])
            assert is_refused(await browser.get("/route?room=new-one"), ErrorCode.OWNER_UNCONFIRMED)
        finally:
            server.start()


async def test_without_nodes_people_are_asked_to_come_again(server: ValkeyServer) -> None:
    async with hall_on(server), director(server) as browser:
        response = await browser.get_until("/readyz", lambda response: "settle" not in response.text)
        assert is_refused(response, ErrorCode.NO_NODES)
        assert "a node with a lease" in response.json()["error"]["message"]
        assert is_refused(await browser.get("/route?room=math-101"), ErrorCode.NO_NODES)


async def test_before_redis_has_answered_the_director_lives_and_is_not_ready(server: ValkeyServer) -> None:
    async with director(server, redis_url="redis://127.0.0.1:1/0") as browser:
        assert (await browser.get("/healthz")).json() == {"ok": True}
        response = await browser.get("/readyz")
        assert is_refused(response, ErrorCode.NO_NODES)
        for missing in ("the rooms", "Redis' time", "the settle time", "a node with a lease"):
            assert missing in response.json()["error"]["message"]
        assert is_refused(await browser.get("/route?room=math-101"), ErrorCode.OWNER_UNCONFIRMED)


async def test_staff_and_operators_may_ask_about_a_room(demo: Browser, hall: Hall) -> None:
    unknown = await demo.get("/rooms/math-101?role=assistant")
    assert (unknown.json()["owner"], unknown.json()["epoch"]) == (None, None)
    routed = (await demo.get("/route?room=math-101")).json()

    for response in (
        await demo.get("/rooms/math-101?role=lecturer"),
        await demo.get("/rooms/math-101", Authorization=f"Bearer {ADMIN}"),
    ):
        body = response.json()
        assert (body["ok"], body["room"], body["owner"]) == (True, "math-101", routed["node"])
        assert (body["epoch"], body["why"], body["members"], body["moves"]) == (routed["epoch"], "ring", 0, 0)
        assert body["owner_lives"]
    assert is_refused(await demo.get("/rooms/math-101"), ErrorCode.FORBIDDEN)
    assert is_refused(await demo.get("/rooms/math-101", Authorization="Bearer wrong"), ErrorCode.FORBIDDEN)
    assert is_refused(await demo.get("/rooms/a%20b?role=lecturer"), ErrorCode.BAD_REQUEST)


async def test_without_an_admin_token_nobody_is_an_operator(hall: Hall, server: ValkeyServer) -> None:
    async with director(server, demo=False, platform_key=PLATFORM_KEY, admin_token="") as browser:
        await browser.ready()
        for authorization in ("Bearer ", "Bearer", "Bearer x"):
            response = await browser.get("/rooms/math-101", Authorization=authorization)
            assert is_refused(response, ErrorCode.UNAUTHENTICATED)


async def test_a_room_that_nobody_knows_waits_until_redis_has_settled(server: ValkeyServer) -> None:
    """Redis is new, or lost everything: whoever owns the room may be about to say so."""
    server.wipe()
    async with director(server) as browser, hall_on(server) as hall:
        await browser.get_until("/readyz", lambda response: "the rooms" not in response.text)
        await hall.leases.acquire(lease_of("node-1"), expire=LONG)
        waiting = await browser.get("/route?room=math-101")
        assert is_refused(waiting, ErrorCode.OWNER_UNCONFIRMED)
        assert 0 < waiting.json()["error"]["retry_after_ms"] <= 3_000
        assert (await browser.routed("/route?room=math-101"))["node"] == "node-1"
        await browser.ready()


async def test_an_operator_resumes_failovers_that_are_held_back(hall: Hall, server: ValkeyServer) -> None:
    async with director(server) as browser:
        await browser.ready()
        for node in ("node-1", "node-2", "node-3"):
            await hall.leases.acquire(lease_of(node), expire=0.05)
        await browser.get_until("/metrics", lambda response: 'outcome="heldback"} 0' not in response.text)

        authorization = {"Authorization": f"Bearer {ADMIN}"}
        answer = await browser.http.post("/admin/failover/resume", headers=authorization)
        assert answer.json() == {"ok": True, "waiting": 2, "lifted_for_ms": 60_000}
        await browser.get_until("/metrics", lambda response: "nodes_lapsed 0.0" in response.text)


async def test_only_an_operator_resumes(demo: Browser, hall: Hall, server: ValkeyServer) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": ADMIN}):
        answer = await demo.http.post("/admin/failover/resume", headers=headers)
        assert is_refused(answer, ErrorCode.UNAUTHENTICATED)
    assert is_refused(await demo.get("/admin/failover/resume"), ErrorCode.UNSUPPORTED, 405)
    async with director(server, demo=False, platform_key=PLATFORM_KEY, admin_token="") as browser:
        answer = await browser.http.post("/admin/failover/resume", headers={"Authorization": "Bearer x"})
        assert is_refused(answer, ErrorCode.FORBIDDEN)
    server.kill()
    try:
        answer = await demo.http.post("/admin/failover/resume", headers={"Authorization": f"Bearer {ADMIN}"})
        assert is_refused(answer, ErrorCode.BUSY)
    finally:
        server.start()


async def test_a_demo_s_operators_show_the_token_in_its_folder(
    hall: Hall, server: ValkeyServer, tmp_path: Path
) -> None:
    async with director(server, admin_token="", data=tmp_path) as browser:
        token = (tmp_path / "admin.token").read_text()
        assert (tmp_path / "admin.token").stat().st_mode & 0o777 == 0o600
        answer = await browser.http.post("/admin/failover/resume", headers={"Authorization": f"Bearer {token}"})
        assert answer.json()["ok"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/route/", 404),
        ("GET", "/web/nowhere.js", 404),
        ("GET", "/web/../app.py", 404),
        ("GET", "/web/%2e%2e/app.py", 404),
        ("GET", "/web/", 404),
        ("POST", "/route?room=math-101", 405),
        ("DELETE", "/rooms/math-101", 405),
        ("POST", "/", 405),
        ("POST", "/web/hall-client.js", 405),
    ],
)
async def test_what_is_not_there_is_said_in_the_error_shape(demo: Browser, method: str, path: str, status: int) -> None:
    assert is_refused(await demo.http.request(method, path), ErrorCode.UNSUPPORTED, status)


async def test_pages_of_allowed_origins_are_answered_and_others_refused(hall: Hall, server: ValkeyServer) -> None:
    lms = "https://lms.example"
    async with director(server, allowed_origins=lms) as browser:
        await browser.ready()
        for origin in (OWN, "http://localhost:8000", lms):
            response = await browser.get("/route?room=math-101", Origin=origin)
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == origin
            assert "Origin" in response.headers["vary"]
            assert "access-control-allow-credentials" not in response.headers
            refused = await browser.get("/route?room=a%20b", Origin=origin)
            assert is_refused(refused, ErrorCode.BAD_REQUEST)
            assert refused.headers["access-control-allow-origin"] == origin
        for origin in ("http://evil.example", "null", "http://localhost:8001", "https://lms.example.evil.example"):
            response = await browser.get("/route?room=unclaimed", Origin=origin)
            assert is_refused(response, ErrorCode.FORBIDDEN)
            assert "access-control-allow-origin" not in response.headers
    assert [record.room for record in (await hall.owners.snapshot()).rooms] == ["math-101"]


async def test_a_preflight_is_answered_for_allowed_origins(demo: Browser) -> None:
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    allowed = await demo.http.options("/route", headers={"Origin": OWN, **asks})
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == OWN
    assert allowed.headers["access-control-allow-headers"] == "Authorization"
    foreign = await demo.http.options("/route", headers={"Origin": "http://evil.example", **asks})
    assert is_refused(foreign, ErrorCode.FORBIDDEN)


async def test_the_pages_come_from_here_alone(hall: Hall, server: ValkeyServer, tmp_path: Path) -> None:
    for name in ("classroom.html", "a.js", "a.mjs", "a.css", "a.d.ts", "a.woff2", "a.svg"):
        (tmp_path / name).write_text(name)
    async with director(server, web=tmp_path) as browser:
        page = await browser.get("/")
        assert page.text == "classroom.html"
        types = {
            path: (await browser.get(path)).headers["content-type"]
            for path in ("/", "/web/a.js", "/web/a.mjs", "/web/a.css", "/web/a.d.ts", "/web/a.woff2", "/web/a.svg")
        }
        again = await browser.get("/web/a.js", **{"If-None-Match": (await browser.get("/web/a.js")).headers["etag"]})
    assert types == {
        "/": "text/html; charset=utf-8",
        "/web/a.js": "text/javascript; charset=utf-8",
        "/web/a.mjs": "text/javascript; charset=utf-8",
        "/web/a.css": "text/css; charset=utf-8",
        "/web/a.d.ts": "text/plain; charset=utf-8",
        "/web/a.woff2": "font/woff2",
        "/web/a.svg": "image/svg+xml",
    }
    assert again.status_code == 304
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_the_figures_count_outcomes_and_name_nobody(demo: Browser, hall: Hall) -> None:
    odd = msgspec.structs.replace(lease_of("node-2"), timings="00000000", store_ok=False)
    await hall.leases.renew(odd, expire=LONG, members={})
    await hall.leases.acquire(lease_of("node-9"), expire=0.01)
    await demo.get_until("/metrics", lambda response: "store_doubted 1.0" in response.text)
    await demo.get("/route?room=math-101&user=ann")
    await demo.get("/route?room=math-101&user=ann")
    await demo.get("/route?room=a%20b")
    await demo.get("/route?room=" + "~" * 128 + "&role=dean")

    response = await demo.get("/metrics")
    figures = dict(re.findall(r"^(\S+) ([\d.]+)$", response.text, re.MULTILINE))

    assert response.headers["content-type"].startswith("text/plain")
    assert figures['hall_director_routes_total{outcome="routed"}'] == "2.0"
    assert figures['hall_director_routes_total{outcome="bad_request"}'] == "2.0"
    assert figures['hall_director_claims_total{outcome="claimed"}'] == "1.0"
    assert figures['hall_director_nodes{state="serving"}'] == "3.0"
    assert figures["hall_director_rooms"] == "1.0"
    assert figures["hall_director_nodes_odd_timings"] == "1.0"
    assert figures["hall_director_nodes_store_doubted"] == "1.0"
    assert figures["hall_director_nodes_lapsed"] == "1.0"
    assert "math-101" not in response.text
    assert "ann" not in response.text


async def test_a_fault_of_ours_has_the_error_shape_too(hall: Hall, server: ValkeyServer) -> None:
    app = build_app(DirectorSettings(demo=True, ticket_key=TICKET_KEY, redis_url=server.url, admin_token=ADMIN))

    async def broken(request: object) -> None:
        raise ZeroDivisionError

    app.add_route("/broken", broken)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=OWN) as http:
        response = await http.get("/broken")
    assert is_refused(response, ErrorCode.BUSY, 500)
    assert "ZeroDivision" not in response.text


async def test_member_counts_and_losses_reach_the_director(demo: Browser, hall: Hall) -> None:
    await demo.get("/route?room=math-101")
    record = await hall.owners.room_record(MATHS)
    assert record is not None
    await hall.leases.renew(lease_of(record.owner), expire=LONG, members={MATHS: 41})
    url = "/rooms/math-101?role=lecturer"
    counted = await demo.get_until(url, lambda response: response.json()["members"] == 41)
    assert counted.json()["peak"] == 41

    await hall.leases.release(record.owner, record.incarnation)
    await demo.get_until(url, lambda response: not response.json()["owner_lives"])
    assert (await demo.get("/route?room=math-101")).json()["node"] != record.owner
