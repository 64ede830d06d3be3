"""The fault proxy: it passes on what it gets until it is told to fail, and fails as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from loadtest.fault_proxy import FaultProxy

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
BIG = bytes(range(256)) * 8_192


@dataclass
class Echo:
    """A server that sends back what it gets, and counts who came."""

    port: int = 0
    came: int = 0
    got: bytearray = field(default_factory=bytearray)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    server: asyncio.Server | None = None

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        try:
            while data := await reader.read(65_536):
                async with self.changed:
                    self.got += data
                    self.changed.notify_all()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def has_got(self, data: bytes) -> None:
        async with self.changed, asyncio.timeout(10):
            await self.changed.wait_for(lambda: self.got.endswith(data))


@asynccontextmanager
async def echo() -> AsyncIterator[Echo]:
    it = Echo()
    it.server = server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[FaultProxy, Echo]]:
    async with echo() as server, FaultProxy(("127.0.0.1", server.port)) as proxy:
        yield proxy, server


async def connect(proxy: FaultProxy) -> Stream:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def exchange(stream: Stream, data: bytes) -> bytes:
    reader, writer = stream
    writer.write(data)
    async with asyncio.timeout(10):
        return await reader.readexactly(len(data))


async def is_silent(stream: Stream) -> bool:
    """Whether nothing comes for a while: no bytes, no end."""
    try:
        async with asyncio.timeout(0.3):
            await stream[0].read(1)
    except TimeoutError:
        return True
    return False


async def is_reset(stream: Stream) -> bool:
    async with asyncio.timeout(10):
        try:
            await stream[0].read()
        except ConnectionResetError:
            return True
    return False


async def test_all_bytes_pass_in_order_and_both_ends_learn_of_the_end() -> None:
    async with proxied() as (proxy, server):
        stream = await connect(proxy)
        assert await exchange(stream, BIG) == BIG
        assert server.got == BIG
        stream[1].write_eof()
        async with asyncio.timeout(10):
            assert await stream[0].read() == b""
        assert proxy.connections == 0
        stream[1].close()


async def test_a_delay_holds_bytes_and_keeps_their_order() -> None:
    async with proxied() as (proxy, _):
        stream = await connect(proxy)
        await exchange(stream, b"x")
        proxy.delay(toward=0.2, back=0.1)
        began_at = asyncio.get_running_loop().time()
        assert await exchange(stream, b"12") == b"12"
        assert asyncio.get_running_loop().time() - began_at >= 0.3


async def test_what_is_late_stays_ahead_of_what_comes_after_it() -> None:
    async with proxied() as (proxy, server):
        stream, direct = await connect(proxy), await asyncio.open_connection("127.0.0.1", server.port)
        await exchange(stream, b"x")
        proxy.delay(back=0.5)
        stream[1].write(b"a")
        await server.has_got(b"a")
        await exchange(direct, b"y")  # by now the answer to the former is on its way
        proxy.restore()
        stream[1].write(b"b")
        async with asyncio.timeout(10):
            assert await stream[0].readexactly(2) == b"ab"


async def test_a_reset_is_felt_on_both_sides_and_new_connections_are_served() -> None:
    async with proxied() as (proxy, server):
        stream = await connect(proxy)
        await exchange(stream, b"x")
        proxy.reset()
        assert await is_reset(stream)
        assert proxy.connections == 0
        assert await exchange(await connect(proxy), b"y") == b"y"
        assert server.came == 2


async def test_a_black_hole_leaves_everything_open_and_silent_and_serves_nobody_new() -> None:
    async with proxied() as (proxy, server):
        old = await connect(proxy)
        await exchange(old, b"x")
        proxy.swallow()
        old[1].write(b"lost")
        new = await connect(proxy)
        new[1].write(b"unheard")
        assert await is_silent(old)
        assert await is_silent(new)
        assert (server.got, server.came) == (b"x", 1)
        proxy.restore()
        assert await is_reset(old), "a stream that lost bytes cannot go on"
        assert await is_reset(new)
        assert await exchange(await connect(proxy), b"y") == b"y"


async def test_a_connection_that_lost_nothing_survives_a_black_hole() -> None:
    async with proxied() as (proxy, _):
        stream = await connect(proxy)
        await exchange(stream, b"x")
        proxy.swallow()
        proxy.restore()
        assert await exchange(stream, b"y") == b"y"


async def test_one_direction_may_be_lost_alone() -> None:
    async with proxied() as (proxy, server):
        stream = await connect(proxy)
        await exchange(stream, b"x")
        proxy.swallow(toward=False)
        stream[1].write(b"arrives")
        await server.has_got(b"arrives")
        assert await is_silent(stream), "its answer does not"
        proxy.restore()
        assert await is_reset(stream)

    async with proxied() as (proxy, server):
        stream = await connect(proxy)
        await exchange(stream, b"x")
        proxy.swallow(back=False)
        stream[1].write(b"lost")
        assert await is_silent(stream)
        assert server.got == b"x"


async def test_in_a_black_hole_the_end_of_a_connection_is_lost_too() -> None:
    async with proxied() as (proxy, _):
        stream = await connect(proxy)
        await exchange(stream, b"x")
        proxy.swallow(toward=False)
        stream[1].write_eof()  # the server hears it and closes; nobody hears that
        assert await is_silent(stream)


async def test_a_target_that_refuses_is_felt_as_a_reset() -> None:
    async with echo() as server:
        port = server.port
    async with FaultProxy(("127.0.0.1", port)) as proxy:
        try:
            stream = await connect(proxy)
        except ConnectionResetError:
            return
        assert await is_reset(stream)


async def test_of_several_targets_they_take_turns_and_one_that_refuses_is_passed_over() -> None:
    async with echo() as one, echo() as gone, echo() as other:
        ports = (one.port, gone.port, other.port)
        await gone.stop()
        async with FaultProxy(*(("127.0.0.1", port) for port in ports)) as proxy:
            for _ in range(6):
                assert await exchange(await connect(proxy), b"x") == b"x"
            assert (one.came + other.came, gone.came) == (6, 0)
            assert min(one.came, other.came) >= 2


async def test_a_reader_that_does_not_read_holds_the_writer_back_until_it_does() -> None:
    async with proxied() as (proxy, server):
        stream = await connect(proxy)
        stream[1].write(BIG * 16)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await stream[1].drain()
        assert len(server.got) < len(BIG) * 16
        async with asyncio.timeout(30):
            assert await stream[0].readexactly(len(BIG) * 16) == BIG * 16


async def test_shut_it_refuses_new_connections_until_it_is_opened_and_those_that_stand_go_on() -> None:
    async with proxied() as (proxy, _):
        stream, port = await connect(proxy), proxy.port
        proxy.shut()
        proxy.shut()
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        assert await exchange(stream, b"still here") == b"still here"
        await proxy.open()
        await proxy.open()
        assert proxy.port == port
        assert await exchange(await connect(proxy), b"back") == b"back"


async def test_what_the_target_says_may_be_translated_and_what_it_is_told_not() -> None:
    async with echo() as server:
        async with FaultProxy(("127.0.0.1", server.port), translate=bytes.upper) as proxy:
            reader, writer = await connect(proxy)
            writer.write(b"quiet")
            async with asyncio.timeout(10):
                assert await reader.readexactly(5) == b"QUIET"
        assert server.got == b"quiet"


async def test_it_stays_on_loopback() -> None:
    with pytest.raises(ValueError, match="loopback"):
        FaultProxy(("192.0.2.1", 80))
