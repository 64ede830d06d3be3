"""TortureFleet: real processes whose every way to each other can be broken: Redis, directors and nodes with proxies.

clients -> proxy -> node -> proxy -> Redis
clients -> proxy -> a director that listens; directors reach Redis, and nodes for probes, directly
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from shutil import rmtree

import httpx
from redis.asyncio import Redis

from director.contract.ids import NodeName
from director.embedded_redis import EmbeddedRedis, server_binary
from director.held_port import HOST, HeldPort
from director.lock_watch import ForeignHolder, KilledHolder, LockWatch
from director.supervisor import Child, Died, Event, Ready, Started, Stopped, Supervisor
from loadtest.core.fault_plan import REDIS
from loadtest.fault_proxy import FaultProxy
from loadtest.small_disk import SmallDisk
from loadtest.torture_faults import NotToday

NODES = tuple(NodeName(f"node-{number}") for number in (1, 2, 3))
DIRECTORS = ("director-1", "director-2")
START_WITHIN = 60.0
_READY_TIMEOUT = 2.0
_FLUSH_TIMEOUT = 3.0
_LOOK_EVERY = 0.05


class CannotStart(Exception):
    """The fleet did not come up; the message says what is missing."""


class TortureFleet:
    """Three nodes, two directors and a Redis of their own. `running` starts them and keeps them running.

    `folder` gets logs and Redis' data; the store at `store_url` must be there. `tell` hears of deaths.
    """

    def __init__(
        self,
        folder: Path,
        *,
        store_url: str,
        store_file: Path | None,
        disk: SmallDisk | None,
        no_disk: str,
        tell: Callable[[str], None],
    ) -> None:
        self.nodes: Sequence[NodeName] = NODES
        self.directors: Sequence[str] = DIRECTORS
        self.store_file, self.disk, self.no_disk = store_file, disk, no_disk
        self._folder = folder
        self._store_url = store_url
        self._tell = tell
        self._pids: dict[str, int] = {}
        self._ready: set[str] = set()
        self._ports: dict[str, int] = {}
        self._to_redis: dict[NodeName, FaultProxy] = {}
        self._to_node: dict[NodeName, FaultProxy] = {}
        self._front_door: FaultProxy | None = None
        self._redis: EmbeddedRedis | None = None
        self.deaths = 0

    @property
    def director_url(self) -> str:
        """Where clients ask: a director that listens answers."""
        assert self._front_door is not None
        return f"http://{HOST}:{self._front_door.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TortureFleet"]:
        """All processes, ready; they end with the block. Use it in the main thread. Raises CannotStart, in a group."""
        async with AsyncExitStack() as stack:
            for name in (REDIS, *DIRECTORS, *NODES):
                self._ports[name] = stack.enter_context(HeldPort()).port
            self._redis = EmbeddedRedis(server_binary(), self._ports[REDIS], self._folder / "redis")
            self._redis.prepare()
            for node in NODES:
                to_redis, to_node = FaultProxy((HOST, self._ports[REDIS])), FaultProxy((HOST, self._ports[node]))
                self._to_redis[node] = await stack.enter_async_context(to_redis)
                self._to_node[node] = await stack.enter_async_context(to_node)
                self.step_clock(node, 0)
            self._front_door = FaultProxy(*((HOST, self._ports[name]) for name in DIRECTORS))
            await stack.enter_async_context(self._front_door)
            http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            supervisor = Supervisor(
                self._folder / "logs", tasks=tasks, on_event=self._on_event, on_line=lambda child, line: None
            )
            try:
                await self._start(supervisor, http)
                watching = [tasks.create_task(self._watch(supervisor, self.store_file))] if self.store_file else []
                yield self
                for task in watching:
                    task.cancel()
            finally:
                await supervisor.stop()

    # --- the ground under torture

    def pid_of(self, process: str) -> int:
        if process not in self._pids:
            raise NotToday(f"{process} is not running")
        return self._pids[process]

    def to_redis(self, node: NodeName) -> FaultProxy:
        return self._to_redis[node]

    def to_node(self, node: NodeName) -> FaultProxy:
        return self._to_node[node]

    def step_clock(self, node: NodeName, offset_ms: int) -> None:
        new = self._clock_of(node).with_suffix(".new")
        new.write_text(str(offset_ms))
        new.replace(self._clock_of(node))

    async def flush_redis(self) -> None:
        assert self._redis is not None
        async with Redis.from_url(self._redis.url, socket_timeout=_FLUSH_TIMEOUT) as redis:
            await redis.flushall()

    def forget_redis(self) -> None:
        assert self._redis is not None
        # a running server goes on with the files that it has open
        rmtree(self._redis.folder, ignore_errors=True)
        self._redis.prepare()

    # --- its processes

    def _clock_of(self, node: NodeName) -> Path:
        return self._folder / f"{node}.clock"

    async def _start(self, supervisor: Supervisor, http: httpx.AsyncClient) -> None:
        assert self._redis is not None
        async with self._in_time():
            supervisor.start(Child(REDIS, self._redis.command, self._redis.answers_as, tier=0))
            await self._until_ready(1)
            for name in DIRECTORS:
                own = {"HALL_DIRECTOR_PORT": str(self._ports[name]), "HALL_REDIS_URL": self._redis.url}
                supervisor.start(self._child(http, name, "director.app", own))
            for node in NODES:
                supervisor.start(self._child(http, node, "shard_node.app", self._node_settings(node)))
            await self._until_ready(1 + len(DIRECTORS) + len(NODES))

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(START_WITHIN):
                yield
        except TimeoutError:
            late = ", ".join(name for name in self._ports if name not in self._ready)
            logs = self._folder / "logs"
            raise CannotStart(f"not ready within {START_WITHIN:.0f} s: {late}; their logs are in {logs}") from None

    async def _until_ready(self, count: int) -> None:
        while len(self._ready) < count:  # noqa: ASYNC110 (the supervisor's callback tells, and nobody else)
            await asyncio.sleep(_LOOK_EVERY)

    async def _watch(self, supervisor: Supervisor, store: Path) -> None:
        def overdue(holder: KilledHolder | ForeignHolder) -> None:
            match holder:
                case KilledHolder(name, pid):
                    self._tell(f"{name} (pid {pid}) held the store's lock for too long and was killed")
                case ForeignHolder():
                    pass  # one of the faults

        await LockWatch(store, kill=supervisor.kill, on_overdue=overdue).run()

    def _url_of(self, name: str) -> str:
        return f"http://{HOST}:{self._ports[name]}"

    def _node_settings(self, node: NodeName) -> Mapping[str, str]:
        return {
            "HALL_NODE_NAME": node,
            "HALL_NODE_HOST": HOST,
            "HALL_NODE_PORT": str(self._ports[node]),
            "HALL_NODE_URL": f"http://{HOST}:{self._to_node[node].port}",
            "HALL_NODE_PROBE_URL": self._url_of(node),
            "HALL_REDIS_URL": f"redis://{HOST}:{self._to_redis[node].port}/0",
            "HALL_STORE_URL": self._store_url,
            "HALL_TEST_CLOCK": str(self._clock_of(node)),
        }

    def _child(self, http: httpx.AsyncClient, name: str, module: str, settings: Mapping[str, str]) -> Child:
        url = self._url_of(name)

        async def ready(pid: int) -> bool:
            try:
                answer = await http.get(f"{url}/readyz", timeout=_READY_TIMEOUT)
            except httpx.TransportError:
                return False
            return answer.status_code == httpx.codes.OK

        shared = {
            "HALL_DEMO": "1",
            "HALL_DATA": str(self._folder),
            "HALL_DIRECTOR_HOST": HOST,
            "HALL_DIRECTOR_URL": self.director_url,
        }
        return Child(name, (sys.executable, "-m", module), ready, url, env={**shared, **settings})

    def _on_event(self, event: Event) -> None:
        name = event.child.name
        match event:
            case Started(pid=pid):
                self._pids[name] = pid
            case Ready():
                self._ready.add(name)
            case Died(status=status, lived=lived, restart_after=restart_after):
                del self._pids[name]
                self._ready.discard(name)
                self.deaths += 1
                self._tell(f"{name} ended ({status}) after {lived:.1f} s, again in {restart_after:.1f} s")
            case Stopped():
                self._pids.pop(name, None)
