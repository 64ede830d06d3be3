"""BreakableFleet: the fleet of `hall torture`, for tests: three nodes, two directors, and all their ways breakable."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis.asyncio import Redis

from director.cli.torture_fleet import TortureFleet
from director.shared_secret import ADMIN_TOKEN
from loadtest.core.fault_plan import FaultKind
from persistence import migrate

WILL_BREAK = frozenset({FaultKind.VANISH, FaultKind.CUT_CLIENTS, FaultKind.CUT_REDIS})


@dataclass(slots=True)
class BreakableFleet:
    """A running fleet; `ground` breaks and mends its ways."""

    ground: TortureFleet
    folder: Path
    told: list[str] = field(default_factory=list)

    @property
    def director_url(self) -> str:
        return self.ground.director_url

    @property
    def store(self) -> Path:
        assert self.ground.store_file is not None
        return self.ground.store_file

    def output(self) -> str:
        logs = sorted(self.ground.logs.glob("*.log"))
        ends = [f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:]) for log in logs]
        return "\n".join([*self.told, *ends])

    def kill(self, name: str) -> None:
        os.kill(self.ground.pid_of(name), signal.SIGKILL)

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """SIGSTOP for as long as the block lasts."""
        pids = [self.ground.pid_of(name) for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    async def until_empty(self) -> None:
        """Wait until no room is owned any more: then new ones are spread over the nodes."""
        async with asyncio.timeout(60), Redis.from_url(self.ground.redis_url) as redis:
            while [key async for key in redis.scan_iter(match="{hall}:room:*")]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # rooms are closed when they have been empty for a while

    async def let_fail_over(self) -> None:
        """Lift the limit on verdicts, as an operator does: a test before may have used it up."""
        token = (self.folder / ADMIN_TOKEN).read_text().strip()
        async with httpx.AsyncClient(base_url=self.director_url, trust_env=False, timeout=10) as http:
            answer = await http.post("/admin/failover/resume", headers={"Authorization": f"Bearer {token}"})
        assert answer.is_success, answer.text


@asynccontextmanager
async def breakable_fleet(
    folder: Path, *, kinds: Collection[FaultKind] = WILL_BREAK, store_url: str | None = None
) -> AsyncIterator[BreakableFleet]:
    """A fleet whose processes are all ready; they end with the block. Its store is a file of its own unless `store_url`
    names another. Use it in the main thread."""
    url = store_url or f"sqlite+aiosqlite:///{folder / 'store.sqlite3'}"
    await migrate.upgrade(url)
    told: list[str] = []
    ground = TortureFleet(
        folder,
        kinds=kinds,
        store_url=url,
        store_file=None if store_url else folder / "store.sqlite3",
        disk=None,
        no_disk="",
        tell=told.append,
    )
    # settings of whoever runs the tests must not leak into the fleet
    theirs = {name: value for name, value in os.environ.items() if name.startswith("HALL_")}
    for name in theirs:
        del os.environ[name]
    os.environ["HALL_ROOM_LINGER"] = "1"
    try:
        async with ground.running():
            yield BreakableFleet(ground, folder, told)
    finally:
        del os.environ["HALL_ROOM_LINGER"]
        os.environ.update(theirs)


@asynccontextmanager
async def hosted(folder: Path) -> AsyncIterator[BreakableFleet]:
    """The same, in a task of its own: for a fixture, whose two halves are run by different tasks."""
    up: asyncio.Future[BreakableFleet] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def host() -> None:
        try:
            async with breakable_fleet(folder) as fleet:
                up.set_result(fleet)
                await over.wait()
        except BaseException as error:
            if not up.done():
                up.set_exception(error)
            raise

    hosting = asyncio.create_task(host())
    try:
        yield await up
    finally:
        over.set()
        await hosting
