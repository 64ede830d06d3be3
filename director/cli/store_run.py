"""StoreRun: the work of `hall store`, with a progress bar for people and one JSON object for programs."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from director.contract.ids import RoomId, UserId
from persistence import migrate
from persistence.contract.store import StoreUnavailable
from persistence.erasure import Erasure
from persistence.new_log import NewLogs
from persistence.retention import Retention
from persistence.schema import REVISIONS
from persistence.upkeep import Upkeep, open_upkeep
from shard_node.row_watch import LOOK_EVERY

NOTICED_WITHIN = 2 * LOOK_EVERY
"""Seconds after which every node that reaches the store has looked at its rows."""

Ask = Callable[[str], bool]
Advance = Callable[[int], None]


class UpgradeReport(msgspec.Struct, frozen=True):
    """What `check --json` says; `problem` is None where the release and the store fit."""

    ok: bool
    release: str
    problem: str | None


class PruneReport(msgspec.Struct, frozen=True):
    """What `prune --json` says."""

    before: str
    rooms: int
    entries: int
    dry_run: bool


class EraseReport(msgspec.Struct, frozen=True):
    """What `erase --json` says."""

    user: str
    rooms: int
    entries: int


class NewLogReport(msgspec.Struct, frozen=True):
    """What `new-log --json` says."""

    rooms: int


async def upgrade_store(url: str) -> int:
    """Bring the store to this release's schema."""
    await migrate.upgrade(url)
    problem = await migrate.schema_problem(url)
    print(problem or f"the store fits this release (schema {REVISIONS[-1]})")
    return 0 if problem is None else 1


async def check_store(url: str, *, as_json: bool) -> int:
    """Say whether the release can work on the store; 1 where not."""
    problem = await migrate.schema_problem(url)
    if as_json:
        _say(UpgradeReport(problem is None, REVISIONS[-1], problem))
    else:
        print(problem or f"the store fits this release (schema {REVISIONS[-1]})")
    return 0 if problem is None else 1


async def prune_store(url: str, *, age: float, room: RoomId | None, dry_run: bool, as_json: bool) -> int:
    """Remove entries older than `age` seconds."""
    before_ms = int((time.time() - age) * 1000)
    before = datetime.fromtimestamp(before_ms / 1000, UTC).isoformat(timespec="seconds")
    async with _upkeep(url) as upkeep:
        retention = Retention(upkeep)
        stale = [it async for it in retention.find(before_ms=before_ms, room=room)]
        total = sum(it.count for it in stale)
        removed = 0
        if not dry_run:
            with _progress("pruning", total, quiet=as_json) as advance:
                for it in stale:
                    async for count in retention.prune(it, before_ms=before_ms):
                        removed += count
                        advance(count)
    if as_json:
        _say(PruneReport(before, len(stale), total if dry_run else removed, dry_run))
    elif dry_run:
        print(f"{total} entries from before {before} in {len(stale)} rooms would go")
    else:
        print(f"{removed} entries from before {before} in {len(stale)} rooms are gone")
    return 0


async def erase_from_store(url: str, user: UserId, *, room: RoomId | None, ask: Ask, as_json: bool) -> int:
    """Erase one person's entries and wait until no node shows them; 1 if whoever was asked said no."""
    async with _upkeep(url) as upkeep:
        erasure = Erasure(upkeep, draw=secrets.token_bytes)
        written = [it async for it in erasure.find(user, room=room)]
        total = sum(it.count for it in written)
        if total and not ask(f"Erase {total} entries of {user} in {len(written)} rooms for good?"):
            print("nothing was erased")
            return 1
        erased = 0
        with _progress("erasing", total, quiet=as_json) as advance:
            for it in written:
                async for count in erasure.erase(it.room, user, now_ms=time.time_ns() // 1_000_000):
                    erased += count
                    advance(count)
        if erased:
            await asyncio.sleep(NOTICED_WITHIN)
    if as_json:
        _say(EraseReport(user, len(written), erased))
    else:
        print(f"{erased} entries of {user} in {len(written)} rooms are erased" if total else f"{user} wrote nothing")
    return 0


async def begin_new_logs(url: str, *, room: RoomId | None, ask: Ask, as_json: bool) -> int:
    """Give rooms new logs; 1 if whoever was asked said no, or there is no such room."""
    if not ask(f"Give {room or 'every room'} a new log? Every client will begin anew."):
        print("nothing was changed")
        return 1
    done = 0
    async with _upkeep(url) as upkeep:
        async for count in NewLogs(upkeep, draw=secrets.token_bytes).begin(room=room):
            done += count
    if as_json:
        _say(NewLogReport(done))
    else:
        print(f"{done} rooms have a new log")
    return 1 if room is not None and not done else 0


@asynccontextmanager
async def _upkeep(url: str) -> AsyncIterator[Upkeep]:
    """Raises StoreUnavailable where the store is not one for this release."""
    problem = await migrate.schema_problem(url)
    if problem is not None:
        raise StoreUnavailable(problem)
    async with open_upkeep(url) as upkeep:
        yield upkeep


@contextmanager
def _progress(what: str, total: int, *, quiet: bool) -> Iterator[Advance]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)


def _say(report: msgspec.Struct) -> None:
    print(msgspec.json.encode(report).decode())
