"""shard_node/fanout/wire: a connection's rules, over a pair of real sockets."""

import asyncio
import gc
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from shard_node.fanout.wire import HIGH_WATER, LOW_WATER, MAX_READ, Wire

WITHIN = 10.0


class Told:
    """A Receiver that notes what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []
        self.on_received: Any = None
        self.on_pause: Any = lambda: None
        self.on_resume: Any = lambda: None
        self._changed = asyncio.Event()

    def received(self, data: bytes) -> None:
        self.data += data
        self._changed.set()
        if self.on_received is not None:
            self.on_received(data)

    def eof_received(self) -> None:
        self._note("eof")

    def pause_writing(self) -> None:
        self.on_pause()
        self._note("pause")

    def resume_writing(self) -> None:
        self.on_resume()
        self._note("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self._note("lost")

    def _note(self, what: str) -> None:
        self.told.append(what)
        self._changed.set()

    async def until(self, *told: str) -> None:
        """Wait until it has been told just that."""
        async with asyncio.timeout(WITHIN):
            while self.told != list(told):
                self._changed.clear()
                await self._changed.wait()

    async def until_read(self, data: bytes) -> None:
        async with asyncio.timeout(WITHIN):
            while self.data != data:
                self._changed.clear()
                await self._changed.wait()


@contextmanager
def wired() -> Iterator[tuple[Wire, Told, socket.socket]]:
    """A wire, its receiver, and the client's end."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    wire, told = Wire(ours), Told()
    wire.receiver = told
    try:
        with theirs:
            yield wire, told, theirs
    finally:
        wire.abort()


async def all_of(client: socket.socket) -> bytes:
    """What the client reads until the end."""
    got = b""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WITHIN):
        with suppress(ConnectionError):
            while more := await loop.sock_recv(client, 65_536):
                got += more
    return got


async def test_what_comes_is_given_on_in_pieces() -> None:
    with wired() as (_, told, client):
        sizes = list[int]()
        told.on_received = lambda data: sizes.append(len(data))
        said = bytes(range(256)) * 256
        await asyncio.get_running_loop().sock_sendall(client, said)
        await told.until_read(said)
        assert max(sizes) <= MAX_READ


async def test_what_is_taken_at_once_does_not_wait() -> None:
    with wired() as (wire, told, client):
        wire.write(b"hello")
        assert (wire.get_write_buffer_size(), client.recv(100)) == (0, b"hello")
        assert told.told == []


async def test_what_is_not_taken_waits_in_order_and_pauses_and_resumes_its_receiver_once() -> None:
    with wired() as (wire, told, client):
        said = b""
        while wire.get_write_buffer_size() <= HIGH_WATER:
            assert told.told == []
            piece = b"%06d" % len(said) * 100
            said += piece
            wire.write(piece)
        assert told.told == ["pause"]
        wire.write(b"more")
        assert told.told == ["pause"], "it knows"
        waited = list[int]()
        told.on_resume = lambda: waited.append(wire.get_write_buffer_size())
        got = b""
        async with asyncio.timeout(WITHIN):
            while got != said + b"more":
                got += await asyncio.get_running_loop().sock_recv(client, 65_536)
        await told.until("pause", "resume")
        assert LOW_WATER / 2 < waited[0] <= LOW_WATER
        assert wire.get_write_buffer_size() == 0
        wire.write(b"again")
        assert await asyncio.get_running_loop().sock_recv(client, 100) == b"again"


async def test_closing_waits_for_what_is_written_and_reads_no_more() -> None:
    with wired() as (wire, told, client):
        wire.write(b"x" * 3 * HIGH_WATER)
        wire.close()
        wire.close()
        assert wire.is_closing()
        client.send(b"too late")
        assert len(await all_of(client)) == 3 * HIGH_WATER
        await told.until("pause", "resume", "lost")
        assert told.data == b""


async def test_closing_an_idle_wire_tells_its_receiver_by_way_of_the_loop() -> None:
    with wired() as (wire, told, client):
        wire.close()
        assert told.told == []
        await told.until("lost")
        assert await all_of(client) == b""
        wire.write(b"nobody")
        wire.abort()
        await asyncio.sleep(0)
        assert told.told == ["lost"], "once, whatever comes after"


