"""TortureRun: one torture of a fleet of its own, from the first process to the verdict."""

import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import msgspec
from rich.console import Console
from rich.text import Text

from director.cli.torture_fleet import NODES, TortureFleet
from director.cli.torture_judge import judge
from director.cli.torture_report import TortureReport, show_figures, show_torture, torture_report_of
from director.core.backoff import Backoff
from loadtest.core.admission_check import AdmissionCheck
from loadtest.core.fault_plan import Fault, FaultPlan
from loadtest.core.history_check import HistoryCheck
from loadtest.core.recovery_times import LifeLines
from loadtest.core.zombie import Wakings
from loadtest.meter import Meter
from loadtest.recording import HistoryFile, Recorders
from loadtest.small_disk import SmallDisk
from loadtest.torture import Torture
from loadtest.torture_crowd import Crowd, CrowdSize
from loadtest.torture_ground import StoreServer
from persistence.engines import sqlite_file_of
from persistence.migrate import upgrade

_WIDTH = 150


@dataclass(frozen=True, slots=True)
class TortureOrder:
    """What `hall torture` was asked for. `no_disk` says why there is no `disk` that can be full. `measure`: tell each
    fault's figures; `one_node`: all rooms on the first one; a dead process stays away for `restart_after` seconds."""

    plan: FaultPlan
    size: CrowdSize
    seed: int
    folder: Path
    store_url: str
    store_server: StoreServer | None
    disk: SmallDisk | None
    no_disk: str
    as_json: bool
    measure: bool = False
    one_node: bool = False
    restart_after: float = Backoff().first


async def run_torture(order: TortureOrder) -> bool:
    """Torture, check and print; whether every promise was kept and everybody came back."""
    console = Console(
        stderr=order.as_json, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH
    )
    began_at = monotonic()

    def tell(words: str, style: str = "") -> None:
        console.print(Text(f"{monotonic() - began_at:6.1f} s  {words}", style=style))

    await upgrade(order.store_url)
    store_file = sqlite_file_of(order.store_url)
    history, admissions, lines, wakings, meter = HistoryCheck(), AdmissionCheck(), LifeLines(), Wakings(), Meter()
    fleet = TortureFleet(
        order.folder,
        kinds={fault.kind for fault in order.plan.faults},
        store_url=order.store_url,
        store_file=store_file,
        store_server=order.store_server,
        disk=order.disk,
        no_disk=order.no_disk,
        first_nodes=NODES[:1] if order.one_node else NODES,
        restart_after=order.restart_after,
        tell=lambda words: tell(words, "dim"),
    )
    with HistoryFile(order.folder / "history.jsonl") as file:
        async with fleet.running():
            crowd = Crowd(
                order.size,
                fleet.director_url,
                recorder=Recorders(history, admissions, lines, wakings, meter, file),
                lines=lines,
                seed=order.seed,
                clock=monotonic,
            )

            def on_fault(fault: Fault, what: str) -> None:
                tell(f"{fault.words} {what}; {crowd.live} of {order.size.members} live", "yellow")

            torture = Torture(
                order.plan,
                fleet,
                crowd,
                check=history,
                on_ready=lambda live: tell(f"{live} of {order.size.members} are live; all nodes are up"),
                on_fault=on_fault,
                clock=monotonic,
            )
            tell(f"seed {order.seed}: {len(order.plan.faults)} faults in {order.plan.seconds:.0f} s")
            await torture.run()
            tell(f"quiet; {torture.not_back} members are not back")
    judgement = await judge(history, admissions, torture, store_url=order.store_url)
    report = torture_report_of(judgement, torture, crowd, lines, wakings, meter, seed=order.seed)
    _keep(order, report, store_file)
    if order.as_json:
        print(msgspec.json.encode(report).decode())
    show_torture(report, console, folder=order.folder)
    if order.measure:
        show_figures(report, console)
    return report.outcome.holds


def _keep(order: TortureOrder, report: TortureReport, store_file: Path | None) -> None:
    """Leave what a person needs to find out in the folder, also the store of a disk that ends with this process."""
    (order.folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if store_file is not None and store_file.parent != order.folder:
        with (
            closing(sqlite3.connect(store_file)) as store,
            closing(sqlite3.connect(order.folder / "store.sqlite3")) as kept,
        ):
            store.backup(kept)
