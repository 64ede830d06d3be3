"""The way in: the director's answer to who owns a room, and what is said when there is none (protocol, section 2).

CallRefused   the node or the director said no, and asking again unchanged will not help
NotDone       the deadline went by; what became of the call is unknown
"""

from typing import Protocol
from urllib.parse import quote, urlencode

import httpx
import msgspec

from director.contract.errors import ErrorDetail
from director.contract.ids import NodeName, RoomId, UserId
from loadtest.contract.received import Route, refusal_of
from loadtest.core.way_back import Unrouted

MAX_ROUTE_WAIT = 10.0


class CallRefused(Exception):
    """What was asked for is refused; `action` is one of retry, reroute, stay, fix, stop (protocol, section 6)."""

    def __init__(self, error: ErrorDetail) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.code = error.code
        self.action = error.action
        self.message = error.message
        self.retry_after_ms = error.retry_after_ms


class NotDone(TimeoutError):
    """The deadline went by without an answer that settles it."""


class HttpAnswer(Protocol):
    """What came back."""

    @property
    def status_code(self) -> int: ...
    @property
    def content(self) -> bytes: ...


class Http(Protocol):
    """What a front desk needs of an HTTP client: httpx's, or one of our own. Raises httpx.HTTPError or OSError."""

    async def get(self, url: str, *, headers: dict[str, str]) -> HttpAnswer: ...


class FrontDesk:
    """The director, as one person asks it. `token` is the platform's JWT; without one the demo identity is used."""

    def __init__(self, director_url: str, http: Http, *, user: UserId, name: str, role: str, token: str | None) -> None:
        self._http = http
        identity = {} if token else {"user": user, "name": name, "role": role}
        self._route_url = f"{director_url.rstrip('/')}/route?{urlencode(identity)}"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def route(self, room: RoomId, *, failed: NodeName | None) -> Route | Unrouted:
        """Where to join `room`, or why there is no answer."""
        hint = f"&failed={quote(failed)}" if failed else ""
        try:
            answer = await self._http.get(f"{self._route_url}&room={quote(room)}{hint}", headers=self._headers)
            body = msgspec.json.decode(answer.content)
            return msgspec.convert(body, Route) if answer.status_code == 200 else Unrouted(failed, refusal_of(body))
        except (httpx.HTTPError, OSError, msgspec.MsgspecError):
            return Unrouted(failed)


def direct_http(*, max_connections: int = 20) -> httpx.AsyncClient:
    """An HTTP client that many members may share; it goes straight, whatever proxy the environment names."""
    limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
    return httpx.AsyncClient(timeout=httpx.Timeout(MAX_ROUTE_WAIT, pool=None), limits=limits, trust_env=False)
