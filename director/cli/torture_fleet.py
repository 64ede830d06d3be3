"""TortureFleet: real processes whose every way to each other can be broken: Redis, directors and nodes with proxies.

clients -> proxy -> node -> proxy -> Redis
clients -> proxy -> a director that listens -> Redis directly, and -> proxy -> node for probes
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from director.cli.torture_doors import NodeDoors
from director.cli.torture_redis import LoneRedis, RedisSet, TortureRedis
from director.contract.ids import NodeName
from director.core.backoff import Backoff
from director.held_port import HOST, HeldPort
from director.lock_watch import ForeignHolder, KilledHolder, LockWatch
from director.shared_secret import ADMIN_TOKEN, shared_secret
from director.supervisor import Child, Died, Event, Ready, Started, Stopped, Supervisor
from loadtest.core.fault_plan import FaultKind
from loadtest.fault_proxy import FaultProxy
from loadtest.small_disk import SmallDisk
from loadtest.torture_ground import NotToday, StoreServer

NODES = tuple(NodeName(f"node-{number}") for number in (1, 2, 3))
DIRECTORS = ("director-1", "director-2")
START_WITHIN = 60.0
_READY_TIMEOUT = 2.0
_LOOK_EVERY = 0.05
_POSTGRES_PORT = 5432
_CUTTING_CLIENTS = frozenset({FaultKind.CUT_CLIENTS, FaultKind.VANISH})


class CannotStart(Exception):
    """The fleet did not come up; the message says what is missing."""


class TortureFleet:
    """Three nodes, two directors and a Redis of their own. `running` starts them and keeps them running.

    What `kinds` do not break is not made breakable, which would cost: a Redis set, proxies before nodes and store.
    `folder` gets logs and Redis' data; the store at `store_url` must be there. `first_nodes` are started first, the
    others by `complete`. `tell` hears of deaths.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kinds: Collection[FaultKind],
        store_url: str,
        store_file: Path | None,
        disk: SmallDisk | None,
        no_disk: str,
        store_server: StoreServer | None = None,
        first_nodes: Sequence[NodeName] = NODES,
        restart_after: float = Backoff().first,
        tell: Callable[[str], None],
    ) -> None:
        self.nodes: Sequence[NodeName] = NODES
        self.directors: Sequence[str] = DIRECTORS
        self.store_file, self.disk, self.no_disk = store_file, disk, no_disk
        self.store_server = store_server
        self._redis: TortureRedis = RedisSet() if FaultKind.REDIS_FAILOVER in kinds else LoneRedis()
        self.redis_servers: Sequence[str] = self._redis.processes
        self._may_cut_clients = not _CUTTING_CLIENTS.isdisjoint(kinds)
        self._may_cut_store = FaultKind.CUT_STORE in kinds and store_file is None
        self._first_nodes = first_nodes
        self._restart_after = restart_after
        self._folder = folder
        self._store_url = store_url
        self._tell = tell
        self._pids: dict[str, int] = {}
        self._ready: set[str] = set()
        self._ports: dict[str, int] = {}
        self._doors: dict[NodeName, NodeDoors] = {}
        self._to_store: dict[NodeName, FaultProxy] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._front_door: FaultProxy | None = None
        self._start: Callable[[Child], None] = lambda child: None
        self._http: httpx.AsyncClient | None = None
        self.deaths = 0

    @property
    def director_url(self) -> str:
        """Where clients ask: a director that listens answers."""
        assert self._front_door is not None
        return f"http://{HOST}:{self._front_door.port}"

    @property
    def redis_url(self) -> str:
        """Redis as the directors reach it."""
        return self._redis.url

    @property
    def logs(self) -> Path:
        """The folder of what the processes write."""
        return self._folder / "logs"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TortureFleet"]:
        """All processes, ready; they end with the block. Use it in the main thread. Raises CannotStart, in a group."""
        async with AsyncExitStack() as stack:
            for name in (*DIRECTORS, *NODES):
                self._ports[name] = stack.enter_context(HeldPort()).port
            await self._redis.open(stack, self._folder, NODES)
            for node in NODES:
                if self._may_cut_store:
                    self._to_store[node] = await stack.enter_async_context(FaultProxy(_place_of(self._store_url)))
                self._doors[node] = await stack.enter_async_context(NodeDoors((HOST, self._ports[node])))
                self.step_clock(node, 0)
            self._front_door = FaultProxy(*((HOST, self._ports[name]) for name in DIRECTORS))
            await stack.enter_async_context(self._front_door)
            self._http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
            tasks = self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            backoff = Backoff(first=self._restart_after, longest=max(self._restart_after, Backoff().longest))
            supervisor = Supervisor(
                self.logs, tasks=tasks, on_event=self._on_event, on_line=lambda child, line: None, backoff=backoff
            )
            self._start = supervisor.start
            try:
                await self._come_up()
                watching = [tasks.create_task(self._watch(supervisor, self.store_file))] if self.store_file else []
                yield self
                for task in watching:
                    task.cancel()
            finally:
                await supervisor.stop()

    # --- the ground under torture

    async def complete(self) -> None:
        await self._started([self._node(node) for node in NODES if node not in self._first_nodes])

    def pid_of(self, process: str) -> int:
        if process not in self._pids:
            raise NotToday(f"{process} is not running")
        return self._pids[process]

    def ways_to_redis(self, node: NodeName) -> Sequence[FaultProxy]:
        return self._redis.ways_of(node)

    def to_store(self, node: NodeName) -> FaultProxy:
        if node not in self._to_store:
            raise NotToday("the store is a file")
        return self._to_store[node]

    def to_node(self, node: NodeName) -> FaultProxy:
        return self._doors[node].for_clients

    def to_probe(self, node: NodeName) -> FaultProxy:
        return self._doors[node].for_probes

    def step_clock(self, node: NodeName, offset_ms: int) -> None:
        new = self._clock_of(node).with_suffix(".new")
        new.write_text(str(offset_ms))
        new.replace(self._clock_of(node))

    async def flush_redis(self) -> None:
        await self._redis.flush()

    def forget_redis(self) -> None:
        self._redis.forget()

    async def fail_redis_over(self) -> None:
        await self._redis.fail_over(lambda name: self._signal(name, signal.SIGSTOP))

    async def end_redis_failover(self) -> None:
        await self._redis.end_failover(lambda name: self._signal(name, signal.SIGCONT))

    async def operate(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        assert self._http is not None
        token = shared_secret(self._folder, ADMIN_TOKEN)
        url, headers = f"{self.director_url}{path}", {"Authorization": f"Bearer {token}"}
        try:
            answer = await self._http.request(method, url, headers=headers, json=body, timeout=_READY_TIMEOUT)
        except httpx.TransportError as error:
            raise NotToday(f"no director answered: {error!r}") from error
        if answer.status_code != httpx.codes.OK:
            raise NotToday(answer.text)
        return answer.json()

    # --- its processes

    def _signal(self, name: str, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid_of(name), number)

    def _clock_of(self, node: NodeName) -> Path:
        return self._folder / f"{node}.clock"

    async def _come_up(self) -> None:
        await self._started(self._redis.children())
        await self._redis.settled()
        directors = [
            self._child(name, "director.app", {"HALL_DIRECTOR_PORT": str(self._ports[name])}) for name in DIRECTORS
        ]
        await self._started([*directors, *(self._node(node) for node in self._first_nodes)])

    async def _started(self, children: Sequence[Child]) -> None:
        """Start them, and wait until all are ready."""
        for child in children:
            self._start(child)
        names = {child.name for child in children}
        try:
            async with asyncio.timeout(START_WITHIN):
                while not names <= self._ready:  # noqa: ASYNC110 (the supervisor's callback tells, and nobody else)
                    await asyncio.sleep(_LOOK_EVERY)
        except TimeoutError:
            late = ", ".join(sorted(names - self._ready))
            raise CannotStart(f"not ready within {START_WITHIN:.0f} s: {late}; their logs are in {self.logs}") from None

    async def _watch(self, supervisor: Supervisor, store: Path) -> None:
        def overdue(holder: KilledHolder | ForeignHolder) -> None:
            match holder:
                case KilledHolder(name, pid):
                    self._tell(f"{name} (pid {pid}) held the store's lock for too long and was killed")
                case ForeignHolder():
                    pass  # one of the faults

        await LockWatch(store, kill=supervisor.kill, on_overdue=overdue).run()

    def _node(self, node: NodeName) -> Child:
        direct, doors = f"http://{HOST}:{self._ports[node]}", self._doors[node]
        settings = {
            "HALL_NODE_NAME": node,
            "HALL_NODE_HOST": HOST,
            "HALL_NODE_PORT": str(self._ports[node]),
            "HALL_NODE_URL": f"http://{HOST}:{doors.for_clients.port}" if self._may_cut_clients else direct,
            "HALL_NODE_PROBE_URL": f"http://{HOST}:{doors.for_probes.port}" if self._may_cut_clients else direct,
            "HALL_REDIS_URL": self._redis.url_of(node),
            "HALL_STORE_URL": self._store_url_of(node),
            "HALL_TEST_CLOCK": str(self._clock_of(node)),
        }
        # on SIGTERM a node gives its rooms away first: where all end there is nobody to take them
        return replace(self._child(node, "shard_node.app", settings), end_signal=signal.SIGINT)

    def _store_url_of(self, node: NodeName) -> str:
        way = self._to_store.get(node)
        return self._store_url if way is None else _by_way(self._store_url, way)

    def _child(self, name: str, module: str, settings: Mapping[str, str]) -> Child:
        url = f"http://{HOST}:{self._ports[name]}"

        async def ready(pid: int) -> bool:
            assert self._http is not None
            try:
                answer = await self._http.get(f"{url}/readyz", timeout=_READY_TIMEOUT)
            except httpx.TransportError:
                return False
            return answer.status_code == httpx.codes.OK

        shared = {
            "HALL_DEMO": "1",
            "HALL_DATA": str(self._folder),
            "HALL_DIRECTOR_HOST": HOST,
            "HALL_DIRECTOR_URL": self.director_url,
            "HALL_REDIS_URL": self._redis.url,
        }
        return Child(name, (sys.executable, "-m", module), ready, url, env={**shared, **settings})

    def _on_event(self, event: Event) -> None:
        name = event.child.name
        match event:
            case Started(pid=pid):
                self._pids[name] = pid
                if name in self._doors and self._tasks is not None:
                    self._tasks.create_task(self._doors[NodeName(name)].mind(pid))
            case Ready():
                self._ready.add(name)
            case Died(status=status, lived=lived, restart_after=restart_after):
                del self._pids[name]
                self._ready.discard(name)
                self.deaths += 1
                self._tell(f"{name} ended ({status}) after {lived:.1f} s, again in {restart_after:.1f} s")
            case Stopped():
                self._pids.pop(name, None)


def _place_of(url: str) -> tuple[str, int]:
    """Where the server of a store is."""
    parts = urlsplit(url)
    return parts.hostname or HOST, parts.port or _POSTGRES_PORT


def _by_way(url: str, way: FaultProxy) -> str:
    """The same store, reached by a proxy."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}{at}{HOST}:{way.port}"))
