"""director/probe over real sockets: what proves a death and what does not."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from director import probe as director_probe
from director.probe import (
    ANSWER_WITHIN,
    MOST_LOOKS,
    TRY_AGAIN_AFTER,
    Alive,
    Dead,
    HttpNodeProbe,
    Unclear,
    Verdict,
)
from tests.support.halls import lease_of
from tests.support.valkey_server import free_port


class Node:
    """A listener that answers every request with the same body, and counts them."""

    def __init__(self, body: str) -> None:
        self._body = body.encode()
        self.asked = 0
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # who only looks whether somebody listens says nothing
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self._body), self._body))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def node_saying(body: str) -> AsyncIterator[Node]:
    node = Node(body)
    listener = await asyncio.start_server(node.answer, "127.0.0.1", 0)
    node.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield node


@asynccontextmanager
async def probing() -> AsyncIterator[HttpNodeProbe]:
    with httpx.Client(trust_env=False) as http:
        yield HttpNodeProbe(http, monotonic=time.monotonic)


async def verdict_on(port: int) -> Verdict:
    async with probing() as probe:
        return await probe.verdict_on(lease_of("node-1", "i1", port=port))


async def test_a_node_that_answers_for_itself_is_alive() -> None:
    async with node_saying('{"ok": true, "node": "node-1", "incarnation": "i1", "more": 1}') as node:
        assert await verdict_on(node.port) == Alive()


async def test_another_incarnation_is_proof() -> None:
    async with node_saying('{"ok": true, "node": "node-1", "incarnation": "i2"}') as node:
        assert await verdict_on(node.port) == Dead("another incarnation answers")


async def test_two_refusals_are_proof_and_take_their_time() -> None:
    began = time.monotonic()
    assert await verdict_on(free_port()) == Dead("refused")
    assert TRY_AGAIN_AFTER <= time.monotonic() - began < TRY_AGAIN_AFTER + 2 * ANSWER_WITHIN


async def test_one_refusal_is_no_proof() -> None:
    """A node that is just being started again refuses for a moment."""
    port = free_port()
    async with probing() as probe:
        asking = asyncio.create_task(probe.verdict_on(lease_of("node-1", "i1", port=port)))
        await asyncio.wait([asking], timeout=TRY_AGAIN_AFTER / 2)
        node = Node('{"ok": true, "node": "node-1", "incarnation": "i1"}')
        async with await asyncio.start_server(node.answer, "127.0.0.1", port):
            assert await asking == Alive()
        assert node.asked == 1


async def test_silence_is_no_proof_and_is_not_waited_for() -> None:
    with socket.socket() as frozen:
        frozen.bind(("127.0.0.1", 0))
        frozen.listen()
        began = time.monotonic()
        assert await verdict_on(frozen.getsockname()[1]) == Unclear("silent")
        assert time.monotonic() - began < ANSWER_WITHIN + 0.5


@pytest.mark.parametrize(
    "body",
    ["", "hello", "[]", '{"ok": true}', '{"node": 1, "incarnation": "i2"}', '{"node": "node-2", "incarnation": "i2"}'],
)
async def test_what_else_answers_there_proves_nothing(body: str) -> None:
    async with node_saying(body) as node:
        assert isinstance(await verdict_on(node.port), Unclear)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that takes nobody's lateness for silence, as on a machine with much to do."""
    monkeypatch.setattr(director_probe, "ANSWER_WITHIN", 10.0)
    monkeypatch.setattr(director_probe, "GIVE_UP_AFTER", 30.0)


