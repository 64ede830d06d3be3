"""An identity: who asks for a room, as the platform's token says or, in demo mode, as they say themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any

import jwt
import msgspec

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import MAX_NAME_LENGTH, Role, RoomId, UserId, printable_of, user_id_of

LEEWAY_MS = 10_000
_MAX_TOKEN_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is. `rooms` are patterns (`*`, `?`, `[...]`) of rooms that they may enter, None: all."""

    user: UserId
    name: str
    role: Role
    rooms: tuple[str, ...] | None = None

    def check_may_enter(self, room: RoomId) -> None:
        """Raises Refusal with FORBIDDEN unless a pattern fits."""
        if self.rooms is not None and not any(fnmatchcase(room, pattern) for pattern in self.rooms):
            raise Refusal(ErrorCode.FORBIDDEN, f"your token does not cover the room {room}")


class _Claims(msgspec.Struct, frozen=True):
    sub: Annotated[str, msgspec.Meta(min_length=1)]
    name: str | None = None
    role: str = Role.STUDENT.value
    rooms: list[str] | None = None
    exp: float | None = None
    nbf: float | None = None


class DemoIdentities:
    """Demo mode: everybody is who they say (`user=`, `name=`, `role=`); who says nothing is a guest."""

    def __init__(self, *, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes

    def identity_of(self, query: Mapping[str, str], authorization: str | None, *, now_ms: int) -> Identity:
        """Raises Refusal with BAD_REQUEST for a user, name or role that cannot be."""
        asked = query.get("user", "")
        user = user_id_of(asked) if asked else UserId(f"guest-{self._random_bytes(3).hex()}")
        if user is None:
            raise Refusal(ErrorCode.BAD_REQUEST, "user must be 1 to 128 printable characters")
        return _identity(user, query.get("name") or None, query.get("role") or Role.STUDENT.value, None)


class PlatformIdentities:
    """A token that the platform signed: `sub`, and optionally `name`, `role`, `rooms`, `exp`, `nbf` (seconds).

    Times are compared with Redis' time, which the caller gives. Raises ValueError for an algorithm without a key.
    """

    def __init__(self, key: str, *, algorithm: str) -> None:
        if algorithm not in jwt.algorithms.get_default_algorithms() or algorithm == "none":
            raise ValueError(f"unknown algorithm for the platform's tokens: {algorithm}")
        self._key = key
        self._algorithm = algorithm
        self._jwt = jwt.PyJWS(algorithms=[algorithm])

    def identity_of(self, query: Mapping[str, str], authorization: str | None, *, now_ms: int) -> Identity:
        """Raises Refusal: UNAUTHENTICATED without a valid token, BAD_REQUEST if it says what cannot be."""
        claims = self._claims_of(bearer_of(authorization))
        if claims.exp is not None and now_ms > claims.exp * 1000 + LEEWAY_MS:
            raise _unauthenticated("the platform's token has expired; sign in again")
        if claims.nbf is not None and now_ms < claims.nbf * 1000 - LEEWAY_MS:
            raise _unauthenticated("the platform's token is not valid yet")
        user = user_id_of(claims.sub)
        if user is None:
            raise Refusal(ErrorCode.BAD_REQUEST, "the token's sub must be 1 to 128 printable characters")
        rooms = None if claims.rooms is None else tuple(claims.rooms)
        return _identity(user, claims.name, claims.role, rooms)

    def _claims_of(self, token: str | None) -> _Claims:
        if token is None:
            raise _unauthenticated("send the platform's token: Authorization: Bearer <JWT>")
        if len(token) > _MAX_TOKEN_LENGTH:
            raise _unauthenticated("the platform's token is too long")
        try:
            signed: dict[str, Any] = self._jwt.decode_complete(token, self._key, algorithms=[self._algorithm])
            return msgspec.json.decode(signed["payload"], type=_Claims)
        except (jwt.InvalidTokenError, jwt.InvalidKeyError, msgspec.DecodeError, UnicodeError) as error:
            raise _unauthenticated("this is no valid token of the platform; sign in again") from error


Identities = DemoIdentities | PlatformIdentities


def bearer_of(authorization: str | None) -> str | None:
    """The token of an `Authorization: Bearer` header, None if there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _identity(user: UserId, name: str | None, role: str, rooms: tuple[str, ...] | None) -> Identity:
    shown = printable_of(user if name is None else name, max_length=MAX_NAME_LENGTH)
    if shown is None and name is None:
        shown = user[:MAX_NAME_LENGTH].strip()
    if shown is None:
        raise Refusal(ErrorCode.BAD_REQUEST, f"name must be 1 to {MAX_NAME_LENGTH} printable characters")
    try:
        return Identity(user, shown, Role(role), rooms)
    except ValueError:
        raise Refusal(ErrorCode.BAD_REQUEST, f"role must be one of {', '.join(Role)}") from None


def _unauthenticated(message: str) -> Refusal:
    return Refusal(ErrorCode.UNAUTHENTICATED, message)
