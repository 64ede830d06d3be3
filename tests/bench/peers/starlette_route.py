"""Peer: what `/route` answers, from a dict, with Starlette and PyJWT as their documentations show them.

python starlette_route.py PORT
"""

import sys
import time

import jwt
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

KEY = "k" * 32


async def healthz(request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


async def route(request: Request) -> JSONResponse:
    room, user = request.query_params["room"], request.query_params["user"]
    claims = {"room": room, "user": user, "name": user, "role": "student", "node": "node-1", "epoch": 7}
    ticket = jwt.encode({**claims, "exp": int(time.time()) + 60}, KEY, algorithm="HS256")
    return JSONResponse(
        {
            "ok": True,
            "room": room,
            "node": "node-1",
            "url": "http://127.0.0.1:9001",
            "path": "/socket.io/",
            "epoch": 7,
            "ticket": ticket,
            "ticket_expires_in_ms": 60000,
            "connect_after_ms": 0,
        }
    )


if __name__ == "__main__":
    app = Starlette(routes=[Route("/healthz", healthz), Route("/route", route)])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
