"""The director's composition root: reads the environment and the clocks, builds the parts, and runs them.

`python -m director.app` serves until SIGTERM or SIGINT. It starts while Redis is down and keeps trying.
"""

import asyncio
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import structlog
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware

from director.admin import admin_routes, operators_of
from director.answers import answer_errors
from director.contract.clock import FleetClock
from director.coroner import Coroner
from director.entrance import open_entrances
from director.failover_redis import RedisVerdicts
from director.fleet_feed import FleetFeed
from director.fleet_view import FleetView
from director.identity import DemoIdentities, Identities, PlatformIdentities
from director.leases_redis import RedisNodeLeases
from director.logs import set_up_logs
from director.metrics import DirectorMetrics
from director.origin_gate import OriginGate
from director.ownership_redis import RedisRoomOwners
from director.pages import WEB, pages
from director.probe import HttpNodeProbe
from director.redis_client import HallRedis
from director.router import Router
from director.routes import FrontDesk, RouteFirst, routes
from director.settings import DirectorSettings, words_of
from director.steward import Steward
from director.ticket_jwt import JwtTicketBook, ticket_key_of

CLOSE_WITHIN = 1
# Nobody's lease hangs on a director's calls: a late answer is worth more to those who wait than an early refusal.
REDIS_SILENCE = 1.0

log = structlog.get_logger(__name__)


class Director:
    """All parts of one director, built from settings; `running` keeps its picture of the fleet up to date."""

    def __init__(self, settings: DirectorSettings) -> None:
        monotonic = time.monotonic
        fleet_clock = FleetClock()
        view = FleetView()
        timings = settings.timings
        metrics = DirectorMetrics(view, timings=timings.fingerprint)
        # Rooms and leases each have their own connections: a crowd of claims must not hold up the reading of leases.
        self._redis, self._lease_redis = (
            HallRedis(
                settings.redis_url, random_bytes=secrets.token_bytes, silence=REDIS_SILENCE, settle=timings.settle
            )
            for _ in range(2)
        )
        self._http = httpx.Client(trust_env=False, follow_redirects=False)
        owners, leases = RedisRoomOwners(self._redis), RedisNodeLeases(self._lease_redis)
        self.verdicts = RedisVerdicts(self._lease_redis)
        self._feed = FleetFeed(
            view,
            owners,
            leases,
            fleet_clock,
            monotonic=monotonic,
            timings=timings,
            on_death=lambda: self._steward.wake(),
        )
        coroner = Coroner(
            view,
            leases,
            self.verdicts,
            monotonic=monotonic,
            on_death=lambda: self._steward.found_death(),
            on_finding=metrics.count_finding,
        )
        probe = HttpNodeProbe(self._http, monotonic=monotonic)
        router = Router(view, owners, coroner, probe, self._feed, monotonic=monotonic, on_claim=metrics.count_claim)
        name = secrets.token_hex(8)
        self._steward = Steward(view, router, coroner, self.verdicts, name=name, monotonic=monotonic)
        self.operators = operators_of(settings)
        self.desk = FrontDesk(
            view=view,
            router=router,
            tickets=JwtTicketBook(ticket_key_of(settings)),
            identities=_identities_of(settings),
            fleet_clock=fleet_clock,
            metrics=metrics,
            monotonic=monotonic,
            ticket_ttl=settings.ticket_ttl,
            operators=self.operators,
        )

    @asynccontextmanager
    async def running(self, on_crash: Callable[[], None]) -> AsyncIterator[None]:
        """Run the loops. One that breaks is a fault of ours: it is logged, and `on_crash` is to end the process."""
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = [
                    tasks.create_task(_supervised(self._feed.follow, on_crash), name="notices"),
                    tasks.create_task(_supervised(self._feed.poll, on_crash), name="leases"),
                    tasks.create_task(_supervised(self._steward.run, on_crash), name="steward"),
                ]
                yield
                for loop in loops:
                    loop.cancel()
            await self._steward.resign()
        finally:
            self._http.close()
            await self._redis.close()
            await self._lease_redis.close()


async def _supervised(run: Callable[[], Awaitable[None]], on_crash: Callable[[], None]) -> None:
    try:
        await run()
    except Exception:
        log.exception("loop_crashed")
        on_crash()


def _identities_of(settings: DirectorSettings) -> Identities:
    if settings.demo:
        return DemoIdentities(random_bytes=secrets.token_bytes)
    return PlatformIdentities(settings.platform_key, algorithm=settings.platform_algorithm)


def build_app(settings: DirectorSettings, *, web: Path = WEB, on_crash: Callable[[], None] = lambda: None) -> Starlette:
    """The director as an ASGI application; its lifespan runs the loops."""
    director = Director(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with director.running(on_crash):
            yield

    gate, first = Middleware(OriginGate, origins=settings.origins), Middleware(RouteFirst, desk=director.desk)
    app = Starlette(
        routes=[*routes(director.desk), *admin_routes(director.operators, director.verdicts), *pages(web)],
        middleware=[gate, first],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    answer_errors(app)
    return app


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals, which ends the process by the signal once more. It accepts by our
    own entrance."""

    has_crashed = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        open_entrances(self, lambda error: log.error("connections_exhausted", why=str(error)))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True

    def crash(self) -> None:
        self.has_crashed = True
        self.stop()


async def serve(settings: DirectorSettings) -> bool:
    """Serve until a signal says to stop; answers whether that, and not a crash, was the end."""
    config = uvicorn.Config(
        build_app(settings, on_crash=lambda: server.crash()),
        host=settings.director_host,
        port=settings.director_port,
        http="httptools",
        ws="none",
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=CLOSE_WITHIN,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    log.info("director_starting", host=settings.director_host, port=settings.director_port, demo=settings.demo)
    await server.serve()
    log.info("director_stopped")
    return not server.has_crashed


def main() -> None:
    """`python -m director.app`"""
    try:
        settings = DirectorSettings()
    except ValidationError as error:
        raise SystemExit(f"director: {words_of(error)}") from None
    set_up_logs("director")
    if not asyncio.run(serve(settings)):
        sys.exit(1)


if __name__ == "__main__":
    main()
