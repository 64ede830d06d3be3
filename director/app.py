"""The director's composition root: reads the environment and the clocks, builds the parts, and runs them.

`python -m director.app` serves until SIGTERM or SIGINT. It starts while Redis is down and keeps trying.
"""

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import structlog
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware

from director.admin import admin_routes
from director.admin_desk import AdminDesk
from director.answers import answer_errors
from director.contract.clock import FleetClock
from director.contract.lease import NodeState
from director.contract.ownership import Interrupted, NodeChanged, Notice, OrdersChanged
from director.coroner import Coroner
from director.drains import Drains
from director.event_stream import EventStream
from director.failover_redis import RedisVerdicts
from director.fleet_feed import FleetFeed
from director.fleet_view import FleetView
from director.http_server import CuttableHttp, HttpServer
from director.identity import DemoIdentities, Identities, PlatformIdentities
from director.leases_redis import RedisNodeLeases
from director.logs import know_incarnation, set_up_logs
from director.metrics import DirectorMetrics, Watched
from director.mover import Mover
from director.notes import Notes
from director.openapi import document_routes
from director.operation_run import Means
from director.operations_desk import OperationsDesk
from director.operations_redis import RedisOperations
from director.operators import operators_of
from director.orders_redis import RedisOrders
from director.origin_gate import OriginGate
from director.ownership_redis import RedisRoomOwners
from director.pages import WEB, pages
from director.planning import Planner
from director.probe import HttpNodeProbe
from director.redis_client import HallRedis
from director.route_answers import FrontDesk, RouteAnswers
from director.route_door import route_door
from director.router import Router
from director.routes import routes
from director.settings import DirectorSettings, words_of
from director.steward import Steward
from director.ticket_jwt import JwtTicketBook, ticket_key_of

CLOSE_WITHIN = 1
SWITCH_EVERY = 0.001
"""Seconds for which the loop may keep a probe's thread waiting: that of a node that died, while its members ask."""
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
        verdicts = RedisVerdicts(self._lease_redis)
        orders, operations = RedisOrders(self._redis), RedisOperations(self._redis)

        def now_ms() -> int:
            return fleet_clock.now_ms(monotonic())

        self._notes = Notes(now_ms=now_ms)
        self._feed = FleetFeed(
            view,
            owners,
            leases,
            orders,
            fleet_clock,
            monotonic=monotonic,
            timings=timings,
            on_death=lambda: self._steward.wake(),
            on_notice=self._hear,
        )
        coroner = Coroner(
            view,
            leases,
            verdicts,
            monotonic=monotonic,
            on_death=lambda: self._steward.found_death(),
            on_finding=metrics.count_finding,
        )
        probe = HttpNodeProbe(self._http, monotonic=monotonic)
        router = Router(view, owners, coroner, probe, self._feed, monotonic=monotonic, on_claim=metrics.count_claim)
        name = self.name = secrets.token_hex(8)
        planner = Planner(view, now_ms=now_ms)
        means = Means(
            mover=Mover(view, owners, monotonic=monotonic),
            operations=operations,
            monotonic=monotonic,
            now_ms=now_ms,
            on_move=metrics.count_move,
            on_end=metrics.count_operation,
        )
        self._operations = OperationsDesk(means, random_bytes=secrets.token_bytes)
        self._drains = Drains(view, self._operations, operations, orders, planner)
        self._steward = Steward(
            view, router, coroner, verdicts, orders, name=name, monotonic=monotonic, on_step=self._see_to_drains
        )
        self.events = EventStream(view, operations, self._notes, monotonic=monotonic, now_ms=now_ms)
        metrics.watch(
            Watched(
                is_steward=lambda: self._steward.is_steward,
                redis_age=lambda: self._feed.redis_age,
                settles_in=lambda: view.settles_in(monotonic()),
                streams=lambda: self.events.readers,
                running=lambda: len(self._operations.running),
            )
        )
        operators = operators_of(settings, now_ms=now_ms)
        self.desk = FrontDesk(
            view=view,
            router=router,
            tickets=JwtTicketBook(ticket_key_of(settings)),
            identities=_identities_of(settings),
            fleet_clock=fleet_clock,
            metrics=metrics,
            monotonic=monotonic,
            ticket_ttl=settings.ticket_ttl,
            operators=operators,
        )
        self.admin = AdminDesk(
            view=view,
            operators=operators,
            owners=owners,
            orders=orders,
            operations=operations,
            desk=self._operations,
            planner=planner,
            verdicts=verdicts,
            events=self.events,
            fleet_clock=fleet_clock,
            monotonic=monotonic,
        )

    def _hear(self, notice: Notice | Interrupted) -> None:
        if self.admin.fleet_clock.is_set:
            self._notes.hear(notice)
        has_drain = isinstance(notice, NodeChanged) and notice.lease.state is NodeState.DRAINING
        if has_drain or isinstance(notice, OrdersChanged):
            self._steward.wake()

    async def _see_to_drains(self) -> None:
        # Before Redis has told the time nothing can be said to have begun.
        if self.admin.fleet_clock.is_set:
            await self._drains.step()

    @asynccontextmanager
    async def running(self, on_crash: Callable[[], None]) -> AsyncIterator[None]:
        """Run the loops. One that breaks is a fault of ours: it is logged, and `on_crash` is to end the process."""
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = [
                    tasks.create_task(_supervised(self._feed.follow, on_crash), name="notices"),
                    tasks.create_task(_supervised(self._feed.poll, on_crash), name="leases"),
                    tasks.create_task(_supervised(self._steward.run, on_crash), name="steward"),
                    tasks.create_task(_supervised(self._operations.run, on_crash), name="operations"),
                    tasks.create_task(_supervised(self.events.run, on_crash), name="events"),
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

    answers = RouteAnswers(director.desk)
    app = Starlette(
        routes=[*routes(director.desk, answers), *admin_routes(director.admin), *document_routes(), *pages(web)],
        middleware=[Middleware(OriginGate, origins=settings.origins)],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.director = director.name
    app.state.door = route_door(answers, origins=settings.origins, make_stock=CuttableHttp)
    app.state.close_streams = director.events.close
    answer_errors(app)
    return app


async def serve(settings: DirectorSettings) -> bool:
    """Serve until a signal says to stop; answers whether that, and not a crash, was the end."""
    app = build_app(settings, on_crash=lambda: server.crash())
    know_incarnation(lambda: str(app.state.director))
    config = uvicorn.Config(
        app,
        host=settings.director_host,
        port=settings.director_port,
        http=app.state.door,
        ws="none",
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=CLOSE_WITHIN,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = HttpServer(config, on_shutdown=app.state.close_streams)
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
    set_up_logs("director", form=settings.log_format, level=settings.log_level)
    sys.setswitchinterval(SWITCH_EVERY)
    if not asyncio.run(serve(settings)):
        sys.exit(1)


if __name__ == "__main__":
    main()
