"""Tickets as JSON Web Tokens, HS256: the adapter of TicketBook."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import jwt
import msgspec

from director.contract.errors import ErrorCode, Refusal
from director.contract.ticket import Ticket

LEEWAY_MS = 10_000
MIN_KEY_LENGTH = 32
_MAX_LENGTH = 4096
_ALGORITHM = "HS256"
_HEADER = {"typ": "hall-ticket"}


class JwtTicketBook:
    """TicketBook by PyJWT. Raises ValueError unless the key has 32 characters at least.

    PyJWT checks the signature; the expiry is checked here, by Redis' time and not by this machine's.
    """

    def __init__(self, key: str) -> None:
        if len(key) < MIN_KEY_LENGTH:
            raise ValueError(f"a ticket key needs {MIN_KEY_LENGTH} characters at least, this one has {len(key)}")
        self._key = key
        self._jwt = jwt.PyJWS(algorithms=[_ALGORITHM])

    def sign(self, ticket: Ticket) -> str:
        return self._jwt.encode(msgspec.json.encode(ticket), self._key, algorithm=_ALGORITHM, headers=_HEADER)

    def read(self, text: object, *, now_ms: int) -> Ticket:
        if not isinstance(text, str) or len(text) > _MAX_LENGTH:
            raise _invalid()
        try:
            signed = self._jwt.decode_complete(text, self._key, algorithms=[_ALGORITHM])
            if signed["header"].get("typ") != _HEADER["typ"]:
                raise _invalid()
            ticket = msgspec.json.decode(signed["payload"], type=Ticket)
        except (jwt.InvalidTokenError, msgspec.DecodeError, UnicodeError) as error:
            raise _invalid() from error
        if now_ms > ticket.expires_at_ms + LEEWAY_MS:
            raise Refusal(ErrorCode.TICKET_EXPIRED, "the ticket has expired; ask the director for another")
        return ticket


def _invalid() -> Refusal:
    return Refusal(ErrorCode.TICKET_INVALID, "this is no ticket of this fleet; ask the director for one")


class KeySettings(Protocol):
    """The settings that say where the key is; a director's and a node's have them alike."""

    @property
    def ticket_key(self) -> str: ...

    @property
    def demo(self) -> bool: ...

    @property
    def data(self) -> Path: ...


def ticket_key_of(settings: KeySettings) -> str:
    """The key that all processes of the fleet share: the given one, or in demo mode that of `{data}/ticket.key`.

    Whoever comes first makes the file, readable for its owner alone, whole at once. Raises ValueError where outside
    demo mode no key is given.
    """
    if settings.ticket_key:
        return settings.ticket_key
    if not settings.demo:
        raise ValueError("set HALL_TICKET_KEY to 32 characters at least, the same on all processes; or HALL_DEMO=1")
    settings.data.mkdir(parents=True, exist_ok=True)
    path = settings.data / "ticket.key"
    with suppress(FileExistsError):
        _create_whole(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def _create_whole(path: Path, text: str) -> None:
    """Write a file that nobody ever sees half written; raises FileExistsError if it is there."""
    if path.exists():
        raise FileExistsError(path)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
