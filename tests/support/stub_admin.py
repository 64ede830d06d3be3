"""StubAdmin: an admin interface over real HTTP that answers as it is told, for tests of the operators' commands."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from director.contract.errors import Refusal

TOKEN = "stub-operators-token"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was answered."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    token: str


@dataclass(slots=True)
class StubAdmin:
    """`on` says what is answered; of several answers each is given once and the last one for ever. A Refusal is
    answered in the error shape, bytes as they are. What nobody spoke of is refused as unknown."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    _answers: dict[tuple[str, str], list[object]] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def on(self, method: str, path: str, *answers: object) -> None:
        with self._changed:
            self._answers[method, path] = list(answers)

    def bodies(self, method: str, path: str) -> list[Any]:
        """What was sent there, in order."""
        return [asked.body for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def wait_until_asked(self, method: str, path: str, *, times: int = 1) -> None:
        """Wait until somebody has asked for that so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.bodies(method, path)) >= times, timeout=30), self.asked

    def _answer(self, asked: Asked) -> tuple[int, bytes]:
        with self._changed:
            self.asked.append(asked)
            self._changed.notify_all()
            answers = self._answers.get((asked.method, asked.path), [])
            answer = (answers.pop(0) if len(answers) > 1 else answers[0]) if answers else None
        match answer:
            case None:
                detail = {"code": "UNSUPPORTED", "message": f"there is no {asked.method} {asked.path} here"}
                shape = {"ok": False, "error": {**detail, "action": "fix", "temporary": False, "retry_after_ms": 0}}
                return 404, msgspec.json.encode(shape)
            case Refusal():
                return answer.code.http_status, msgspec.json.encode(answer.shape)
            case bytes():
                return 200, answer
            case _:
                return 200, msgspec.json.encode(answer)


@contextmanager
def stub_admin() -> Iterator[StubAdmin]:
    """A StubAdmin on a free port of the loopback, for the block."""
    admin = StubAdmin()

    class Desk(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one piece: two wait for each other's acknowledgement

        def answer(self) -> None:
            address = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            query = dict(parse_qsl(address.query))
            told = msgspec.json.decode(body) if body else None
            status, content = admin._answer(Asked(self.command, address.path, query, told, token))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 (the library's names)

        def log_message(self, *said: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    server.daemon_threads = True
    admin.url = f"http://127.0.0.1:{server.server_address[1]}"
    serving = threading.Thread(target=server.serve_forever, args=(0.02,))
    serving.start()
    try:
        yield admin
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
