"""LoadRun: Locust as a process of its own (it patches whatever imports it), then the check of what it recorded."""

import asyncio
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from director.cli.director_call import NoDirector, find_director
from director.cli.history_run import check_histories
from director.contract.ids import RoomId

_LOOK_EVERY = 0.25
_EXIT_WITHIN = 60.0
# locust's exit code when requests failed, which is a result and not an accident
_SOME_FAILED = 1


class CannotLoad(Exception):
    """The run could not begin or broke off; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What `hall load` was asked for."""

    shape: str
    students: int
    seconds: float
    rooms: Sequence[RoomId]
    seed: int
    director_url: str
    store_url: str | None
    data: Path
    reports: Path
    as_json: bool


async def run_load(order: LoadOrder) -> bool:
    """Run, check and print; whether every promise was kept. Raises CannotLoad."""
    if find_spec("locust") is None:
        raise CannotLoad("locust is not installed: run `make install-dev` (it is in the dependency group `load`)")
    try:
        await find_director(order.director_url)
    except NoDirector as error:
        raise CannotLoad(str(error)) from None
    console = Console(stderr=order.as_json, highlight=False)
    folder = order.reports / f"{order.shape}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    await _run_locust(order, folder, console)
    _show_requests(folder / "load_stats.csv", console)
    holds = await check_histories(
        [folder / "history.jsonl"],
        store_url=order.store_url,
        director_url=order.director_url,
        data=order.data,
        as_json=order.as_json,
    )
    console.print(f"Locust's report: {folder / 'load.html'}", soft_wrap=True)
    return holds


async def _run_locust(order: LoadOrder, folder: Path, console: Console) -> None:
    command = [
        *(sys.executable, "-m", "locust", "-f", str(_locustfile()), "--headless", "--only-summary"),
        *("--host", order.director_url, "--csv", str(folder / "load"), "--html", str(folder / "load.html")),
        *("--hall-shape", order.shape, "--hall-students", str(order.students)),
        *("--hall-seconds", str(order.seconds), "--hall-rooms", ",".join(order.rooms)),
        *("--hall-history", str(folder / "history.jsonl"), "--hall-seed", str(order.seed)),
        *("--stop-timeout", "5", "--loglevel", "WARNING"),
    ]
    log = folder / "locust.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        try:
            await _show_time(process, order, console)
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
    if process.returncode not in (0, _SOME_FAILED) or not (folder / "history.jsonl").exists():
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise CannotLoad(f"locust ended with {process.returncode}, see {log}:\n{tail}")


async def _show_time(process: asyncio.subprocess.Process, order: LoadOrder, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn())
    ending = asyncio.ensure_future(process.wait())
    began_at = monotonic()
    with Progress(*columns, console=console) as progress:
        words = f"{order.students} students in {len(order.rooms)} rooms"
        running = progress.add_task(order.shape, total=order.seconds, words=words)
        while not ending.done():
            await asyncio.wait({ending}, timeout=_LOOK_EVERY)
            elapsed = monotonic() - began_at
            progress.update(running, completed=min(elapsed, order.seconds))
            if elapsed > order.seconds + _EXIT_WITHIN:
                raise CannotLoad(f"locust did not end within {_EXIT_WITHIN:.0f} s after its time")


def _show_requests(stats: Path, console: Console) -> None:
    table = Table(header_style="bold")
    for heading, is_number in (("what", 0), ("name", 0), ("count", 1), ("failed", 1), ("p50 ms", 1), ("p99 ms", 1)):
        table.add_column(heading, justify="right" if is_number else "left")
    with stats.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["Name"] != "Aggregated":
                table.add_row(*(row[key] for key in ("Type", "Name", "Request Count", "Failure Count", "50%", "99%")))
    console.print(table)


def _locustfile() -> Path:
    found = find_spec("loadtest.locustfile")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)
