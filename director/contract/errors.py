"""Errors as clients see them: a code, what to do about it, and one shape everywhere (protocol, sections 2 and 6).

Refusal                 something was asked for and is refused; carries an ErrorCode
ControlPathUnavailable  Redis did not answer in time or not at all; says nothing about who owns what
"""

from enum import StrEnum

import msgspec


class Action(StrEnum):
    """What a client does about an error, also one whose code it does not know."""

    RETRY = "retry"
    REROUTE = "reroute"
    STAY = "stay"
    FIX = "fix"
    STOP = "stop"


class ErrorCode(StrEnum):
    """The codes of protocol section 6."""

    NOT_OWNER = "NOT_OWNER"
    MOVED = "MOVED"
    DRAINING = "DRAINING"
    LEASE_LOST = "LEASE_LOST"
    SHUTDOWN = "SHUTDOWN"
    TICKET_EXPIRED = "TICKET_EXPIRED"
    TICKET_INVALID = "TICKET_INVALID"
    SLOW = "SLOW"
    BUSY = "BUSY"
    RATE_LIMITED = "RATE_LIMITED"
    SLOW_MODE = "SLOW_MODE"
    FROZEN = "FROZEN"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    OWNER_UNCONFIRMED = "OWNER_UNCONFIRMED"
    NO_NODES = "NO_NODES"
    MUTED = "MUTED"
    MODE_CLOSED = "MODE_CLOSED"
    BAD_REQUEST = "BAD_REQUEST"
    TOO_LARGE = "TOO_LARGE"
    UNSUPPORTED = "UNSUPPORTED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    KICKED = "KICKED"
    BANNED = "BANNED"
    ROOM_CLOSED = "ROOM_CLOSED"
    ROOM_FULL = "ROOM_FULL"

    @property
    def action(self) -> Action:
        return _ACTIONS[self]

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later: here (retry) or elsewhere (reroute)."""
        return self.action in (Action.RETRY, Action.REROUTE)

    @property
    def http_status(self) -> int:
        return _HTTP_STATUS[self]


_BY_ACTION = {
    Action.REROUTE: "NOT_OWNER MOVED DRAINING LEASE_LOST SHUTDOWN TICKET_EXPIRED TICKET_INVALID SLOW",
    Action.RETRY: "BUSY RATE_LIMITED SLOW_MODE FROZEN STORE_UNAVAILABLE OWNER_UNCONFIRMED NO_NODES",
    Action.STAY: "MUTED MODE_CLOSED",
    Action.FIX: "BAD_REQUEST TOO_LARGE UNSUPPORTED",
    Action.STOP: "UNAUTHENTICATED FORBIDDEN KICKED BANNED ROOM_CLOSED ROOM_FULL",
}
_ACTIONS = {ErrorCode(code): action for action, codes in _BY_ACTION.items() for code in codes.split()}

_BY_STATUS = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED TICKET_EXPIRED TICKET_INVALID",
    403: "FORBIDDEN KICKED BANNED MUTED MODE_CLOSED ROOM_FULL",
    404: "UNSUPPORTED",
    409: "NOT_OWNER MOVED",
    410: "ROOM_CLOSED",
    413: "TOO_LARGE",
    429: "RATE_LIMITED SLOW_MODE",
    503: "DRAINING LEASE_LOST SHUTDOWN SLOW BUSY FROZEN STORE_UNAVAILABLE OWNER_UNCONFIRMED NO_NODES",
}
_HTTP_STATUS = {ErrorCode(code): status for status, codes in _BY_STATUS.items() for code in codes.split()}


class ErrorDetail(msgspec.Struct, frozen=True):
    """The inside of the error shape."""

    code: str
    message: str
    action: str
    temporary: bool
    retry_after_ms: int


class ErrorShape(msgspec.Struct, frozen=True):
    """`{"ok": false, "error": {...}}`: an HTTP body, an ack, or the data of a refused connection."""

    error: ErrorDetail
    ok: bool = False


class Refusal(Exception):
    """Something that was asked for is refused.

    `message` is for people and names what to do; `retry_after_ms` is a lower bound for the next try (0: at once
    where the action allows it).
    """

    def __init__(self, code: ErrorCode, message: str, *, retry_after_ms: int = 0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms

    @property
    def shape(self) -> ErrorShape:
        code = self.code
        return ErrorShape(ErrorDetail(code, self.message, code.action, code.is_temporary, self.retry_after_ms))


class ControlPathUnavailable(Exception):
    """Redis cannot be reached or did not answer in time: nothing is known, which is not the same as a loss."""
