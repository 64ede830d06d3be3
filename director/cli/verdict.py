"""Verdict: how a report on a replay, a load run or a history is shown, and the exit code that goes with it."""

from collections.abc import Callable, Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.report import Report, RoomReport

_MAX_SHOWN = 25
_MUCH_LAG_MS = 100.0


def show_report(report: Report, console: Console, *, judged_by: str) -> None:
    """Print the rooms in two tables, then whether every promise was kept, else what was broken."""
    _show_table(report, console, ("room", "nodes", "members", "sent", "acked", "stored", "violations"), _said)
    headings = ("room", "delivered", "drops", "resumed", "ack p50", "p99", "delivery p50", "p99 (ms)")
    _show_table(report, console, headings, _delivered)
    show_violations(report, console, judged_by=judged_by)


def show_json(report: Report) -> None:
    """Print the report as one JSON object."""
    print(msgspec.json.encode(report).decode())


def show_violations(report: Report, console: Console, *, judged_by: str) -> None:
    """Print what was refused or unanswered, what was broken, and the verdict."""
    sent, refused = report.total.sent, report.total.refused
    if refused:
        console.print(Text(f"{refused} of {sent} sends were refused for good, as by a lecture's mode.", style="yellow"))
    if unanswered := sent - refused - report.total.acked:
        console.print(Text(f"{unanswered} of {sent} sends had no answer when it ended.", style="yellow"))
    if (lag := report.client_lag_p99_ms or 0.0) > _MUCH_LAG_MS:
        words = f"The clients' own process was up to {lag:,.0f} ms late (p99): the latencies are this machine's."
        console.print(Text(words, style="yellow"))
    if report.not_back:
        console.print(Text(f"{report.not_back} members were not live in the end.", style="bold red"))
    for violation in report.violations[:_MAX_SHOWN]:
        console.print(Text(f"{violation.promise}  {violation.sentence}", style="red"))
    if len(report.violations) > _MAX_SHOWN:
        console.print(Text(f"... and {len(report.violations) - _MAX_SHOWN} more", style="red"))
    if report.holds:
        words = (
            f"It holds, judged by {judged_by}: every acked message is stored once at its number; every member was "
            "given every entry in order, once; whoever dropped and came back missed nothing."
        )
        if report.total.not_given:
            words += f" ({report.total.not_given} entries were skipped for members that were told so.)"
        if report.total.pruned:
            words += f" ({report.total.pruned} acked messages have been pruned since, and could not be looked for.)"
        console.print(Text(words, style="green"))
    else:
        console.print(Text(f"It does not hold: {len(report.violations)} violations.", style="bold red"))


def _show_table(
    report: Report, console: Console, headings: Sequence[str], cells_of: Callable[[RoomReport], Sequence[str]]
) -> None:
    table = Table(header_style="bold", show_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("room", "nodes") else "right")
    for room in report.rooms:
        table.add_row(*cells_of(room))
    if len(report.rooms) > 1:
        table.add_section()
        table.add_row(*cells_of(report.total), style="bold")
    console.print(table)
    console.print()


def _said(room: RoomReport) -> Sequence[str]:
    counts = (room.members, room.sent, room.acked, room.stored, room.violations)
    return (room.room or "all", " ".join(room.nodes), *(f"{count:,}" for count in counts))


def _delivered(room: RoomReport) -> Sequence[str]:
    spans = (room.ack_p50_ms, room.ack_p99_ms, room.deliver_p50_ms, room.deliver_p99_ms)
    counts = (room.delivered, room.drops, room.resumed)
    cells = [f"{count:,}" for count in counts] + ["-" if span is None else f"{span:,.0f}" for span in spans]
    return (room.room or "all", *cells)
