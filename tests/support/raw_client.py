"""A client that speaks Engine.IO and Socket.IO by hand, to say what stock clients cannot."""

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from director.contract.ids import Epoch, NodeName, Role, RoomId, UserId
from director.contract.ticket import Ticket
from director.ticket_jwt import JwtTicketBook
from tests.support.fleet import Fleet

WITHIN = 15.0


def fresh_room(name: str = "room") -> RoomId:
    """A room that no other test uses."""
    return RoomId(f"{name}-{secrets.token_hex(6)}")


def fresh_cid() -> str:
    """A client's own id for something that it asks for."""
    return secrets.token_hex(12)


@dataclass(frozen=True, slots=True)
class Place:
    """The director's answer."""

    room: RoomId
    node: str
    url: str
    path: str
    epoch: int
    ticket: str


async def route(fleet: Fleet, room: str, *, user: str = "ann", role: str = "student", **query: str) -> Place:
    """Ask the director as a demo identity."""
    async with httpx.AsyncClient() as http:
        params = {"room": room, "user": user, "name": user.title(), "role": role, **query}
        answer = (await http.get(f"{fleet.director_url}/route", params=params, timeout=WITHIN)).json()
    assert answer["ok"], answer
    return Place(RoomId(room), *(answer[key] for key in ("node", "url", "path", "epoch", "ticket")))


def signed_ticket(fleet: Fleet, place: Place, *, key: str | None = None, **changes: Any) -> str:
    """A ticket for the place, signed with the fleet's key (or another), with some fields changed."""
    fields: dict[str, Any] = {
        "room": place.room,
        "user": UserId("ann"),
        "name": "Ann",
        "role": Role.STUDENT,
        "node": NodeName(place.node),
        "epoch": Epoch(place.epoch),
        "expires_at_ms": 2**52,
    }
    book = JwtTicketBook(key or Path(fleet.data / "ticket.key").read_text().strip())
    return book.sign(Ticket(**{**fields, **changes}))


@dataclass(slots=True)
class RawClient:
    """One WebSocket to a node. `packets` holds what came and was not asked for yet, as (name, body)."""

    socket: ClientConnection
    handshake: dict[str, Any]
    packets: list[tuple[str, Any]] = field(default_factory=list)
    ids: Any = field(default_factory=itertools.count)

    async def say(self, text: str | bytes) -> None:
        """Send one Engine.IO packet."""
        await self.socket.send(text)

    async def packet(self) -> tuple[str, Any]:
        """The next Socket.IO packet: ("connect" | "refused" | "closed" | "ack:ID" | event's name, body)."""
        if self.packets:
            return self.packets.pop(0)
        return await self._read()

    async def until(self, name: str) -> Any:
        """The body of the next packet of this name; others wait in `packets`."""
        for place, (known, body) in enumerate(self.packets):
            if known == name:
                del self.packets[place]
                return body
        while True:
            known, body = await self._read()
            if known == name:
                return body
            self.packets.append((known, body))

    async def join(self, auth: object) -> dict[str, Any]:
        """Ask to be connected: the body of `joined`, or of the refusal's data."""
        await self.say("40" + json.dumps(auth))
        name, body = await self.packet()
        if name == "refused":
            return dict(body["data"])
        assert name == "connect", (name, body)
        joined: dict[str, Any] = await self.until("joined")
        return joined

    async def ask(self, event: str, *args: object) -> Any:
        """Emit an event; its ack."""
        return await self.ask_raw(json.dumps([event, *args]))

    async def ask_all(self, event: str, bodies: Sequence[object]) -> list[Any]:
        """Emit the events without waiting in between; their acks in the same order."""
        ids = [next(self.ids) for _ in bodies]
        for ack_id, body in zip(ids, bodies, strict=True):
            await self.say(f"42{ack_id}{json.dumps([event, body])}")
        return [await self.until(f"ack:{ack_id}") for ack_id in ids]

    async def ask_raw(self, data: str, *, kind: str = "2") -> Any:
        """Emit an event whose data is this text; its ack."""
        ack_id = next(self.ids)
        await self.say(f"4{kind}{ack_id}{data}")
        return await self.until(f"ack:{ack_id}")

    async def _read(self) -> tuple[str, Any]:
        async with asyncio.timeout(WITHIN):
            while True:
                text = await self.socket.recv()
                assert isinstance(text, str), "nothing is binary in hall/1"
                if text == "2":
                    await self.say("3")
                elif text.startswith("4"):
                    return _packet_of(text[1:])


def _packet_of(text: str) -> tuple[str, Any]:
    kind, rest = text[0], text[1:]
    match kind:
        case "0":
            return "connect", json.loads(rest)
        case "1":
            return "closed", None
        case "2":
            name, body = json.loads(rest)
            return name, body
        case "3":
            ack_id = rest[: rest.index("[")]
            (body,) = json.loads(rest[len(ack_id) :])
            return f"ack:{ack_id}", body
        case "4":
            return "refused", json.loads(rest)
        case _:
            raise AssertionError(f"no packet of hall/1: {text}")


@asynccontextmanager
async def raw_client(place: Place, **options: Any) -> AsyncIterator[RawClient]:
    """A WebSocket to the place, through its Engine.IO handshake."""
    url = place.url.replace("http", "ws", 1) + place.path + "?EIO=4&transport=websocket"
    async with connect(url, max_size=None, **options) as socket:
        opened = await asyncio.wait_for(socket.recv(), WITHIN)
        assert isinstance(opened, str)
        yield RawClient(socket, json.loads(opened[1:]))


@asynccontextmanager
async def member(
    fleet: Fleet, room: str, *, user: str = "ann", role: str = "student", **auth: Any
) -> AsyncIterator[tuple[RawClient, dict[str, Any]]]:
    """A member of a room and its `joined`."""
    place = await route(fleet, room, user=user, role=role)
    async with raw_client(place) as client:
        joined = await client.join({"v": 1, "ticket": place.ticket, **auth})
        yield client, joined


async def is_closed(client: RawClient) -> bool:
    """Wait for the node to end the connection."""
    try:
        async with asyncio.timeout(WITHIN):
            while True:
                await client.socket.recv()
    except ConnectionClosed:
        return True
    except TimeoutError:
        return False
