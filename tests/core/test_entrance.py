"""The entrance: a crowd at the door is let in a few at a time."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from director.entrance import PER_TURN, Entrance


class Visitor(asyncio.Protocol):
    """A connection that was let in, and what it said."""

    def __init__(self, visitors: "list[Visitor]") -> None:
        self.said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        visitors.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.said.set_result(data)


class Full:
    """A listening socket whose process has no more descriptors, until it has."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.is_full = True

    def fileno(self) -> int:
        return self._listening.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        if self.is_full:
            raise OSError(errno.EMFILE, "too many open files")
        return self._listening.accept()


@contextmanager
def crowd_before(count: int) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A listening socket with so many connections that nobody has accepted yet."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        listening.setblocking(False)
        yield listening, [stack.enter_context(socket.create_connection(listening.getsockname())) for _ in range(count)]


async def test_a_crowd_is_let_in_a_few_in_each_turn_and_everybody_is_heard() -> None:
    loop, visitors = asyncio.get_running_loop(), list[Visitor]()
    with crowd_before(3 * PER_TURN + 1) as (listening, crowd):
        Entrance(listening, lambda: Visitor(visitors), lambda error: None).open()
        grown = []
        while len(visitors) < len(crowd):
            before = len(visitors)
            await asyncio.sleep(0)
            grown.append(len(visitors) - before)
        assert max(grown) == PER_TURN
        for one in crowd:
            one.sendall(b"hello")
        async with asyncio.timeout(10):
            assert await asyncio.gather(*(visitor.said for visitor in visitors)) == [b"hello"] * len(crowd)
        peers = {visitor.transport.get_extra_info("peername") for visitor in visitors}
        assert peers == {one.getsockname() for one in crowd}
        loop.remove_reader(listening.fileno())
        for visitor in visitors:
            visitor.transport.abort()  # type: ignore[attr-defined]


async def test_when_the_system_has_no_more_connections_the_others_live_on_and_it_is_tried_again() -> None:
    loop, visitors, trouble = asyncio.get_running_loop(), list[Visitor](), list[OSError]()
    with crowd_before(1) as (listening, (one,)):
        full = Full(listening)
        entrance = Entrance(full, lambda: Visitor(visitors), trouble.append, retry_after=0.01)  # type: ignore[arg-type]
        entrance.open()
        async with asyncio.timeout(10):
            while not trouble:  # noqa: ASYNC110 (the loop itself is what is waited for)
                await asyncio.sleep(0)
            assert not visitors
            full.is_full = False
            one.sendall(b"at last")
            while not visitors:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert await visitors[0].said == b"at last"
        loop.remove_reader(listening.fileno())
        visitors[0].transport.abort()  # type: ignore[attr-defined]
