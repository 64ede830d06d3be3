"""The director's admin interface (protocol, section 2): for operators, who are known by their token."""

import hmac
from dataclasses import dataclass

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from director.answers import RETRY_LATER_MS, json_answer
from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.failover import VERDICT_WINDOW, Verdicts
from director.identity import bearer_of
from director.settings import DirectorSettings
from director.shared_secret import ADMIN_TOKEN, shared_secret

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Operators:
    """Who is an operator: whoever shows the token; without one nobody is."""

    token: str

    def has(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header is an operator's."""
        shown = bearer_of(authorization)
        return bool(shown and self.token) and hmac.compare_digest((shown or "").encode(), self.token.encode())

    def check(self, authorization: str | None) -> None:
        """Raises Refusal unless it is."""
        if not self.token:
            raise Refusal(ErrorCode.FORBIDDEN, "this director has no operators: set HALL_ADMIN_TOKEN")
        if not self.has(authorization):
            raise Refusal(ErrorCode.UNAUTHENTICATED, "this takes the operators' token: Authorization: Bearer TOKEN")


def operators_of(settings: DirectorSettings) -> Operators:
    """The operators by HALL_ADMIN_TOKEN, else in demo mode by the token in `{data}/admin.token`."""
    if settings.admin_token or not settings.demo:
        return Operators(settings.admin_token)
    return Operators(shared_secret(settings.data, ADMIN_TOKEN))


class ResumeAnswer(msgspec.Struct, frozen=True):
    """What `POST /admin/failover/resume` answers: how many lapsed nodes wait, and how long nothing is held back."""

    waiting: int
    lifted_for_ms: int
    ok: bool = True


def admin_routes(operators: Operators, verdicts: Verdicts) -> list[BaseRoute]:
    """The admin interface."""

    async def resume(request: Request) -> Response:
        operators.check(request.headers.get("authorization"))
        try:
            waiting = await verdicts.resume()
        except ControlPathUnavailable as error:
            message = "Redis does not answer, and it counts the verdicts; ask again"
            raise Refusal(ErrorCode.BUSY, message, retry_after_ms=RETRY_LATER_MS) from error
        log.warning("failover_resumed", waiting=waiting)
        return json_answer(ResumeAnswer(waiting, round(VERDICT_WINDOW * 1000)))

    return [Route("/admin/failover/resume", resume, methods=["POST"])]
