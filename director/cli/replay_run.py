"""ReplayRun: a replay with its progress bar, its check and its report."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from director.cli.director_call import find_director
from director.cli.room_logs import read_logs, store_url_for
from director.cli.verdict import show_json, show_report
from loadtest.core.history_check import HistoryCheck
from loadtest.core.replay_plan import ReplayPlan
from loadtest.meter import Meter
from loadtest.recording import HistoryFile, Recorder, Recorders
from loadtest.replay import Pulse, Replay
from loadtest.report import report_of

_LOOK_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class ReplayOrder:
    """What `hall replay` was asked for."""

    plan: ReplayPlan
    director_url: str
    store_url: str | None
    data: Path
    record: Path | None
    seed: int
    as_json: bool


async def replay_chat(order: ReplayOrder) -> bool:
    """Replay, check and print; whether every promise was kept and everybody came back. Raises NoDirector."""
    await find_director(order.director_url)
    console = Console(stderr=order.as_json, highlight=False)
    history, meter = HistoryCheck(), Meter()
    with ExitStack() as stack:
        recorders: list[Recorder] = [meter]
        if order.record is not None:
            recorders.append(stack.enter_context(HistoryFile(order.record)))
        run = Replay(
            order.plan,
            order.director_url,
            check=history,
            recorder=Recorders(*recorders),
            seed=order.seed,
            clock=monotonic,
        )
        showing = asyncio.create_task(_show(run.pulse, meter, console))
        try:
            await run.run()
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
    store_url = store_url_for(order.director_url, given=order.store_url, data=order.data)
    # the room may have been there long before
    logs = await read_logs(history.rooms, store_url=store_url, director_url=order.director_url, may_be_pruned=True)
    findings = history.judge(logs)
    report = report_of(
        findings, acks=meter.acks, deliveries=meter.deliveries, not_back=run.pulse.not_back, client_lag=run.lag
    )
    judged_by = "the store" if store_url is not None else "the rooms' own history (no store in reach)"
    if order.as_json:
        show_json(report)
    show_report(report, console, judged_by=judged_by)
    return report.holds


async def _show(pulse: Pulse, meter: Meter, console: Console) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        joining = progress.add_task("members joined", total=pulse.members, words="")
        saying = progress.add_task("messages acked", total=pulse.sayings, words="")
        while True:
            progress.update(joining, completed=pulse.joined, words=f"{pulse.away} away" if pulse.away else "")
            waiting = pulse.asked - pulse.acked - pulse.failed
            shown = sum(latency.count for latency in meter.deliveries.values())
            words = f"{waiting} waiting, {pulse.failed} failed, {shown:,} delivered"
            progress.update(saying, completed=pulse.acked, words=words)
            await asyncio.sleep(_LOOK_EVERY)
