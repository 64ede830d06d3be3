"""HttpCrowd: some connections that ask one server one thing after the other, as fast as it answers."""

import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class AnswerRefused(Exception):
    """An answer that is not 200."""


@dataclass(slots=True)
class _Line:
    line: socket.socket
    heard: bytes = b""
    asked_at: float = field(default=0.0)


def ask_for(port: int, target: Callable[[int], str], *, connections: int, span: float) -> tuple[int, list[float]]:
    """Ask for `target(0)`, `target(1)`, ... over so many kept connections, one question on each at a time, for `span`
    seconds; how many answers came, and how many seconds each took. Raises AnswerRefused."""
    asked, spans = 0, list[float]()
    with selectors.DefaultSelector() as selector:
        lines = [_Line(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]

        def ask(it: _Line) -> None:
            nonlocal asked
            it.asked_at = perf_counter()
            it.line.sendall(f"GET {target(asked)} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            asked += 1

        for it in lines:
            it.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(it.line, selectors.EVENT_READ, it)
        end_at = perf_counter() + span
        for it in lines:
            ask(it)
        waiting = len(lines)
        while waiting:
            for key, _ in selector.select(10):
                it = key.data
                it.heard += it.line.recv(65536)
                size = _size_of(it.heard)
                if size is None or len(it.heard) < size:
                    continue
                if not it.heard.startswith(b"HTTP/1.1 200"):
                    raise AnswerRefused(it.heard[:500].decode(errors="replace"))
                now = perf_counter()
                spans.append(now - it.asked_at)
                it.heard = it.heard[size:]
                if now < end_at:
                    ask(it)
                else:
                    waiting -= 1
        for it in lines:
            it.line.close()
    return len(spans), spans


def _size_of(heard: bytes) -> int | None:
    """How long the answer is with its head; None if that has not come yet."""
    end = heard.find(_END)
    if end < 0:
        return None
    at = heard[:end].lower().index(_LENGTH) + len(_LENGTH)
    return end + len(_END) + int(heard[at:end].split(b"\r\n", 1)[0])
