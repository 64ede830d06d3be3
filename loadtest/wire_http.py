"""WireHttp: a crowd's GETs over few connections that are kept, at a fraction of what an HTTP client library costs."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

from loadtest.routing import MAX_ROUTE_WAIT

_MAX_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class WireAnswer:
    """What came back, whole."""

    status_code: int
    content: bytes


class WireHttp:
    """Plain HTTP/1.1. Each connection has one question at a time; who finds none free waits in turn. `on_answer` hears
    of every answer. Use it as an async context manager."""

    def __init__(self, *, on_answer: Callable[[WireAnswer], None] = lambda answer: None) -> None:
        self._on_answer = on_answer
        self._free: deque[_Line] = deque()
        self._lines: set[_Line] = set()
        self._gate = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def __aenter__(self) -> "WireHttp":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Break all connections; a question after this makes new ones."""
        for line in list(self._lines):
            line.abort()

    async def get(self, url: str, *, headers: dict[str, str]) -> WireAnswer:
        """The answer. Raises OSError (a TimeoutError after 10 s) without one; a kept connection that has ended
        meanwhile is not held against the server."""
        parts = urlsplit(url)
        place = (parts.hostname or "", parts.port or 80)
        lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", f"Host: {place[0]}:{place[1]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        question = "\r\n".join([*lines, "", ""]).encode()
        async with self._gate, asyncio.timeout(MAX_ROUTE_WAIT):
            while True:
                line = self._free.popleft() if self._free else None
                is_fresh = line is None
                if line is None or not line.stands:
                    line = await self._connected(place)
                    is_fresh = True
                try:
                    answer = await line.ask(question)
                except ConnectionError:
                    if is_fresh:
                        raise
                    continue
                except asyncio.CancelledError:
                    line.abort()
                    raise
                if line.stands:
                    self._free.append(line)
                self._on_answer(answer)
                return answer

    async def _connected(self, place: tuple[str, int]) -> "_Line":
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: _Line(self._lines), *place)
        return line


class _Line(asyncio.Protocol):
    """One connection, and the question on it."""

    def __init__(self, lines: "set[_Line]") -> None:
        self._lines = lines
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[WireAnswer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""

    @property
    def stands(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, question: bytes) -> WireAnswer:
        """Raises ConnectionError."""
        if self._transport is None:
            raise ConnectionResetError
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(question)
        return await self._answer

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._lines.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._lines.discard(self)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(WireAnswer(self._parser.get_status_code(), self._body))
