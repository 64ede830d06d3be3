"""One connection of a stock python-socketio client to a node, from CONNECT to its end.

Handlers are plain functions: python-socketio starts a task for each event, and tasks that never await run in the order
in which they were started, so what arrived first is handled first.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import engineio.base_client
import msgspec
import socketio
import socketio.exceptions

from director.contract.errors import ErrorDetail
from director.contract.ids import NodeName
from loadtest.contract.received import Bye, Frame, Joined, Moved, Route, refusal_of
from loadtest.core.way_back import Ended, Lost, SentAway
from loadtest.stay import Transport
from shard_node.contract.events import MAX_IN_FLIGHT, PROTOCOL_VERSION, Position

MAX_JOIN_WAIT = 15.0
MAX_ACK_WAIT = 10.0
MAX_CLOSE_WAIT = 2.0

_quiet = logging.getLogger("loadtest.socketio")
_quiet.setLevel(logging.CRITICAL)


class NoAnswer(Exception):
    """The connection ended, or 10 s went by, before the ack: what became of the call is unknown."""


class Connection:
    """Joins once and lives once. `ended` gets the reason as soon as it is of no more use; call `close` then."""

    def __init__(
        self,
        node: NodeName,
        *,
        on_joined: Callable[[Joined], None],
        on_frame: Callable[[Frame, bool], None],
        on_moved: Callable[[Moved], None],
    ) -> None:
        self.node = node
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._settled = asyncio.Event()
        self._on_joined, self._on_frame, self._on_moved = on_joined, on_frame, on_moved
        self._waiting: set[asyncio.Future[Any]] = set()
        self._http: aiohttp.ClientSession | None = None
        self._sio: socketio.AsyncClient | None = None
        self._was_cut = False
        self._in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)

    async def join(self, route: Route, *, since: Position | None, tail: int, transports: Sequence[Transport]) -> None:
        """Connect and wait for `joined`, at most 15 s. How it failed, if it did, stands in `ended`."""
        # One session for one connection: closing it closes whatever a half-made connection left open.
        http = self._http = aiohttp.ClientSession()
        # aiohttp repeats a GET whose connection broke, unseen: the packets of a poll that was answered would be lost.
        http._retry_connection = False

        def session() -> aiohttp.ClientSession:
            # python-engineio makes another one, which nobody closes, when it finds its session closed
            if http.closed:
                raise aiohttp.ClientConnectionError("this connection was closed")
            return http

        sio = self._sio = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,
            logger=_quiet,
            engineio_logger=_quiet,
            http_session=session,  # type: ignore[arg-type]  # the stubs know the sync client only
        )
        sio.on("joined", self._take_joined)
        sio.on("frame", lambda body: self._take_frame(body, is_gap=False))
        sio.on("gap", lambda body: self._take_frame(body, is_gap=True))
        sio.on("moved", lambda body: self._on_moved(msgspec.convert(body, Moved)))
        sio.on("bye", self._take_bye)
        sio.on("connect_error", self._take_refusal)
        sio.on("disconnect", lambda *why: self.end(Lost(self.node, str(why[0]) if why else "disconnect")))
        auth = {"v": PROTOCOL_VERSION, "ticket": route.ticket, "since": msgspec.to_builtins(since), "tail": tail}
        try:
            async with asyncio.timeout(MAX_JOIN_WAIT):
                await sio.connect(
                    route.url,
                    socketio_path=route.path,
                    auth=auth,
                    transports=list(transports),
                    wait_timeout=int(MAX_JOIN_WAIT),
                )
                # A transport that breaks before connect() returns fires no "disconnect" event.
                if sio.eio.state != "connected":
                    self.end(Lost(self.node, "broken at the join"))
                await self._settled.wait()
        except TimeoutError:
            self.end(Lost(self.node, "no joined in time"))
        except (socketio.exceptions.ConnectionError, aiohttp.ClientError, OSError, ValueError):
            self.end(Lost(self.node, "not reached"))

    async def call(self, event: str, body: dict[str, Any]) -> Any:
        """Emit `event` and return its ack; at most 8 wait for theirs at a time. Raises NoAnswer."""
        if self.ended.done() or self._sio is None:
            raise NoAnswer
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.add(answer)

        def acked(*args: Any) -> None:
            if not answer.done():
                answer.set_result(args[0] if args else None)

        try:
            async with self._in_flight, asyncio.timeout(MAX_ACK_WAIT):
                await self._sio.emit(event, body, callback=acked)
                return await answer
        except (TimeoutError, socketio.exceptions.SocketIOError):
            raise NoAnswer from None
        finally:
            self._waiting.discard(answer)

    def end(self, why: Ended) -> None:
        """Say that this connection is of no more use; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(why)
            self._settled.set()
            for answer in self._waiting:
                if not answer.done():
                    answer.set_exception(NoAnswer())

    def cut(self) -> None:
        """Break the transport without a word, as a lost network does."""
        self._was_cut = True
        socket_of = getattr(self._sio and self._sio.eio.ws, "get_extra_info", None)
        line = socket_of("socket") if socket_of else None
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self.end(Lost(self.node, "cut"))

    async def close(self) -> None:
        """Disconnect, and free everything within a few seconds even if the node is silent."""
        self.end(Lost(self.node, "left"))
        sio, http = self._sio, self._http
        if sio is None or http is None:
            return
        left: list[asyncio.Task[Any]] = [] if self._was_cut else [asyncio.ensure_future(sio.disconnect())]
        try:
            if left:
                await asyncio.wait(left, timeout=MAX_CLOSE_WAIT)
        finally:
            await http.close()
        left += [task for task in (sio.eio.read_loop_task, sio.eio.write_loop_task) if task is not None]
        if left:
            _, stuck = await asyncio.wait(left, timeout=MAX_CLOSE_WAIT)
            for task in stuck:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        with contextlib.suppress(ValueError):  # where a loop did not end by itself
            engineio.base_client.connected_clients.remove(sio.eio)

    def _take_joined(self, body: object) -> None:
        if not self.ended.done():
            self._on_joined(msgspec.convert(body, Joined))
            self._settled.set()

    def _take_frame(self, body: object, *, is_gap: bool) -> None:
        if not self.ended.done():
            self._on_frame(msgspec.convert(body, Frame), is_gap)

    def _take_bye(self, body: object) -> None:
        bye = msgspec.convert(body, Bye)
        self.end(SentAway(ErrorDetail(bye.code, bye.message, bye.action, True, bye.retry_after_ms)))

    def _take_refusal(self, *args: object) -> None:
        packet = args[0] if args else None
        error = refusal_of(packet.get("data")) if isinstance(packet, dict) else None
        # Without an error of ours the node was not reached (protocol, section 3).
        self.end(Lost(self.node, "not reached") if error is None else SentAway(error))
