"""NodeDoors: the proxies before a node under torture, for its clients and for the directors' probes.

A proxy by itself accepts, and resets when nobody is behind it; but that a dead node's port *refuses* is what proves its
death. So the doors are open exactly while the node's own port is.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Self

from director.held_port import HeldPort
from loadtest.fault_proxy import FaultProxy

_LOOK_EVERY = 0.02


class NodeDoors:
    """Two ways to `address`. Use it as an async context manager, and `mind` each process that listens there."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._stack = AsyncExitStack()
        # while a door is shut its port must not become somebody else's
        held = [self._stack.enter_context(HeldPort()).port for _ in range(2)]
        self.for_clients, self.for_probes = (FaultProxy(address, port=port) for port in held)

    async def __aenter__(self) -> Self:
        for door in (self.for_clients, self.for_probes):
            await self._stack.enter_async_context(door)
            door.shut()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def mind(self, pid: int) -> None:
        """Open the doors when process `pid` listens, and shut them as soon as it has ended; returns then."""
        ended = _end_of(pid)
        while not await self._is_listened_to():
            await asyncio.wait({ended}, timeout=_LOOK_EVERY)
            if ended.done():
                return
        for door in (self.for_clients, self.for_probes):
            await door.open()
        await ended
        for door in (self.for_clients, self.for_probes):
            door.shut()

    async def _is_listened_to(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(*self._address)
        except OSError:
            return False
        writer.close()
        return True


def _end_of(pid: int) -> "asyncio.Future[None]":
    """Done when the process has ended, as the kernel tells."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        ended.set_result(None)
        return ended

    def tell() -> None:
        if not ended.done():
            ended.set_result(None)

    def forget(_: object) -> None:
        loop.remove_reader(process)
        os.close(process)

    loop.add_reader(process, tell)
    ended.add_done_callback(forget)
    return ended
