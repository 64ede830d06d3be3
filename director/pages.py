"""The web pages and their files: everything of director/web, from this origin and with nothing from elsewhere."""

import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).with_name("web")

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".ts": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


def _policy(connect: str) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "manifest-src 'self'",
            f"connect-src {connect}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


_HEADERS = {
    "Cache-Control": "no-cache",
    # The client talks to nodes, whose origins nobody knows beforehand.
    "Content-Security-Policy": _policy("'self' http: https: ws: wss:"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class _WebFiles(StaticFiles):
    """Files with an ETag that browsers ask about each time, their types told by us and not by the machine."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_HEADERS)
        media_type = _TYPES.get(Path(full_path).suffix)
        if media_type is not None and response.status_code == 200:
            response.headers["Content-Type"] = media_type
        return response


def pages(web: Path = WEB) -> list[BaseRoute]:
    """`/` is the classroom, `/operations` the operators' page, `/web/` all files of the folder `web`."""
    files = _WebFiles(directory=web, check_dir=False)

    async def classroom(request: Request) -> Response:
        return await files.get_response("classroom.html", request.scope)

    async def operations(request: Request) -> Response:
        response = await files.get_response("operations.html", request.scope)
        # What operators may do is asked of the director alone.
        response.headers["Content-Security-Policy"] = _policy("'self'")
        return response

    return [Route("/", classroom), Route("/operations", operations), Mount("/web", files)]
