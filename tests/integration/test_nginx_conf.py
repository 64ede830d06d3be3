"""deploy/nginx.conf in a real nginx, before a stand-in for the director and the nodes that says what it was asked."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from director.admin_desk import MAX_BODY
from director.held_port import HeldPort
from tests.support.nginx import CONF, FOR_THIS_MACHINE, Nginx, nginx

LIMITED = {"# limit_req zone=hall_route burst=1000": "limit_req zone=hall_route burst=2", "rate=50r/s": "rate=1r/m"}
WITHIN = 15.0
FLOOD = 64 * 1024 * 1024
STUCK_AFTER = 1.0


@dataclass(slots=True)
class StandIn:
    """Answers every request with its name, its path and headers; some with a stream, for as long as the test likes."""

    name: str
    port: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    flooded: int = 0

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/admin/events", self._stream),
                Route("/admin/flood", self._flood),
                Route("/n/node-1/socket.io/flood", self._flood),
                Route("/n/node-1/socket.io/", self._stream, methods=["GET"]),
                Route("/{path:path}", self._echo, methods=["GET", "POST"]),
            ]
        )

    async def _echo(self, request: Request) -> Response:
        headers = [list(header) for header in request.headers.items()]
        length = len(await request.body())
        asked = {"url": str(request.url), "path": request.url.path, "headers": headers, "length": length}
        return JSONResponse({"by": self.name, **asked})

    async def _stream(self, request: Request) -> Response:
        async def parts() -> AsyncIterator[str]:
            yield "event: fleet\ndata: 1\n\n"
            await self.go_on.wait()
            yield "event: fleet\ndata: 2\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    async def _flood(self, request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            while self.flooded < FLOOD:
                yield bytes(64 * 1024)
                self.flooded += 64 * 1024

        return StreamingResponse(parts(), media_type="text/event-stream")


@asynccontextmanager
async def stand_in(name: str) -> AsyncIterator[StandIn]:
    this = StandIn(name)
    listener = socket.create_server(("127.0.0.1", 0))
    this.port = listener.getsockname()[1]
    config = uvicorn.Config(this.app, log_level="error", lifespan="off", proxy_headers=False, ws="none")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield this
    finally:
        this.go_on.set()
        server.should_exit = True
        await serving


@dataclass(frozen=True, slots=True)
class Before:
    """A proxy before stand-ins for a director and the nodes 1 and 2, and a client of it."""

    proxy: Nginx
    director: StandIn
    node: StandIn
    http: httpx.AsyncClient

    async def said(self, path: str) -> str:
        """The answer to a GET whose path nobody has tidied up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.proxy.url.rpartition(":")[2]))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(WITHIN):
            answer = await reader.read()
        writer.close()
        return answer.decode()

    async def logged(self, path: str) -> str:
        """The log, once the request is in it: that is when it has been answered."""
        async with asyncio.timeout(WITHIN):
            while f'"GET {path}" ' not in (log := (self.proxy.folder / "hall.access.log").read_text()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # nobody tells
        return log


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@asynccontextmanager
async def before(stack: ExitStack, folder: Path, changes: Mapping[str, str] | None = None) -> AsyncIterator[Before]:
    async with stand_in("director") as director, stand_in("node") as node:
        held, nodes = stack.enter_context(HeldPort()), [node.port, node.port]
        proxy = stack.enter_context(nginx(held, folder, director=director.port, nodes=nodes, changes=changes))
        async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=WITHIN) as http:
            yield Before(proxy, director, node, http)


async def test_nobody_forges_an_address(stack: ExitStack, tmp_path: Path) -> None:
    forged = {
        "X-Forwarded-For": "10.1.1.1",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "gopher",
        "X-Real-IP": "10.1.1.1",
        "Forwarded": "for=10.1.1.1",
        "Upgrade": "h2c",
        "Connection": "Upgrade",
    }
    async with before(stack, tmp_path) as at:
        for path in ("/", "/route?room=r", "/n/node-1/rooms/r/messages"):
            told = (await at.http.get(path, headers=forged)).json()
            seen: dict[str, Any] = {}
            for name, value in told["headers"]:
                assert name not in seen, "each header once"
                seen[name] = value
            assert seen["x-forwarded-for"] == "127.0.0.1"
            assert seen["x-forwarded-proto"] == "http"
            assert seen["host"] == at.proxy.url.removeprefix("http://")
            assert not {"x-forwarded-host", "x-real-ip", "forwarded", "upgrade"} & set(seen), seen


async def test_a_path_reaches_its_node_as_it_was_asked(stack: ExitStack, tmp_path: Path) -> None:
    async with before(stack, tmp_path) as at:
        for path in ("/n/node-2/socket.io/x?EIO=4&sid=a", "/n/node-2/rooms/a.b:c~d/messages?after=1", "/rooms/r"):
            told = (await at.http.get(path)).json()
            assert (told["url"], told["by"]) == (at.proxy.url + path, "node" if "/n/" in path else "director")
        posted = await at.http.post("/n/node-2/socket.io/?EIO=4", content=b"x" * 65_000)
        assert posted.json()["length"] == 65_000
        # a node that is not there, or has no line: nobody is reached
        assert (await at.http.get("/n/node-3/socket.io/")).status_code == 502
        assert (await at.http.get("/n/node-99/socket.io/")).status_code == 502


