"""The admin interface for real: over Valkey with a node that hands rooms over, and over a socket that nobody reads."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import structlog
import uvicorn
from msgspec.structs import replace
from starlette.applications import Starlette

from director import event_stream
from director.admin_events import event_routes
from director.app import build_app
from director.contract.ids import NodeName, RoomId
from director.contract.lease import NodeState
from director.contract.ownership import Claimed, RoomChanged
from director.http_server import CuttableHttp, HttpServer
from director.memory_hall import MemoryHall
from director.settings import DirectorSettings
from tests.core.test_event_stream import large_view
from tests.support.admin_site import TOKEN, admin_desk
from tests.support.halls import Hall, hall_on, lease_of, server_of
from tests.support.moving_nodes import SimulatedDirector
from tests.support.valkey_server import ValkeyServer

LONG = 60.0
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with server_of("valkey") as server:
        assert server is not None
        yield server


@pytest.fixture
async def hall(server: ValkeyServer) -> AsyncIterator[Hall]:
    async with hall_on(server) as hall:
        yield hall


@asynccontextmanager
async def moving_node(hall: Hall, name: str, *rooms: str) -> AsyncIterator[None]:
    """A node that gets ready, and hands rooms over, as soon as it is asked to."""
    lease = lease_of(name)
    await hall.leases.acquire(lease, expire=LONG)
    for room in rooms:
        answer = await hall.owners.claim(
            RoomId(room), node=lease.node, incarnation=lease.incarnation, replacing=None, why="ring"
        )
        assert isinstance(answer, Claimed)
    notices = hall.owners.notices()
    await anext(notices)

    async def work() -> None:
        async for notice in notices:
            if isinstance(notice, RoomChanged) and notice.record.target is not None:
                if notice.record.target == lease.node and not notice.record.is_warm:
                    await hall.owners.note_warm(notice.record)
                elif notice.record.owner == lease.node and notice.record.is_warm:
                    await hall.owners.hand_over(notice.record)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await notices.aclose()  # type: ignore[attr-defined]


@asynccontextmanager
async def director(server: ValkeyServer) -> AsyncIterator[httpx.AsyncClient]:
    settings = DirectorSettings(demo=True, ticket_key="t" * 32, redis_url=server.url, admin_token=TOKEN)
    app = build_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=OPERATOR) as http,
    ):
        async with asyncio.timeout(20):
            while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - as one asks from outside
                await asyncio.sleep(0)
        yield http


async def owners_in(hall: Hall) -> set[NodeName]:
    return {record.owner for record in (await hall.owners.snapshot()).rooms}


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def ended(http: httpx.AsyncClient, name: str) -> dict[str, object]:
    """An operation's end."""
    async with asyncio.timeout(30):
        while True:
            answer = await http.get(f"/admin/operations/{name}")
            operation: dict[str, object] = answer.json()["operation"]
            if operation["state"] != "running":
                return operation
            await asyncio.sleep(0)


async def test_a_room_is_moved_and_a_node_drained_through_redis(hall: Hall, server: ValkeyServer) -> None:
    async with (
        moving_node(hall, "node-1", *(f"r{i}" for i in range(6))),
        moving_node(hall, "node-2"),
        director(server) as http,
    ):
        moved = await http.post("/admin/rooms/r0/move", json={"to": "node-2"})
        assert (await ended(http, moved.json()["operation"]))["state"] == "done"
        told = (await http.get("/admin/rooms/r0")).json()
        assert (told["owner"], told["why"], told["past"][0]["source"]) == ("node-2", "ordered", "node-1")

        drained = await http.post("/admin/nodes/node-1/drain", json={"rooms_at_a_time": 3})
        operation = await ended(http, drained.json()["operation"])
        assert (operation["state"], operation["subject"]) == ("done", "node-1")
        assert await owners_in(hall) == {"node-2"}
        routed = (await http.get("/route?room=new-one")).json()
        assert routed["node"] == "node-2"
        assert (await http.delete("/admin/nodes/node-1/drain")).json()["state"] == "serving"


async def test_a_node_s_own_wish_to_go_empties_it(hall: Hall, server: ValkeyServer) -> None:
    async with moving_node(hall, "node-1", "r0", "r1"), moving_node(hall, "node-2"), director(server) as http:
        leaving = replace(lease_of("node-1"), state=NodeState.DRAINING)
        await hall.leases.renew(leaving, expire=LONG, members={})
        async with asyncio.timeout(30):
            while await owners_in(hall) != {"node-2"}:  # noqa: ASYNC110 - what is waited for is in Redis
                await asyncio.sleep(0)
        operation = await ended(http, "drain-node-1-i1")
        assert operation["state"] == "done"


