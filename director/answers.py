"""Answers over HTTP: JSON that nobody stores, and the error shape for all that fails (protocol, section 2)."""

from collections.abc import Mapping

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from director.contract.errors import ErrorCode, ErrorDetail, ErrorShape, Refusal

RETRY_LATER_MS = 1_000
NO_STORE = {"Cache-Control": "no-store"}
_encoder = msgspec.json.Encoder()


def json_answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as JSON."""
    return Response(_encoder.encode(body), status, {**NO_STORE, **(headers or {})}, media_type="application/json")


def refused(refusal: Refusal) -> Response:
    """A refusal as an HTTP answer; 429 and 503 say when to come again in whole seconds, rounded up."""
    status = refusal.code.http_status
    response = json_answer(refusal.shape, status)
    if status in (429, 503):
        response.headers["Retry-After"] = str(max(1, -(-refusal.retry_after_ms // 1000)))
    return response


def answer_errors(app: Starlette) -> None:
    """Let `app` answer what fails in the error shape: refusals, unknown paths and methods, our own faults."""
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_fault)


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        what = f"there is no {request.method} {request.url.path} here"
        shape = Refusal(ErrorCode.UNSUPPORTED, what).shape
    else:
        shape = Refusal(ErrorCode.BAD_REQUEST, error.detail).shape
    return json_answer(shape, error.status_code, error.headers)


async def _on_fault(request: Request, error: Exception) -> Response:
    return fault()


def fault() -> Response:
    """What is answered when the director itself fails."""
    code = ErrorCode.BUSY
    detail = ErrorDetail(code, "the director failed; it is in its log", code.action, True, RETRY_LATER_MS)
    return json_answer(ErrorShape(detail), 500)
