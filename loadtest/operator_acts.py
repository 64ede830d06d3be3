"""What operators do while a fleet is tortured: members should notice none of it."""

import asyncio
import os
import signal
from contextlib import suppress

from loadtest.core.fault_plan import Fault
from loadtest.torture_ground import Ground, NotToday

_TRIES = 100
_TRY_EVERY = 0.2


class _Act:
    """Something that an operator does to a node or its rooms."""

    def __init__(self, ground: Ground, fault: Fault) -> None:
        self._ground = ground
        self._fault = fault

    async def end(self) -> None:
        return None


class MoveRoom(_Act):
    """An operator moves the node's largest room to another node."""

    async def begin(self) -> None:
        source = self._fault.target
        rooms = (await self._ground.operate("GET", f"/admin/rooms?node={source}"))["rooms"]
        nodes = (await self._ground.operate("GET", "/admin/nodes"))["nodes"]
        targets = [node["node"] for node in nodes if node["state"] == "serving" and node["node"] != source]
        if not rooms or not targets:
            raise NotToday("there is no room, or no other node")
        room = max(rooms, key=lambda it: (it["members"], it["room"]))["room"]
        await self._ground.operate("POST", f"/admin/rooms/{room}/move", {"to": targets[0]})


class DrainNode(_Act):
    """An operator drains a node, and later gives it rooms again."""

    async def begin(self) -> None:
        await self._ground.operate("POST", f"/admin/nodes/{self._fault.target}/drain", {})

    async def end(self) -> None:
        for _ in range(_TRIES):
            with suppress(NotToday):
                await self._ground.operate("POST", f"/admin/nodes/{self._fault.target}/uncordon")
                return
            await asyncio.sleep(_TRY_EVERY)


class RestartNode(_Act):
    """SIGTERM: the node drains and ends, and the supervisor starts it again."""

    async def begin(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._ground.pid_of(self._fault.target), signal.SIGTERM)