async def test_an_aborted_wire_drops_what_waits() -> None:
    with wired() as (wire, told, client):
        wire.write(b"x" * 3 * HIGH_WATER)
        wire.abort()
        assert (wire.is_closing(), wire.get_write_buffer_size()) == (True, 0)
        await told.until("pause", "lost")
        assert len(await all_of(client)) < 3 * HIGH_WATER


async def test_a_client_that_writes_no_more_is_told_what_waits_and_closed() -> None:
    with wired() as (wire, told, client):
        told.on_received = lambda data: wire.write(b"y" * 3 * HIGH_WATER)
        client.send(b"bye")
        client.shutdown(socket.SHUT_WR)
        assert len(await all_of(client)) == 3 * HIGH_WATER
        await told.until("pause", "eof", "resume", "lost")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_client_that_is_gone_ends_the_wire(waits: bool) -> None:
    with wired() as (wire, told, client):
        if waits:
            wire.write(b"x" * HIGH_WATER)
        client.close()
        wire.write(b"anybody?")
        await told.until("lost")
        assert wire.is_closing()


async def test_a_fault_of_the_receivers_ends_the_wire_and_is_told_to_the_loop() -> None:
    faults = list[Any]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(context["exception"]))
    with wired() as (_, told, client):
        told.on_received = lambda data: 1 / 0
        client.send(b"hello")
        await told.until("lost")
        assert await all_of(client) == b""
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


async def test_a_wire_that_its_receiver_aborts_while_it_reads_writes_nothing_more() -> None:
    with wired() as (wire, told, client):

        def cut(data: bytes) -> None:
            wire.write(b"last")
            wire.abort()
            wire.write(b"nothing")

        told.on_received = cut
        client.send(b"hello")
        assert await all_of(client) == b"last"
        await told.until("lost")


async def test_a_connection_can_be_taken_over() -> None:
    with wired() as (wire, told, client):
        client.send(b"for the next one")
        connection = wire.detach()
        with connection:
            reader, writer = await asyncio.open_connection(sock=connection)
            async with asyncio.timeout(WITHIN):
                assert await reader.readexactly(16) == b"for the next one"
            writer.write(b"hello")
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b"hello"
            writer.close()
        assert (told.data, told.told) == (b"", [])


@contextmanager
def without_the_collector() -> Iterator[None]:
    """Only what nobody refers to is freed; circles stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("how", ["closed", "aborted", "by the client", "taken over"])
async def test_a_wire_that_is_over_keeps_nothing_of_its_receivers(how: str) -> None:
    """Each held the other until the collector came: a door with half a head of 64 KiB, a session with all it had."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs, without_the_collector():
        wire, freed = Wire(ours), asyncio.Event()
        wire.receiver = Told()
        wire.receiver.its_wire = wire  # type: ignore[attr-defined]  # as a door and a session have theirs
        weakref.finalize(wire.receiver, freed.set)
        match how:
            case "closed":
                wire.close()
            case "aborted":
                wire.abort()
            case "by the client":
                theirs.shutdown(socket.SHUT_WR)
            case _:
                wire.detach().close()
        async with asyncio.timeout(WITHIN):
            await freed.wait()
        wire.write(b"nobody")
        wire.close()
        wire.abort()
        assert (wire.is_closing(), wire.get_write_buffer_size()) == (True, 0)


@pytest.mark.parametrize("what", ["writes", "closes", "aborts"])
async def test_a_receiver_may_do_anything_while_it_is_told_that_it_may_write_again(what: str) -> None:
    said = b"x" * 3 * HIGH_WATER
    with wired() as (wire, told, client):
        told.on_resume = {"writes": lambda: wire.write(b"more"), "closes": wire.close, "aborts": wire.abort}[what]
        wire.write(said)
        if what == "writes":
            got = b""
            async with asyncio.timeout(WITHIN):
                while got != said + b"more":
                    got += await asyncio.get_running_loop().sock_recv(client, 65_536)
            wire.close()
        got = await all_of(client)
        match what:
            case "writes":
                assert got == b""
            case "closes":
                assert got == said
            case _:
                assert len(got) < len(said)
        await told.until("pause", "resume", "lost")


async def test_a_receiver_may_abort_while_it_is_told_to_pause() -> None:
    with wired() as (wire, told, client):
        told.on_pause = wire.abort
        wire.write(b"x" * 3 * HIGH_WATER)
        assert (wire.is_closing(), wire.get_write_buffer_size()) == (True, 0)
        wire.write(b"nobody")
        await told.until("pause", "lost")
        assert len(await all_of(client)) < 3 * HIGH_WATER
