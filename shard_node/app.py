"""The node's composition root: reads the environment and the clocks, builds the parts, and runs them.

Stopping: give the rooms away (on SIGTERM), admit nobody, give the lease up (others can claim at once), settle what
waits for the store, say `bye`, and only then close the listener.
"""

import asyncio
import gc
import logging
import secrets
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import socketio
import structlog
from pydantic import ValidationError
from starlette.types import ASGIApp

from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode
from director.contract.ids import Incarnation, LogId, NodeName, new_incarnation
from director.contract.lease import NodeLease
from director.entrance import open_entrances
from director.leases_redis import RedisNodeLeases
from director.logs import know_incarnation, set_up_logs
from director.ownership_redis import RedisRoomOwners
from director.redis_client import HallRedis
from director.settings import words_of
from director.ticket_jwt import JwtTicketBook, ticket_key_of
from persistence.contract.store import StoreUnavailable
from persistence.migrate import schema_problem, upgrade
from persistence.store_sql import SqlStore, open_sql_store
from persistence.writer import BatchWriter, WriterLimits
from shard_node.arrivals import Arrivals
from shard_node.core.admission import Budgets
from shard_node.core.lag import LagProbe
from shard_node.departures import Departures
from shard_node.drain import Drain
from shard_node.fanout.door import Sessions
from shard_node.fanout.server import HallServer
from shard_node.gateway import RoomGateway
from shard_node.health import OriginCheck, health_app
from shard_node.host import RoomHost
from shard_node.housekeeping import Housekeeping
from shard_node.lease_keeper import LeaseKeeper
from shard_node.listener import Listener
from shard_node.metrics import NodeMetrics
from shard_node.openapi import document_routes
from shard_node.ownership_watch import OwnershipWatch
from shard_node.room_messages import RoomMessages
from shard_node.row_watch import RowWatch
from shard_node.settings import NodeSettings

SETTLE_WITHIN = 2.0
BYE_WITHIN = 0.5

_log = structlog.get_logger()


class Node:
    """One node, built around the adapters; `serve` runs it until `stop` is called."""

    def __init__(self, settings: NodeSettings, store: SqlStore, lease_redis: HallRedis, redis: HallRedis) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._draining = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._spawned: set[asyncio.Task[None]] = set()
        now = time.monotonic
        clock = FleetClock()
        lag = LagProbe(now())
        budgets = Budgets(now())
        tickets = JwtTicketBook(ticket_key_of(settings))
        owners = RedisRoomOwners(redis)
        self.writer = BatchWriter(
            store,
            on_settled=lambda settled: self.host.settled(settled),
            wall_ms=_wall_ms if settings.test_clock is None else _OffsetClock(settings.test_clock),
            now=now,
            pace_of=lambda room: self.host.pace_of(room),
            limits=WriterLimits(max_waiting=settings.max_waiting),
        )
        self.host = RoomHost(
            node=NodeName(settings.node_name),
            log=store,
            history=store,
            owners=owners,
            writer=self.writer,
            now=now,
            cpu=time.thread_time,
            new_log=lambda: LogId(secrets.token_hex(8)),
            may_open=lambda: self.keeper.may_open(),
            end=lambda connection: connection.end(),
        )
        self.keeper = LeaseKeeper(
            _lease_of(settings),
            leases=RedisNodeLeases(lease_redis),
            owners=owners,
            host=self.host,
            clock=clock,
            timings=settings.timings,
            now=now,
            new_incarnation=_new_incarnation,
            joins_per_second=lambda: budgets.meter.rate,
        )
        gateway = RoomGateway(
            host=self.host,
            history=store,
            tickets=tickets,
            clock=clock,
            now=now,
            may_admit=self.keeper.may_admit,
            is_stopping=self._stopping.is_set,
            lag=lag,
            budgets=budgets,
            spawn=self._spawn,
        )
        self._server = HallServer(
            gateway,
            origins=settings.origins,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            direct=settings.fanout == "direct",
        )
        self._sessions = Sessions(
            gateway,
            path=settings.node_path,
            origins=settings.origins,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            now=now,
            random_bytes=secrets.token_bytes,
        )
        self._messages = RoomMessages(gateway.read_history, beside=settings.node_path)
        leases = RedisNodeLeases(redis)
        departures = Departures(
            host=self.host,
            owners=owners,
            log=store,
            leases=leases,
            tickets=tickets,
            clock=clock,
            now=now,
            spawn=self._spawn,
        )
        arrivals = Arrivals(
            self.host,
            owners,
            store,
            may_come=lambda: self.keeper.may_open() and not self._draining.is_set(),
            spawn=self._spawn,
        )
        self._watch = OwnershipWatch(self.host, owners, self._spawn, arrivals=arrivals, departures=departures)
        self._drain = Drain(
            host=self.host,
            keeper=self.keeper,
            departures=departures,
            leases=leases,
            within=settings.drain_within,
            now=now,
        )
        self._row_watch = RowWatch(self.host)
        self._housekeeping = Housekeeping(
            self.host,
            now=now,
            lag=lag,
            slowest_commit=self.writer.take_slowest,
            learn=_Lesson(budgets, gateway),
            linger=settings.room_linger,
        )
        self._metrics = NodeMetrics(
            self.host, self.keeper, lag, budgets, self.writer.tally, waiting=lambda: self.writer.waiting
        )

    def stop(self) -> None:
        """Begin an orderly end; idempotent."""
        self._stopping.set()

    def drain(self) -> None:
        """Give the rooms away, and then end; at once when this is called again."""
        if self._draining.is_set():
            self.stop()
        self._draining.set()

    async def serve(self) -> None:
        """Run until stopped. Raises what breaks a part that cannot go on without: the supervisor starts a new node."""
        listener = self._listener()
        async with self._tasks:
            background = [
                self._tasks.create_task(run, name=name)
                for name, run in {
                    "listener": listener.serve(),
                    "sessions": self._sessions.run(),
                    "lease": self.keeper.run(),
                    "ownership watch": self._watch.run(),
                    "row watch": self._row_watch.run(),
                    "writer": self.writer.run(),
                    "housekeeping": self._housekeeping.run(),
                    "drain": self._end_drained(),
                }.items()
            ]
            await self._stopping.wait()
            await self._say_goodbye()
            listener.should_exit = True
            await background[0]
            for task in (*background[1:], *self._spawned):
                task.cancel()

    async def _end_drained(self) -> None:
        await self._draining.wait()
        await self._drain.run()
        self.stop()

    async def _say_goodbye(self) -> None:
        _log.info("node_stopping", rooms=len(self.host))
        await self.keeper.release()
        await self.writer.close(within=SETTLE_WITHIN)
        self.host.drop_all(ErrorCode.SHUTDOWN)
        self.host.farewells.end()
        await asyncio.sleep(BYE_WITHIN)

    def _listener(self) -> Listener:
        settings = self._settings
        health = health_app(
            lease=lambda: self.keeper.lease,
            unready=self._unready,
            figures=self._metrics.exposition,
            routes=(*self._messages.routes, *document_routes()),
        )
        app: ASGIApp = socketio.ASGIApp(
            self._server, other_asgi_app=health, socketio_path=settings.node_path.strip("/")
        )
        return Listener(
            OriginCheck(app, settings.origins),
            host=settings.node_host,
            port=settings.node_port,
            sessions=self._sessions if settings.fanout == "direct" else None,
            accept=open_entrances,
        )

    def _unready(self) -> str | None:
        if self._stopping.is_set():
            return "the node is stopping"
        if self._draining.is_set():
            return "the node gives its rooms away"
        return None if self.keeper.may_open() else "the node holds no confirmed lease: is Redis reachable?"

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await coroutine
            except Exception:  # noqa: BLE001 - it serves one client or one room: it must not end the node
                _log.exception("task_failed")

        task = self._tasks.create_task(run())
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)


