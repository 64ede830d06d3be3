"""TortureReport: what was broken, whom it hit, how soon they were back, and what was found, for people and scripts."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from director.cli.torture_judge import Judgement
from director.cli.verdict import show_violations
from director.contract.ids import NodeName
from loadtest.core.fault_plan import FaultKind
from loadtest.core.findings import Promise
from loadtest.core.recovery_times import SHARES, LifeLines
from loadtest.core.zombie import Wakings
from loadtest.meter import Meter
from loadtest.report import Report, report_of
from loadtest.torture import Broken, Torture
from loadtest.torture_crowd import Crowd


class WakingReport(msgspec.Struct, frozen=True):
    """What a node did after it woke, in `rooms` that others had by then: rows it added to the store, frames it showed
    (the last of them `latest_ms` after it woke), and how many of these held what it cannot have written."""

    rooms: int
    rows: int
    frames: int
    latest_ms: int | None
    past_fence: int


class FaultReport(msgspec.Struct, frozen=True):
    """One fault. Seconds from the run's beginning; `seconds` are from the fault's beginning until 50, 95, 99 and 100 %
    of the `affected` members, who lost their connection, were live again (None: that never came). `dropped` times a
    member cut its own connection meanwhile, and `returned` times it came back."""

    fault: str
    manner: str
    target: str
    begins: float
    lasts: float
    left_out: str | None
    affected: int
    back: int
    seconds: tuple[float | None, ...]
    slowest_send: float | None
    failed_sends: int
    dropped: int = 0
    returned: int = 0
    waking: WakingReport | None = None


class TortureReport(msgspec.Struct, frozen=True):
    """A whole run."""

    seed: int
    faults: tuple[FaultReport, ...]
    resumed: int
    restarted: int
    epochs: int
    unanswered: int
    unrouted: dict[str, int]
    outcome: Report


def torture_report_of(
    judgement: Judgement, torture: Torture, crowd: Crowd, lines: LifeLines, wakings: Wakings, meter: Meter, *, seed: int
) -> TortureReport:
    """The report on a run that has ended."""
    findings = judgement.findings
    faults = []
    for broken in sorted(torture.broken, key=lambda broken: broken.begun_at):
        fault, recovery = broken.fault, lines.recovery_of(torture.span_of(broken))
        faults.append(
            FaultReport(
                fault=fault.kind,
                manner=fault.manner,
                target=fault.target,
                begins=round(fault.begins, 2),
                lasts=round(broken.ended_at - broken.begun_at, 2),
                left_out=broken.left_out,
                affected=recovery.affected,
                back=recovery.back,
                seconds=tuple(None if span is None else round(span, 2) for span in recovery.seconds),
                slowest_send=None if recovery.slowest_send is None else round(recovery.slowest_send, 2),
                failed_sends=recovery.failed_sends,
                dropped=recovery.dropped,
                returned=recovery.returned,
                waking=_waking_of(broken, wakings, judgement),
            )
        )
    rooms = findings.rooms.values()
    return TortureReport(
        seed=seed,
        faults=tuple(faults),
        resumed=sum(tally.resumed for tally in rooms),
        restarted=sum(tally.restarted for tally in rooms),
        epochs=sum(tally.epochs for tally in rooms),
        unanswered=sum(tally.unanswered for tally in rooms),
        unrouted=dict(crowd.unrouted),
        outcome=report_of(
            findings,
            acks=meter.acks,
            deliveries=meter.deliveries,
            not_back=torture.not_back,
            client_lag=torture.lag,
        ),
    )


def show_torture(report: TortureReport, console: Console, *, folder: Path) -> None:
    """Print the faults in a table, the figures of each, the counts, and the verdict."""
    table = Table(header_style="bold", show_edge=False)
    for heading in ("fault", "target", "at (s)", "lasted", "affected", *(f"{share} % live" for share in SHARES)):
        table.add_column(heading, justify="left" if heading in ("fault", "target") else "right")
    table.add_column("slowest send", justify="right")
    table.add_column("failed", justify="right")
    for fault in report.faults:
        cells = [_name_of(fault), fault.target, f"{fault.begins:.0f}"]
        if fault.left_out is not None:
            table.add_row(*cells, f"left out: {fault.left_out}", style="dim")
            continue
        spans = [_span(span) if fault.affected else "" for span in fault.seconds]
        cells += [_span(fault.lasts), str(fault.affected), *spans, _span(fault.slowest_send), str(fault.failed_sends)]
        table.add_row(*cells)
    console.print(table)
    console.print()
    total = report.outcome.total
    console.print(
        f"{total.members} members in {len(report.outcome.rooms)} rooms, {report.epochs} epochs: {total.sent:,} asked, "
        f"{total.acked:,} acked, {total.refused:,} refused, {report.unanswered:,} unanswered, {total.stored:,} stored, "
        f"{total.delivered:,} shown; {total.drops:,} connections lost, {report.resumed:,} resumed, "
        f"{report.restarted:,} began anew; {report.outcome.events:,} events"
    )
    if report.unrouted:
        refused = ", ".join(f"{code} {count}" for code, count in sorted(report.unrouted.items()))
        console.print(f"The directors put members off: {refused}")
    show_violations(report.outcome, console, judged_by="the store")
    if not report.outcome.holds:
        console.print(Text(f"seed {report.seed}; histories, logs and the store are in {folder}", style="bold red"))


def show_figures(report: TortureReport, console: Console) -> None:
    """Print, in a sentence or two for each fault, the figures that it was made for."""
    for fault in report.faults:
        if fault.left_out is None:
            console.print(f"{_name_of(fault)} {fault.target}: {'; '.join(_figures_of(fault))}.")


def _figures_of(fault: FaultReport) -> Iterator[str]:
    yield f"{fault.affected:,} members lost their connection"
    if fault.affected:
        spans = zip(SHARES, fault.seconds, strict=True)
        yield "live again: " + ", ".join(f"{share} % after {_span(span)} s" for share, span in spans)
    yield f"{fault.failed_sends} sends failed, the slowest that did not took {_span(fault.slowest_send)} s"
    if fault.dropped:
        yield f"{fault.dropped} times a member cut its own connection meanwhile, {fault.returned} times it came back"
    if fault.waking is not None:
        waking = fault.waking
        latest = "" if waking.latest_ms is None else f", the last {waking.latest_ms} ms later"
        yield (
            f"when it was back, with {waking.rooms} of its rooms at others, it added {waking.rows} rows and showed "
            f"{waking.frames} frames{latest}, {waking.past_fence} of them with entries from after the fence"
        )


def _waking_of(broken: Broken, wakings: Wakings, judgement: Judgement) -> WakingReport | None:
    if broken.fault.kind not in (FaultKind.FREEZE, FaultKind.VANISH) or broken.left_out is not None:
        return None
    node = NodeName(broken.fault.target)
    waking = wakings.waking_of(node, slept_at=broken.begun_at, woke_at=broken.ended_at, owners=judgement.owners)
    rows = sum(violation.promise is Promise.ROW_OF_STALE for violation in judgement.findings.violations)
    latest_ms = None if waking.latest is None else round(waking.latest * 1000)
    return WakingReport(waking.rooms, rows, waking.frames, latest_ms, waking.past_fence)


def _name_of(fault: FaultReport) -> str:
    return f"{fault.fault}, {fault.manner}" if fault.manner else fault.fault


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"
