"""Peer: python-socketio as its documentation shows it, in one process over WebSocket alone, without compression.

python python_socketio.py PORT
"""

import sys
from typing import Any

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


@server.on("join")
async def join(sid: str, request: dict[str, Any]) -> None:
    await server.save_session(sid, {"room": request["room"]})
    await server.enter_room(sid, request["room"])
    await server.emit("joined", {}, to=sid)


@server.on("message")
async def message(sid: str, body: dict[str, Any]) -> None:
    session = await server.get_session(sid)
    await server.emit("message", body, room=session["room"])


if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(server),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        ws_per_message_deflate=False,
    )