class _Lesson:
    """What joins have cost since the last call."""

    def __init__(self, budgets: Budgets, gateway: RoomGateway) -> None:
        self._budgets = budgets
        self._gateway = gateway
        self._joins = 0
        self._cpu = time.process_time()
        self._at = time.monotonic()

    def __call__(self) -> None:
        joins, cpu, at = self._gateway.joins, time.process_time(), time.monotonic()
        self._budgets.learn(joins=joins - self._joins, cpu=cpu - self._cpu, span=at - self._at)
        self._joins, self._cpu, self._at = joins, cpu, at


async def run(settings: NodeSettings) -> None:
    """Run a node until SIGTERM, which lets it give its rooms away before, or SIGINT."""
    try:
        opened = open_sql_store(settings.store)
        lease_redis = HallRedis(settings.redis_url, random_bytes=secrets.token_bytes)
        redis = HallRedis(settings.redis_url, random_bytes=secrets.token_bytes)
    except ValueError as error:  # an address of a kind that we cannot use
        raise SystemExit(f"node {settings.node_name}: {error}") from None
    await _prepare_store(settings)
    async with opened as store:
        node = Node(settings, store, lease_redis, redis)
        know_incarnation(lambda: node.host.incarnation)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, node.drain)
        loop.add_signal_handler(signal.SIGINT, node.stop)
        try:
            await node.serve()
        finally:
            await lease_redis.close()
            await redis.close()


async def _prepare_store(settings: NodeSettings) -> None:
    try:
        if not settings.store_url:
            await upgrade(settings.store)  # our own file: nobody else would do it
        problem = await schema_problem(settings.store)
    except StoreUnavailable as error:
        problem = str(error).splitlines()[0]
    if problem is not None:
        raise SystemExit(f"node {settings.node_name}: {problem}")


def _lease_of(settings: NodeSettings) -> NodeLease:
    return NodeLease(
        node=NodeName(settings.node_name),
        incarnation=_new_incarnation(),
        url=settings.url,
        path=settings.node_path,
        probe_url=settings.probe_url,
        timings=settings.timings.fingerprint,
    )


def _new_incarnation() -> Incarnation:
    return new_incarnation(secrets.token_bytes)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class _OffsetClock:
    """The wall clock for tests, off by as many milliseconds as a file says at that moment."""

    def __init__(self, offset: Path) -> None:
        self._offset = offset

    def __call__(self) -> int:
        try:
            return _wall_ms() + int(self._offset.read_text())
        except (OSError, ValueError):  # not written yet, or just being written
            return _wall_ms()


def main() -> None:
    """`python -m shard_node.app`"""
    try:
        settings = NodeSettings()
    except ValidationError as error:
        raise SystemExit(f"node: {words_of(error)}") from None
    set_up_logs(settings.node_name, form=settings.log_format, level=settings.log_level)
    # what a stranger sends must not fill the log with tracebacks
    logging.getLogger("engineio.server").setLevel(logging.CRITICAL)
    # a node's objects live as long as its members: looking at all of them ever anew costs a fifth of a join
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    asyncio.run(run(settings))


if __name__ == "__main__":
    main()
