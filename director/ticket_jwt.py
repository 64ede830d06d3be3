"""Tickets as JSON Web Tokens (RFC 7515, 7519), HS256 with one fixed header: the adapter of TicketBook."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Protocol

import msgspec

from director.contract.errors import ErrorCode, Refusal
from director.contract.ticket import Ticket
from director.shared_secret import TICKET_KEY, shared_secret

LEEWAY_MS = 10_000
MIN_KEY_LENGTH = 32
_MAX_LENGTH = 4096
_ALGORITHM = "HS256"
_HEADER = {"typ": "hall-ticket"}
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Ticket)


class JwtTicketBook:
    """TicketBook. Raises ValueError unless the key has 32 characters at least.

    By hand, since every member of every room comes through here, and a library's way costs ten times as much. The
    header never changes, so whatever has another one (another algorithm, none, a platform's token) is no ticket; what
    is left is one comparison in constant time. The expiry is Redis' time and not this machine's.
    """

    def __init__(self, key: str) -> None:
        if len(key) < MIN_KEY_LENGTH:
            raise ValueError(f"a ticket key needs {MIN_KEY_LENGTH} characters at least, this one has {len(key)}")
        self._keyed = hmac.new(key.encode(), digestmod="sha256")
        self._header = _base64(msgspec.json.encode({"alg": _ALGORITHM, **_HEADER})) + b"."

    def sign(self, ticket: Ticket) -> str:
        signed = self._header + _base64(_encoder.encode(ticket))
        return (signed + b"." + self._signature_of(signed)).decode()

    def read(self, text: object, *, now_ms: int) -> Ticket:
        if not isinstance(text, str) or len(text) > _MAX_LENGTH:
            raise _invalid()
        try:
            signed, _, signature = text.encode("ascii").rpartition(b".")
            if not signed.startswith(self._header) or not hmac.compare_digest(self._signature_of(signed), signature):
                raise _invalid()
            ticket = _decoder.decode(_from_base64(signed[len(self._header) :]))
        except (ValueError, msgspec.DecodeError) as error:
            raise _invalid() from error
        if now_ms > ticket.expires_at_ms + LEEWAY_MS:
            raise Refusal(ErrorCode.TICKET_EXPIRED, "the ticket has expired; ask the director for another")
        return ticket

    def _signature_of(self, signed: bytes) -> bytes:
        signing = self._keyed.copy()  # half of what it costs to begin with the key each time
        signing.update(signed)
        return _base64(signing.digest())


def _base64(data: bytes) -> bytes:
    """As RFC 7515 has it: for URLs, without padding."""
    return urlsafe_b64encode(data).rstrip(b"=")


def _from_base64(text: bytes) -> bytes:
    return urlsafe_b64decode(text + b"=" * (-len(text) % 4))


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

    Raises ValueError where outside demo mode no key is given.
    """
    if settings.ticket_key:
        return settings.ticket_key
    if not settings.demo:
        raise ValueError("set HALL_TICKET_KEY to 32 characters at least, the same on all processes; or HALL_DEMO=1")
    return shared_secret(settings.data, TICKET_KEY)