class Breaking:
    """A listener that takes connections and breaks each one that is asked something, as a process that is being ended;
    after `closes_after` of them it is gone (None: it stays)."""

    def __init__(self, *, closes_after: int | None) -> None:
        self._closes_after = closes_after
        self._listener: asyncio.Server | None = None
        self.broken = 0

    async def _break(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            self.broken += 1
            if self.broken == self._closes_after and self._listener is not None:
                self._listener.close()
        writer.transport.abort()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """The port."""
        self._listener = await asyncio.start_server(self._break, "127.0.0.1", 0)
        async with self._listener:
            yield self._listener.sockets[0].getsockname()[1]


async def test_a_node_that_breaks_a_connection_and_then_refuses_is_proven_dead(patient: None) -> None:
    """A killed process breaks what it has taken for some milliseconds before its port refuses: one probe in that moment
    left all members of the node without another for a second."""
    breaking = Breaking(closes_after=1)
    async with breaking.listening() as port:
        assert await verdict_on(port) == Dead("refused")
    assert breaking.broken == 1


async def test_a_node_that_breaks_connections_and_refuses_once_is_not_proven_dead(patient: None) -> None:
    breaking = Breaking(closes_after=MOST_LOOKS - 1)
    async with breaking.listening() as port:
        assert isinstance(await verdict_on(port), Unclear)
    assert breaking.broken == MOST_LOOKS - 1


async def test_a_node_that_breaks_one_connection_and_then_answers_is_alive(patient: None) -> None:
    async def break_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()
            return
        asked.append(1)
        if len(asked) > 1:
            body = b'{"ok": true, "node": "node-1", "incarnation": "i1"}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            writer.close()
        else:
            writer.transport.abort()

    asked: list[int] = []
    async with await asyncio.start_server(break_one, "127.0.0.1", 0) as listener:
        assert await verdict_on(listener.sockets[0].getsockname()[1]) == Alive()


async def test_connections_that_keep_breaking_prove_nothing_and_are_not_tried_for_ever(patient: None) -> None:
    breaking = Breaking(closes_after=None)
    async with breaking.listening() as port:
        began = time.monotonic()
        assert isinstance(await verdict_on(port), Unclear)
        took = time.monotonic() - began
    assert breaking.broken == MOST_LOOKS
    assert (MOST_LOOKS - 1) * TRY_AGAIN_AFTER <= took < 10.0


async def test_an_address_that_cannot_be_found_proves_nothing() -> None:
    lease = lease_of("node-1", "i1")
    for url in ("http://nowhere.invalid", "http://[", "ftp://127.0.0.1", ""):
        async with probing() as probe:
            wrong = type(lease)(lease.node, lease.incarnation, url, "/", url, lease.timings)
            assert isinstance(await probe.verdict_on(wrong), Unclear), url


async def test_a_crowd_asks_once_and_the_verdict_is_kept_for_a_second() -> None:
    now = 0.0
    alive = '{"ok": true, "node": "node-1", "incarnation": "i1"}'
    async with node_saying(alive) as node:
        http = httpx.Client(trust_env=False)
        probe = HttpNodeProbe(http, monotonic=lambda: now)
        lease = lease_of("node-1", "i1", port=node.port)
        assert await asyncio.gather(*(probe.verdict_on(lease) for _ in range(100))) == [Alive()] * 100
        now = 0.9
        assert await probe.verdict_on(lease) == Alive()
        assert node.asked == 1
        now = 1.1
        assert await probe.verdict_on(lease) == Alive()
        assert node.asked == 2
        assert await probe.verdict_on(lease_of("node-1", "i0", port=node.port)) == Dead("another incarnation answers")


async def test_a_loop_that_is_late_does_not_take_it_for_the_node_s_silence() -> None:
    """Two thousand members of a node that was killed kept the director so busy that each probe timed out: for half a
    minute nobody was given another node."""

    async def be_busy() -> None:
        while True:
            time.sleep(1.5 * ANSWER_WITHIN)  # noqa: ASYNC251 - what a loop with too much to do looks like
            await asyncio.sleep(0)

    busy = asyncio.create_task(be_busy())
    try:
        assert await verdict_on(free_port()) == Dead("refused")
    finally:
        busy.cancel()
