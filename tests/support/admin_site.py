"""The admin interface of a simulated director, asked over HTTP without a socket."""

import asyncio
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from director.admin import admin_routes
from director.admin_desk import AdminDesk
from director.answers import answer_errors
from director.operators import Operators
from director.origin_gate import OriginGate
from tests.support.moving_nodes import SimulatedDirector

TOKEN = "the-operators-token"
OWN = "http://127.0.0.1:8000"
LMS = "https://lms.example"


def admin_desk(director: SimulatedDirector, *, token: str = TOKEN, own: str = OWN) -> AdminDesk:
    clock = asyncio.get_running_loop().time

    def now_ms() -> int:
        return director.fleet_clock.now_ms(clock())

    return AdminDesk(
        view=director.view,
        operators=Operators(token, frozenset([own]), now_ms),
        owners=director.owners,
        orders=director.orders,
        operations=director.operations,
        desk=director.desk,
        planner=director.planner,
        verdicts=director.verdicts,
        events=director.events,
        fleet_clock=director.fleet_clock,
        monotonic=clock,
    )


class AdminSite:
    """An operator's client; `token=""` shows none. It asks `desk` where one is given."""

    def __init__(
        self,
        director: SimulatedDirector,
        *,
        token: str = TOKEN,
        own: str = OWN,
        known: str = TOKEN,
        desk: AdminDesk | None = None,
    ) -> None:
        self.desk = desk or admin_desk(director, token=known, own=own)
        gate = Middleware(OriginGate, origins=frozenset([own, LMS]))
        self.app = Starlette(routes=admin_routes(self.desk), middleware=[gate])
        answer_errors(self.app)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.AsyncClient(transport=transport, base_url=own, headers=headers)

    def routes(self) -> list[Route]:
        """All of the interface."""
        return [route for route in self.app.routes if isinstance(route, Route)]

    async def ask(self, method: str, path: str, body: object = None, *, status: int = 200) -> dict[str, Any]:
        """The answer, which has that status."""
        response = await self.http.request(method, path, json=body)
        answer: dict[str, Any] = response.json()
        assert response.status_code == status, answer
        assert answer["ok"] is (status == 200)
        return answer

    async def refused(self, method: str, path: str, body: object = None, *, status: int = 400) -> str:
        """What is said about a refusal."""
        answer = await self.ask(method, path, body, status=status)
        message: str = answer["error"]["message"]
        return message
