"""StubHall: a hall of one process and one room that speaks the protocol, and breaks it on demand, for tests of clients.

It shares no code with the product's node: what clients are tested against is the protocol's page.
"""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator
from typing import Any

import socketio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


class StubHall:
    """Entries stand in `log`; `refuse_routes` and `refuse_joins` are codes to refuse the next ones with."""

    def __init__(self) -> None:
        self.url = ""
        self.epoch = 1
        self.log: list[dict[str, Any]] = []
        self.routes: list[dict[str, str]] = []
        self.joins: list[dict[str, Any]] = []
        self.refuse_routes: list[dict[str, Any]] = []
        self.refuse_joins: list[dict[str, Any]] = []
        self.refuse_sends: list[dict[str, Any]] = []
        self.acks_to_swallow = 0
        self.frames_to_swallow = 0
        self.is_mute = False
        self.window_ms = 0
        self.members: dict[str, str] = {}
        self.happened = asyncio.Condition()
        # Rooms and queues are its own affair; polling, upgrades and pings are python-socketio's.
        self.sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
        self.sio.on("connect", self._connect)
        self.sio.on("disconnect", self._disconnect)
        for event in ("send", "delete", "notice", "mode"):
            self.sio.on(event, functools.partial(self._change, event))
        self.sio.on("history", self._history)

    def error(self, code: str, action: str, retry_after_ms: int = 0) -> dict[str, Any]:
        detail = {"code": code, "message": "as told", "action": action, "temporary": action in ("retry", "reroute")}
        return {"ok": False, "error": {**detail, "retry_after_ms": retry_after_ms}}

    async def until(self, holds: Any) -> None:
        """Wait until `holds()`; asked whenever something happened."""
        async with asyncio.timeout(20), self.happened:
            await self.happened.wait_for(holds)

    async def show(self, entry: dict[str, Any], *, event: str = "frame", start: int | None = None) -> None:
        body = {
            "log": "stub",
            "epoch": self.epoch,
            "from": start or entry["seq"],
            "to": entry["seq"],
            "entries": [entry],
        }
        await self.sio.emit(event, body)

    async def add(self, text: str, *, shown: bool = True, cid: str = "", by: str = "ada") -> dict[str, Any]:
        """Put an entry into the log and, unless told otherwise, show it."""
        number = len(self.log) + 1
        author = {"id": by, "name": by, "role": "student"}
        entry = {"seq": number, "at": number, "kind": "message", "cid": cid or f"c{number}", "by": author, "text": text}
        self.log.append(entry)
        if shown:
            await self.show(entry)
        return entry

    async def say_bye(self, code: str, action: str, retry_after_ms: int = 0) -> None:
        await self.sio.emit("bye", {"code": code, "action": action, "retry_after_ms": retry_after_ms})

    async def _route(self, request: Request) -> JSONResponse:
        self.routes.append(dict(request.query_params))
        await self._tell()
        if self.refuse_routes:
            return JSONResponse(self.refuse_routes.pop(0), status_code=503)
        room = request.query_params["room"]
        answer = {
            "ok": True,
            "room": room,
            "node": "stub-1",
            "url": self.url,
            "path": "/socket.io/",
            "epoch": self.epoch,
        }
        ticket = {"ticket": request.query_params["user"], "ticket_expires_in_ms": 60_000, "connect_after_ms": 0}
        return JSONResponse({**answer, **ticket})

    async def _connect(self, sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
        self.joins.append(auth)
        await self._tell()
        if self.refuse_joins:
            refusal = self.refuse_joins.pop(0)
            raise socketio.exceptions.ConnectionRefusedError(refusal["error"]["code"], refusal)
        self.members[sid] = auth["ticket"]
        if not self.is_mute:
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self._join(sid, auth)))

    async def _join(self, sid: str, auth: dict[str, Any]) -> None:
        since = auth["since"]
        entries = self.log[since["seq"] :] if since else self.log[-auth["tail"] :]
        pos = {"log": "stub", "epoch": self.epoch, "seq": len(self.log)}
        snapshot = {"mode": "open", "slow_ms": 0, "notice": None, "members": 1}
        you = {"id": auth["ticket"], "name": auth["ticket"], "role": "student"}
        body = {"room": "r", "you": you, "pos": pos, "recovered": since is not None, "reason": None, "entries": entries}
        await self.sio.emit("joined", {**body, "snapshot": snapshot, "reconnect_window_ms": self.window_ms}, to=sid)

    async def _disconnect(self, sid: str, *_: object) -> None:
        self.members.pop(sid, None)
        await self._tell()

    async def _change(self, event: str, sid: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if self.refuse_sends:
            return self.refuse_sends.pop(0)
        known = [entry for entry in self.log if entry["cid"] == body["cid"]]
        entry = known[0] if known else await self.add(body.get("text") or "", shown=False, cid=body["cid"])
        if not known and self.frames_to_swallow:
            self.frames_to_swallow -= 1
        elif not known:
            await self.show(entry)
        if self.acks_to_swallow:
            self.acks_to_swallow -= 1
            await self.cut(sid)
            return None
        return {"ok": True, "seq": entry["seq"], "epoch": self.epoch, "at": entry["at"], "dup": bool(known)}

    async def cut(self, sid: str) -> None:
        """End a connection without a word."""
        await self.sio.eio.disconnect(self.sio.manager.eio_sid_from_sid(sid, "/"))

    async def _history(self, sid: str, body: dict[str, Any]) -> dict[str, Any]:
        page = [entry for entry in self.log if entry["seq"] > body.get("after", 0)][: body["limit"]]
        return {"ok": True, "entries": page, "more": bool(page) and page[-1]["seq"] < len(self.log)}

    async def _tell(self) -> None:
        async with self.happened:
            self.happened.notify_all()

    @property
    def app(self) -> Any:
        return socketio.ASGIApp(self.sio, Starlette(routes=[Route("/route", self._route)]))


@contextlib.asynccontextmanager
async def stub_hall() -> AsyncIterator[StubHall]:
    """A StubHall that listens on a free port of the loopback until the block is left."""
    hall = StubHall()
    listener = socket.create_server(("127.0.0.1", 0))
    hall.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(hall.app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield hall
    finally:
        server.should_exit = True
        await serving
