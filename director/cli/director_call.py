"""DirectorCall: asking a director, as a command does it.

NoDirector       no director answers there; the message says what to do
DirectorRefused  it said no; `error` says why
NoToken          nobody said by which token the operator is known
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx
import msgspec

from director.contract.errors import ErrorDetail, ErrorShape
from director.shared_secret import ADMIN_TOKEN
from loadtest.routing import direct_http

ANSWER_WITHIN = 15.0

Answer = TypeVar("Answer")


class NoDirector(Exception):
    """No director answers there; the message says what to do."""


class DirectorRefused(Exception):
    """The director said no."""

    def __init__(self, error: ErrorDetail) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error


class NoToken(Exception):
    """There is no operators' token to show; the message says how to give one."""


class AdminCall:
    """An operator's calls on the admin interface, over one connection, straight to it whatever proxy is named.

    `within` is how long a call may take, in seconds."""

    def __init__(self, director_url: str, token: str, *, within: float = ANSWER_WITHIN) -> None:
        self.director_url = director_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(timeout=within, trust_env=False)

    def ask(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        *,
        body: object = None,
        query: Mapping[str, str | int] | None = None,
    ) -> Answer:
        """One call; None as `body` sends none. Raises NoDirector, also for what answers and is no director, and
        DirectorRefused. After NoDirector it may have been done all the same."""
        try:
            reply = self._http.request(
                method,
                f"{self.director_url}{path}",
                params=query,
                content=None if body is None else msgspec.json.encode(body),
                headers=self._headers if body is None else {**self._headers, "Content-Type": "application/json"},
            )
            if reply.is_success:
                return msgspec.json.decode(reply.content, type=answer)
            error = msgspec.json.decode(reply.content, type=ErrorShape).error
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise _unreachable(self.director_url, fault) from None
        except msgspec.MsgspecError:
            raise NoDirector(f"what answers at {self.director_url} is no director: give --director") from None
        raise DirectorRefused(error)

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def __enter__(self) -> "AdminCall":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def operators_token(given: str, data: Path) -> str:
    """The token that was given, else that of the demo fleet in the folder `data`. Raises NoToken."""
    try:
        token = given.strip() or (data / ADMIN_TOKEN).read_text().strip()
    except (OSError, UnicodeDecodeError):
        words = "give the operators' token by --token or HALL_ADMIN_TOKEN, or a demo fleet's folder by --data"
        raise NoToken(f"{words} ({data} has none)") from None
    if not token or not token.isascii() or not token.isprintable():
        raise NoToken("that is no operators' token: one line of ASCII characters")
    return token


async def find_director(url: str) -> None:
    """Ask the director for its health. Raises NoDirector."""
    async with direct_http() as http:
        try:
            await http.get(f"{url.rstrip('/')}/healthz")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(url, error) from None


def _unreachable(url: str, error: Exception) -> NoDirector:
    words = f"no director answers at {url} ({type(error).__name__})"
    return NoDirector(f"{words}: start a fleet with `hall up`, or give --director")
