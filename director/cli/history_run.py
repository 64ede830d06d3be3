"""HistoryRun: recorded histories read, judged and reported."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from director.cli.room_logs import read_logs, store_url_for
from director.cli.verdict import show_json, show_report
from loadtest.contract.history import events_in
from loadtest.core.history_check import HistoryCheck
from loadtest.meter import Meter
from loadtest.report import report_of


async def check_histories(
    histories: Sequence[Path], *, store_url: str | None, director_url: str, data: Path, as_json: bool
) -> bool:
    """Judge and print; whether every promise was kept. Raises UnreadableHistory, and OSError for a missing file."""
    history, meter = HistoryCheck(), Meter()
    for path in histories:
        with path.open("rb") as lines:
            for event in events_in(lines, name=str(path)):
                history.record(event)
                meter.record(event)
    store_url = store_url_for(director_url, given=store_url, data=data)
    logs = await read_logs(history.rooms, store_url=store_url, director_url=director_url, may_be_pruned=True)
    report = report_of(history.judge(logs, long_after=True), acks=meter.acks, deliveries=meter.deliveries)
    if as_json:
        show_json(report)
    judged_by = "the store" if store_url is not None else "the rooms' own history (no store in reach)"
    show_report(report, Console(stderr=as_json, highlight=False), judged_by=judged_by)
    return report.holds
