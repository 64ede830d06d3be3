"""The crowd's own HTTP over real sockets: what is asked is answered once, whatever becomes of the connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import pytest

from loadtest.wire_http import WireAnswer, WireHttp

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Door:
    """A server that answers each request with `answer`; `goes_after` is after how many it ends a connection."""

    def __init__(self) -> None:
        self.url = ""
        self.answer = ANSWER
        self.goes_after = 1_000
        self.connections = 0
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in range(self.goes_after):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            self.asked.append(head.decode().splitlines()[0])
            self.was_asked.set()
            writer.write(self.answer)
        writer.close()


@asynccontextmanager
async def door() -> AsyncIterator[Door]:
    door = Door()
    async with await asyncio.start_server(door.serve, "127.0.0.1", 0) as server:
        door.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/route"
        yield door


async def ask(http: WireHttp, door: Door, **params: str) -> WireAnswer:
    async with asyncio.timeout(20):
        return await http.get(f"{door.url}?{urlencode(params)}", headers={})


async def test_a_connection_is_kept_and_used_again() -> None:
    answers: list[WireAnswer] = []
    async with door() as at, WireHttp(on_answer=answers.append) as http:
        for name in ("ann", "강"):
            assert await ask(http, at, user=name) == WireAnswer(200, b"ok")
        assert at.connections == 1
        assert at.asked == ["GET /route?user=ann HTTP/1.1", "GET /route?user=%EA%B0%95 HTTP/1.1"]
        assert len(answers) == 2


async def test_a_crowd_shares_few_connections() -> None:
    async with door() as at, WireHttp() as http:
        answers = await asyncio.gather(*(ask(http, at, number=str(number)) for number in range(500)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(at.asked) == 500
        assert at.connections <= 64


async def test_a_kept_connection_that_has_ended_is_not_held_against_the_server() -> None:
    async with door() as at, WireHttp() as http:
        at.goes_after = 1
        for _ in range(5):
            assert (await ask(http, at)).content == b"ok"
        assert at.connections == 5


async def test_a_server_that_closes_says_so_and_is_believed() -> None:
    async with door() as at, WireHttp() as http:
        at.answer = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        assert [(await ask(http, at)).content for _ in range(2)] == [b"ok", b"ok"]
        assert at.connections == 2


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"], ids=["nothing", "nonsense"])
async def test_no_answer_is_an_error_of_the_network(answer: bytes) -> None:
    async with door() as at, WireHttp() as http:
        at.answer, at.goes_after = answer, 1
        with pytest.raises(ConnectionError):
            await ask(http, at)


async def test_nobody_at_the_address_is_an_error_of_the_network() -> None:
    async with door() as at:
        pass
    async with WireHttp() as http:
        with pytest.raises(ConnectionError):
            await ask(http, at)


async def test_who_stops_waiting_spoils_nobody_s_answer() -> None:
    """The answer to a question that was given up must not be taken for that of the next one."""
    async with door() as at, WireHttp() as http:
        at.answer = b""
        impatient = asyncio.create_task(ask(http, at, user="impatient"))
        async with asyncio.timeout(20):
            await at.was_asked.wait()
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        at.answer = ANSWER
        assert (await ask(http, at, user="patient")).content == b"ok"
        assert at.connections == 2
