"""A site with nothing but `/route`, a connection's door in front of it: over real sockets, and over none."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from director.answers import answer_errors, json_answer
from director.http_server import CuttableHttp, HttpServer
from director.origin_gate import OriginGate
from director.route_answers import RouteAnswers
from director.route_door import route_door
from director.routes import RouteEndpoint

WITHIN = 20.0
ORIGIN, FOREIGN = "https://lms.example", "https://elsewhere.example"
DATE = (b"date", b"some day")


def asking(target: str = "/route?room=a", *headers: str, first: str = "GET {} HTTP/1.1") -> str:
    return "\r\n".join([first.format(target), "Host: x", *headers, "", ""])


ROUTE = asking()


class ToldAnswers(RouteAnswers):
    """Answers that repeat what was asked. A room `late` is answered when `is_decided`; `broken` ones are not."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str | None]] = []
        self.has_asked = asyncio.Event()
        self.is_decided = asyncio.Event()
        self.is_large = False

    def to(self, query: bytes, authorization: str | None) -> Response | Coroutine[Any, Any, Response]:
        self.asked.append((query, authorization))
        self.has_asked.set()
        if query.startswith(b"room=late"):
            return self._repeat_later(query, authorization)
        return self._repeat(query, authorization)

    async def _repeat_later(self, query: bytes, authorization: str | None) -> Response:
        await self.is_decided.wait()
        return self._repeat(query, authorization)

    def _repeat(self, query: bytes, authorization: str | None) -> Response:
        if query.endswith(b"broken"):
            raise RuntimeError("broken")
        padding = "x" * 20_000 if self.is_large else ""
        return json_answer({"query": query.decode("latin-1"), "authorization": authorization, "padding": padding})


@dataclass(slots=True)
class Site:
    """A running server; `paths` are those of the requests that went the way of ASGI."""

    server: HttpServer
    answers: ToldAnswers
    paths: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    @property
    def open(self) -> set[Any]:
        return self.server.server_state.connections

    async def until_open(self, number: int) -> None:
        await until(lambda: len(self.open) == number)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not is_so():  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.001)


def app_with(answers: RouteAnswers, paths: list[str]) -> ASGIApp:
    async def echo(request: Request) -> Response:
        return Response(await request.body())

    app = Starlette(
        routes=[Route("/route", RouteEndpoint(answers), methods=["GET"]), Route("/echo", echo, methods=["POST"])],
        middleware=[Middleware(OriginGate, origins=[ORIGIN])],
    )
    app.router.redirect_slashes = False
    answer_errors(app)

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await app(scope, receive, send)

    return noting


@asynccontextmanager
async def serving(app: ASGIApp, http: type[asyncio.Protocol], **settings: Any) -> AsyncIterator[HttpServer]:
    async def nothing_to_end() -> None:
        pass

    given = {"timeout_graceful_shutdown": 5, **settings}
    config = uvicorn.Config(
        app, port=0, http=http, ws="none", lifespan="off", log_config=None, server_header=False, **given
    )
    config.load()
    server = HttpServer(config, on_shutdown=nothing_to_end)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    server.server_state.default_headers = [DATE]
    try:
        yield server
    finally:
        async with asyncio.timeout(WITHIN):
            await server.shutdown()


@asynccontextmanager
async def site_of(*, has_door: bool = True, **settings: Any) -> AsyncIterator[Site]:
    answers, paths = ToldAnswers(), list[str]()
    door = route_door(answers, origins=[ORIGIN], make_stock=CuttableHttp)
    async with serving(app_with(answers, paths), door if has_door else CuttableHttp, **settings) as server:
        yield Site(server, answers, paths)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came; headers in order of the alphabet."""

    status: bytes
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.headers]

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    @property
    def is_last(self) -> bool:
        return self.header("connection") == "close"


@dataclass(slots=True)
class Wire:
    """A client's end of a TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, data: str | bytes) -> None:
        self.writer.write(data.encode("latin-1") if isinstance(data, str) else data)

    async def answer(self, *, to_head: bool = False) -> Answer:
        async with asyncio.timeout(WITHIN):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = head.rstrip().split(b"\r\n")
            pairs = [line.decode("latin-1").split(": ", 1) for line in lines]
            headers = tuple(sorted((name, value) for name, value in pairs))
            length = int(dict(headers).get("content-length", 0))
            return Answer(status, headers, b"" if to_head else await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """All until the end of the connection, however it ends."""
        async with asyncio.timeout(WITHIN):
            got = b""
            try:
                while more := await self.reader.read(65_536):
                    got += more
            except ConnectionError:
                pass
            return got


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


# in memory, where what is received in which piece is certain


class Transport(asyncio.Transport):
    """A transport whose peer takes everything."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol: asyncio.Protocol = protocol
        self.sent = b""
        self.ended: str | None = None

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.ended is not None

    def _end(self, how: str) -> None:
        if self.ended is None:
            self.ended = how
            asyncio.get_running_loop().call_soon(lambda: self.protocol.connection_lost(None))

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Line:
    """A connection to a door in memory."""

    def __init__(self, answers: ToldAnswers) -> None:
        self.paths: list[str] = []
        config = uvicorn.Config(app_with(answers, self.paths), http=CuttableHttp, lifespan="off", log_config=None)
        config.load()
        self.state = ServerState()
        door = route_door(answers, origins=[ORIGIN], make_stock=CuttableHttp)(config, self.state, {})
        self.transport = Transport(door)
        door.connection_made(self.transport)

    @property
    def sent(self) -> bytes:
        return self.transport.sent

    def receive(self, data: str) -> None:
        self.transport.protocol.data_received(data.encode("latin-1"))

    async def until_idle(self) -> None:
        async with asyncio.timeout(WITHIN):
            while self.state.tasks:
                await asyncio.wait(self.state.tasks)
