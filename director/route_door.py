"""The door for `GET /route`: it is answered from the connection itself, without ASGI; all else makes way to uvicorn.

Every member of every room comes through here, after a node's death thousands within a quarter of a second: uvicorn's
own way makes a task, a scope and two messages for each, three times the work of the answer. What is reached into:
uvicorn's `server_state`, its configuration and its status lines (tests/integration/test_internals.py).
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any

import httptools
import structlog
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from director.answers import fault
from director.origin_gate import allowing
from director.route_answers import RouteAnswers

MAX_REQUEST = 64 * 1024
_PATH = b"/route"
# a body, which may have trailers, or the wish to be told before it is sent
_MORE_TO_COME = frozenset({b"content-length", b"transfer-encoding", b"expect"})

log = structlog.get_logger(__name__)


class RouteDoor(asyncio.Protocol):
    """One connection, as long as all that it asks for is `GET /route`, one request at a time. Give uvicorn a class of
    `route_door`; `make_stock` makes uvicorn's own protocol."""

    answers: RouteAnswers
    origins: Mapping[bytes, list[tuple[bytes, bytes]]]
    make_stock: Callable[..., Any]

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        self._make = partial(type(self).make_stock, config, server_state, app_state, _loop)
        self._state = server_state
        self._keep_alive_for: float = config.timeout_keep_alive
        self._parser: Any = httptools.HttpRequestParser(self)
        self._received = b""
        self._idle: asyncio.TimerHandle | None = None
        self._is_waiting = False
        self._closes = self._is_last = False
        self._begin()

    def _begin(self) -> None:
        """Await the next request."""
        self._begun = 0
        self._is_read = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._retire()

    def data_received(self, data: bytes) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._received += data
        if self._is_waiting:
            if len(self._received) > MAX_REQUEST:
                self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            self._make_way()  # uvicorn says what is wrong with it
            return
        if self._is_read and self._begun == 1 and self._is_for_us():
            self._answer()
        elif self._is_read or len(self._received) > MAX_REQUEST:
            self._make_way()

    def pause_writing(self) -> None:
        self._transport.abort()  # it has asked for hundreds of answers and reads none

    def shutdown(self) -> None:
        """uvicorn ends."""
        self._closes = True
        if not self._is_waiting:
            self._transport.close()

    # httptools' side

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        self._is_read = True
        # The parser knows it until the request is whole. As uvicorn, nothing is kept alive for HTTP/1.0.
        self._is_last = self._parser.get_http_version() == "1.0" or not self._parser.should_keep_alive()

    # answers

    def _is_for_us(self) -> bool:
        origin = self._headers.get(b"origin")
        return (
            self._target.partition(b"?")[0] == _PATH
            and b"#" not in self._target
            and self._parser.get_method() == b"GET"
            and (origin is None or origin in self.origins)
            and _MORE_TO_COME.isdisjoint(self._headers)
        )

    def _answer(self) -> None:
        query = self._target[len(_PATH) + 1 :]
        authorization = self._headers.get(b"authorization")
        self._received = b""
        self._closes = self._closes or self._is_last
        try:
            answer = self.answers.to(query, None if authorization is None else authorization.decode("latin-1"))
        except Exception:
            log.exception("route_failed")
            answer = fault()
        if isinstance(answer, Response):
            self._write(answer)
        else:
            self._is_waiting = True
            task = asyncio.get_running_loop().create_task(self._write_later(answer))
            self._state.tasks.add(task)
            task.add_done_callback(self._state.tasks.discard)

    async def _write_later(self, answer: Coroutine[Any, Any, Response]) -> None:
        try:
            response = await answer
        except asyncio.CancelledError:
            self._transport.close()  # uvicorn has waited for it long enough
            raise
        except Exception:
            log.exception("route_failed")
            response = fault()
        self._is_waiting = False
        self._write(response)
        if self._received and not self._transport.is_closing():
            # asked meanwhile
            received, self._received = self._received, b""
            self.data_received(received)

    def _write(self, response: Response) -> None:
        if self._transport.is_closing():
            return
        lines = [STATUS_LINE[response.status_code]]
        headers = [*self._state.default_headers, *response.raw_headers]
        if (origin := self._headers.get(b"origin")) is not None:
            headers += self.origins[origin]
        if self._closes:
            headers.append((b"connection", b"close"))
        lines += [b"%b: %b\r\n" % header for header in headers]
        self._transport.write(b"".join((*lines, b"\r\n", response.body)))
        self._state.total_requests += 1
        self._begin()
        if self._closes:
            self._transport.close()
        else:
            # not `close`, which waits for as long as the client does not read what it was told
            self._idle = asyncio.get_running_loop().call_later(self._keep_alive_for, self._transport.abort)

    def _make_way(self) -> None:
        self._retire()
        stock = self._make()
        stock.connection_made(self._transport)
        self._transport.set_protocol(stock)
        stock.data_received(self._received)

    def _retire(self) -> None:
        self._state.connections.discard(self)
        self._parser = None  # it holds the door: a circle that would wait for the collector
        if self._idle is not None:
            self._idle.cancel()


def route_door(answers: RouteAnswers, *, origins: Collection[str], make_stock: Callable[..., Any]) -> type[RouteDoor]:
    """The class for uvicorn's `http=`."""
    allowed = {origin.encode(): allowing(origin) for origin in origins}
    return type("DoorToRoute", (RouteDoor,), {"answers": answers, "origins": allowed, "make_stock": make_stock})
