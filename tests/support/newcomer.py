"""Newcomers: people who come to a fleet for the first time, while something in it is broken."""

import asyncio
from contextlib import AsyncExitStack

import httpx

from director.contract.ids import RoomId, UserId
from loadtest.client import HallClient
from loadtest.core.way_back import SentAway, Unrouted, why_of
from loadtest.routing import FrontDesk
from loadtest.wire_connection import WireConnection

# What is asserted is that it comes, and what comes meanwhile; how soon is measured elsewhere.
IN_WITHIN = 60.0


async def new_rooms_open(director_url: str, name: str) -> None:
    """Six rooms that nobody knew are joined, wherever the ring puts them."""
    async with AsyncExitStack() as stack:
        clients = [HallClient(director_url, f"{name}-new-{number}", user="new") for number in range(6)]
        for client in clients:
            await stack.enter_async_context(client)
        await asyncio.gather(*(client.live(IN_WITHIN) for client in clients))


async def refusal_of(director_url: str, room: str) -> str:
    """What somebody is told who asks for a room and tries to join it, once: a code, or how nobody was reached; "" if it
    was joined."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        desk = FrontDesk(director_url, http, user=UserId("late"), name="Late", role="student", token=None)
        route = await desk.route(RoomId(room), failed=None)
    if isinstance(route, Unrouted):
        return "no director answers" if route.error is None else str(route.error.code)
    line = WireConnection(
        route.node, on_joined=lambda joined: None, on_frame=lambda frame, is_gap: None, on_moved=lambda moved: None
    )
    await line.join(route, since=None, tail=0, transports=())
    try:
        ended = line.ended.result() if line.ended.done() else None
        return "" if ended is None else str(ended.error.code) if isinstance(ended, SentAway) else why_of(ended)
    finally:
        await line.close()