async def test_what_is_not_public_is_not_reached_by_any_spelling(stack: ExitStack, tmp_path: Path) -> None:
    """The stand-in would answer all of them with 200."""
    closed = (
        "/admin/nodes",
        "/%61dmin/nodes",
        "//admin/nodes",
        "/web/../admin/nodes",
        "/web/..%2fadmin/nodes",
        "/./admin/events",
        "/operations",
        "/metrics",
        "/%6detrics",
        "//metrics",
    )
    async with before(stack, tmp_path) as at:
        assert {path: (await at.said(path)).split()[1] for path in closed} == dict.fromkeys(closed, "403")
        # an address is no node's name, and of a node nothing but rooms is passed on: the director is asked
        for path in (
            f"/n/127.0.0.1:{at.node.port}/socket.io/",
            "/n/node-1/metrics",
            "/n/node-1/socket.io/../metrics",
            "/n/node-1/socket.io/..%2f..%2fmetrics",
        ):
            assert '"by":"director"' in await at.said(path)


async def test_a_network_that_is_named_reaches_the_operators_side(stack: ExitStack, tmp_path: Path) -> None:
    async with before(stack, tmp_path, FOR_THIS_MACHINE) as at:
        for path in ("/admin/nodes", "/operations", "/metrics"):
            assert (await at.http.get(path)).json()["path"] == path


async def test_a_plan_as_large_as_the_director_takes_reaches_it(stack: ExitStack, tmp_path: Path) -> None:
    async with before(stack, tmp_path, FOR_THIS_MACHINE) as at:
        whole = b"x" * MAX_BODY
        assert (await at.http.post("/admin/rebalance", content=whole)).json()["length"] == MAX_BODY
        assert (await at.http.post("/admin/rebalance", content=whole + b"x")).status_code == 413
        assert (await at.http.post("/route", content=whole)).status_code == 413


def test_as_it_stands_only_this_machine_reaches_it() -> None:
    listens = re.findall(r"^ *listen ([^ ;]+)", CONF.read_text(), flags=re.MULTILINE)
    assert listens == ["127.0.0.1:8080"]


@pytest.mark.parametrize("path", ["/admin/events", "/n/node-1/socket.io/"])
async def test_a_stream_is_passed_on_as_it_comes(stack: ExitStack, tmp_path: Path, path: str) -> None:
    async with (
        before(stack, tmp_path, FOR_THIS_MACHINE) as at,
        asyncio.timeout(WITHIN),
        at.http.stream("GET", path) as answer,
    ):
        parts = answer.aiter_text()
        assert await anext(parts) == "event: fleet\ndata: 1\n\n"
        at.director.go_on.set()
        at.node.go_on.set()
        assert await anext(parts) == "event: fleet\ndata: 2\n\n"


@pytest.mark.parametrize("path", ["/admin/flood", "/n/node-1/socket.io/flood"])
async def test_a_reader_that_does_not_read_is_not_served_by_the_proxy_s_disk(
    stack: ExitStack, tmp_path: Path, path: str
) -> None:
    """It is for director and node to see who is slow, and to do something about it."""
    async with before(stack, tmp_path, FOR_THIS_MACHINE) as at, at.http.stream("GET", path):
        told = (at.director, at.node)
        while (before_it := sum(it.flooded for it in told)) < FLOOD:
            await asyncio.sleep(STUCK_AFTER)  # nothing tells that nothing happens
            if 0 < before_it == sum(it.flooded for it in told):
                break
        assert 0 < sum(it.flooded for it in told) < FLOOD


async def test_who_asks_too_often_is_told_so_in_the_error_shape(stack: ExitStack, tmp_path: Path) -> None:
    async with before(stack, tmp_path, LIMITED) as at:
        answers = [await at.http.get("/route?room=r") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        error = answers[-1].json()["error"]
        assert (error["code"], error["action"], error["retry_after_ms"]) == ("RATE_LIMITED", "retry", 2000)
        assert answers[-1].headers["Retry-After"] == "2"
        assert (await at.http.get("/rooms/r")).status_code == 200


async def test_without_a_director_there_is_an_answer_in_the_error_shape(stack: ExitStack, tmp_path: Path) -> None:
    held = stack.enter_context(HeldPort())
    proxy = stack.enter_context(nginx(held, tmp_path, director=1, nodes=[]))
    async with httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=WITHIN) as http:
        answer = await http.get("/route?room=r")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "BUSY")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/json"


async def test_the_log_holds_no_query(stack: ExitStack, tmp_path: Path) -> None:
    """A session's id or, in demo mode, who somebody is."""
    async with before(stack, tmp_path) as at:
        await at.http.get("/n/node-1/rooms/r/messages?sid=secret")
        await at.http.get("/route?room=r&user=ann")
        await at.logged("/n/node-1/rooms/r/messages")
        log = await at.logged("/route")
    assert "secret" not in log
    assert "ann" not in log
