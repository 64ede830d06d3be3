"""The session, to operators: opened with the token, so that a page can use the admin interface without keeping it."""

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from director.admin_desk import body_of
from director.answers import json_answer
from director.contract.admin import SessionAnswer, SessionBody
from director.contract.errors import ErrorCode, Refusal
from director.operators import Operators

# A token and its JSON: whoever sends it has not shown yet that they may send anything.
MAX_BODY = 4096

log = structlog.get_logger(__name__)


def session_routes(operators: Operators) -> list[BaseRoute]:
    """`/admin/session`: POST opens one, GET asks for it, DELETE ends it."""

    async def opened(request: Request) -> Response:
        if not operators.token:
            raise Refusal(ErrorCode.FORBIDDEN, "this director has no operators: set HALL_ADMIN_TOKEN")
        body = await body_of(request, SessionBody, at_most=MAX_BODY)
        if not operators.is_token(body.token):
            log.warning("sign_in_refused", client=request.client.host if request.client else None)
            raise Refusal(ErrorCode.UNAUTHENTICATED, "this is not the operators' token")
        session = operators.new_session()
        return operators.with_session(json_answer(SessionAnswer(session.left_ms)), session)

    async def session(request: Request) -> Response:
        return json_answer(SessionAnswer(operators.session_left_ms(request)))

    async def ended(request: Request) -> Response:
        return operators.without_session(json_answer(SessionAnswer(0)))

    return [
        Route("/admin/session", opened, methods=["POST"]),
        Route("/admin/session", session, methods=["GET"]),
        Route("/admin/session", ended, methods=["DELETE"]),
    ]