async def test_a_plan_of_many_rooms_is_made_while_others_are_answered(hall: Hall, server: ValkeyServer) -> None:
    rooms = [f"room-{i}" for i in range(300)]
    async with moving_node(hall, "node-1", *rooms), moving_node(hall, "node-2"), director(server) as http:
        planning = asyncio.create_task(http.post("/admin/rebalance", json={"plan": True, "bound": 1.01}))
        assert (await http.get("/healthz")).status_code == 200
        plan = (await planning).json()["plan"]
        assert len(plan["moves"]) >= 100
        assert {move["target"] for move in plan["moves"]} == {"node-2"}


# -- the stream over a socket


@asynccontextmanager
async def served(app: Starlette, events: event_stream.EventStream) -> AsyncIterator[tuple[HttpServer, tuple[str, int]]]:
    """`app` over uvicorn as the director runs it, and its address."""
    config = uvicorn.Config(app, http=CuttableHttp, ws="none", lifespan="off", log_config=None, access_log=False)
    uvicorn_server = HttpServer(config, on_shutdown=events.close)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(uvicorn_server.serve(sockets=[listener]))
        try:
            yield uvicorn_server, listener.getsockname()
        finally:
            uvicorn_server.stop()
            await serving


def large_site() -> tuple[SimulatedDirector, Starlette]:
    """A director that knows of a large fleet, and its admin interface; Redis is memory."""
    clock = asyncio.get_running_loop().time
    director = SimulatedDirector(MemoryHall(clock=clock, server_clock=clock))
    director.view = large_view()
    director.events._view = director.view
    director.fleet_clock.take(1, sent_at=clock(), received_at=clock())
    desk = admin_desk(director)
    return director, Starlette(routes=[*event_routes(desk)])


async def test_a_reader_that_stops_reading_is_cut_off_and_its_buffers_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mere close would leave the connection, and what is buffered for it, until its peer goes."""
    monkeypatch.setattr(event_stream, "TAKE_WITHIN", 0.5)
    monkeypatch.setattr(event_stream, "PICTURE_EVERY", 0.0)
    monkeypatch.setattr(event_stream, "EDITION_EVERY", 0.05)
    director, app = large_site()
    publishing = asyncio.create_task(director.events.run())
    with structlog.testing.capture_logs() as logs:
        async with served(app, director.events) as (uvicorn_server, address):
            with socket.socket() as reader:
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                reader.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(reader, address)
                request = f"GET /admin/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
                await loop.sock_sendall(reader, request.encode())
                await until(lambda: any(entry["event"] == "event_reader_cut" for entry in logs))
                await until(lambda: not director.events.readers and not uvicorn_server.server_state.connections)
    publishing.cancel()


async def test_a_reader_over_a_socket_is_told_and_may_leave() -> None:
    director, app = large_site()
    publishing = asyncio.create_task(director.events.run())
    async with served(app, director.events) as (_, (host, port)), httpx.AsyncClient(trust_env=False) as http:
        async with (
            asyncio.timeout(30),
            http.stream("GET", f"http://{host}:{port}/admin/events", headers=OPERATOR) as response,
        ):
            lines = response.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            async for line in lines:
                if line.startswith("data: "):
                    assert len(json.loads(line[6:])["rooms"]) == 5_000
                    break
        await until(lambda: not director.events.readers)
    publishing.cancel()
    with suppress(asyncio.CancelledError):
        await publishing


async def test_a_director_that_stops_ends_its_streams_in_good_order() -> None:
    director, app = large_site()
    publishing = asyncio.create_task(director.events.run())
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        served(app, director.events) as (uvicorn_server, (host, port)),
        http.stream("GET", f"http://{host}:{port}/admin/events", headers=OPERATOR) as response,
    ):
        pieces = response.aiter_bytes()
        await anext(pieces)
        uvicorn_server.stop()
        async with asyncio.timeout(30):
            rest = b"".join([piece async for piece in pieces])
    assert rest.endswith(b"\n\n"), "the answer has an end, and no event is torn"
    publishing.cancel()
