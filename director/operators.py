"""Operators: who may use the admin interface. They show a token, or a session that was opened with it.

A session is a cookie, for pages: an EventSource cannot send headers. It is signed with the token, so every director
that knows the token knows the session, and ends after twelve hours by Redis' clock. A cookie is sent by the browser
whatever page asks, so what it authorises must come from the director's own pages (RFC 6454); a token is never sent
unasked.
"""

import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from director.answers import RETRY_LATER_MS
from director.contract.errors import ErrorCode, Refusal
from director.identity import bearer_of
from director.settings import DirectorSettings
from director.shared_secret import ADMIN_TOKEN, shared_secret

COOKIE = "hall_admin"
COOKIE_PATHS = ("/admin", "/operations")
SESSION_FOR = 12 * 3600.0
_READING = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Session:
    """What a browser keeps of a session, and how long it is good for."""

    cookie: str = field(repr=False)
    left_ms: int


@dataclass(frozen=True, slots=True)
class Operators:
    """Who is an operator: whoever shows the token or a session; without a token nobody is.

    `own_origins` are those under which browsers see this director, and `now_ms` is Unix time by Redis' clock; it raises
    LookupError while that is unknown, and then no session is good.
    """

    token: str
    own_origins: Collection[str] = ()
    now_ms: Callable[[], int] = field(default=lambda: _no_time())

    def has(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header is an operator's."""
        return self.is_token(bearer_of(authorization))

    def is_token(self, shown: str | None) -> bool:
        """Whether this is the token."""
        return bool(shown and self.token) and hmac.compare_digest((shown or "").encode(), self.token.encode())

    def check(self, request: Request) -> None:
        """Raises Refusal unless the request is an operator's, and one that a foreign page cannot have made."""
        if not self.token:
            raise Refusal(ErrorCode.FORBIDDEN, "this director has no operators: set HALL_ADMIN_TOKEN")
        if self.has(request.headers.get("authorization")):
            return
        if COOKIE not in request.cookies:
            message = (
                "this takes the operators' token: Authorization: Bearer TOKEN, or a session by POST /admin/session"
            )
            raise Refusal(ErrorCode.UNAUTHENTICATED, message)
        if self.session_left_ms(request) <= 0:
            raise Refusal(ErrorCode.UNAUTHENTICATED, "the session is over, or not one of this director: sign in again")
        self._check_own_page(request)

    def session_left_ms(self, request: Request) -> int:
        """How long the request's session is good for, 0 if it has none that is."""
        expires_at, _, signature = request.cookies.get(COOKIE, "").partition(".")
        if not self.token or not expires_at.isascii() or not expires_at.isdecimal() or len(expires_at) > 15:
            return 0
        if not hmac.compare_digest(signature.encode(), self._signature(expires_at).encode()):
            return 0
        return max(0, int(expires_at) - self._now_ms())

    def new_session(self) -> Session:
        """A session that begins now."""
        left_ms = round(SESSION_FOR * 1000)
        expires_at = str(self._now_ms() + left_ms)
        return Session(f"{expires_at}.{self._signature(expires_at)}", left_ms)

    def with_session(self, response: Response, session: Session) -> Response:
        """The answer, which gives the asker's browser that session."""
        for path in COOKIE_PATHS:
            response.set_cookie(
                COOKIE,
                session.cookie,
                max_age=session.left_ms // 1000,
                path=path,
                secure=self._is_secure,
                httponly=True,
                samesite="strict",
            )
        return response

    def without_session(self, response: Response) -> Response:
        """The answer, which lets the asker's browser forget its session."""
        for path in COOKIE_PATHS:
            response.delete_cookie(COOKIE, path=path, secure=self._is_secure, httponly=True, samesite="strict")
        return response

    def _check_own_page(self, request: Request) -> None:
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if origin is not None:
            is_own = origin in self.own_origins
        else:
            # Browsers leave the origin out of what only reads, and the newer ones say where the page is from.
            is_own = request.method in _READING if site is None else site in ("same-origin", "none")
        if not is_own:
            raise Refusal(ErrorCode.FORBIDDEN, "a session is good for the director's own pages only")

    @property
    def _is_secure(self) -> bool:
        return bool(self.own_origins) and all(origin.startswith("https:") for origin in self.own_origins)

    def _signature(self, expires_at: str) -> str:
        return hmac.digest(self.token.encode(), f"{COOKIE} {expires_at}".encode(), "sha256").hex()

    def _now_ms(self) -> int:
        try:
            return self.now_ms()
        except LookupError as error:
            message = "the director does not know Redis' time yet, by which sessions end; ask again"
            raise Refusal(ErrorCode.BUSY, message, retry_after_ms=RETRY_LATER_MS) from error


def operators_of(settings: DirectorSettings, *, now_ms: Callable[[], int]) -> Operators:
    """The operators by HALL_ADMIN_TOKEN, else in demo mode by the token in `{data}/admin.token`."""
    token = settings.admin_token
    if not token and settings.demo:
        token = shared_secret(settings.data, ADMIN_TOKEN)
    return Operators(token, settings.own_origins, now_ms)


def _no_time() -> int:
    raise LookupError("no clock was given")
