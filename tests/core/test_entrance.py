"""The entrance: a crowd at the door is let in a few at a time."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from director.entrance import PER_TURN, Entrance, Take


class Visitor:
    """A connection that was let in, and what it said."""

    connection: socket.socket
    address: object

    def __init__(self, visitors: "list[Visitor]") -> None:
        self.said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        visitors.append(self)

    def read(self) -> None:
        self.said.set_result(self.connection.recv(1024))
        self.leave()

    def leave(self) -> None:
        asyncio.get_running_loop().remove_reader(self.connection.fileno())


def led_to(visitors: list[Visitor]) -> Take:
    """Makes a visitor of each connection."""
    loop = asyncio.get_running_loop()

    def take(connection: socket.socket, address: object) -> None:
        visitor = Visitor(visitors)
        visitor.connection, visitor.address = connection, address
        loop.add_reader(connection.fileno(), visitor.read)

    return take


class Full:
    """A listening socket whose process has no more descriptors, until it has."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.is_full = True

    def fileno(self) -> int:
        return self._listening.fileno()

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self._listening.setsockopt(level, option, value)

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
        Entrance(listening, led_to(visitors), lambda error: None).open()
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
        assert {visitor.address for visitor in visitors} == {one.getsockname() for one in crowd}
        for visitor in visitors:
            assert not visitor.connection.getblocking()
            visitor.connection.close()
        loop.remove_reader(listening.fileno())


async def test_small_frames_need_not_wait_to_fill_a_packet() -> None:
    loop, visitors = asyncio.get_running_loop(), list[Visitor]()
    with crowd_before(0) as (listening, _):
        Entrance(listening, led_to(visitors), lambda error: None).open()
        with socket.create_connection(listening.getsockname()) as one:
            one.sendall(b"hello")
            async with asyncio.timeout(10):
                while not visitors:  # noqa: ASYNC110 (the loop itself is what is waited for)
                    await asyncio.sleep(0)
                await visitors[0].said
            assert visitors[0].connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            visitors[0].connection.close()
        loop.remove_reader(listening.fileno())


async def test_when_the_system_has_no_more_connections_the_others_live_on_and_it_is_tried_again() -> None:
    loop, visitors, trouble = asyncio.get_running_loop(), list[Visitor](), list[OSError]()
    with crowd_before(1) as (listening, (one,)):
        full = Full(listening)
        entrance = Entrance(full, led_to(visitors), trouble.append, retry_after=0.01)  # type: ignore[arg-type]
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
        visitors[0].connection.close()
