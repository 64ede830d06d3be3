"""ReservationTable: announced lectures as an operator reads them, in this machine's zone, which is named."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table

from director.cli.wording import counted, local, span, zone_of
from director.contract.admin import ReservationAnswer


def words_of(told: ReservationAnswer, *, now: datetime) -> str:
    """One in a sentence, with everything that the operator may have meant otherwise: the day, the zone, how soon."""
    start, end = local(told.at_ms), local(told.ends_at_ms)
    return (
        f"{told.room}: {counted(told.members, 'member')}, {start:%A %Y-%m-%d %H:%M} to {end:%H:%M} "
        f"({zone_of(start)}), {_how_soon(told, now)}"
    )


def show_reservations(told: Sequence[ReservationAnswer], console: Console, *, now: datetime) -> None:
    """One a row."""
    table = Table(box=None, pad_edge=False)
    table.add_column("room", overflow="fold")
    table.add_column("members", justify="right", no_wrap=True)
    table.add_column("begins", no_wrap=True)
    table.add_column("ends", no_wrap=True)
    table.add_column("", overflow="fold")
    table.add_column("node", overflow="fold")
    for it in told:
        start, end = local(it.at_ms), local(it.ends_at_ms)
        table.add_row(
            it.room,
            f"{it.members:,}",
            f"{start:%a %Y-%m-%d %H:%M}",
            f"{end:%H:%M}",
            _how_soon(it, now),
            it.owner or "-",
        )
    console.print(table)
    console.print(f"times are {zone_of(now)}", style="dim")


def _how_soon(told: ReservationAnswer, now: datetime) -> str:
    wait = (local(told.at_ms) - now).total_seconds()
    soon = f"in {span(wait)}" if wait > 0 else f"began {span(-wait)} ago"
    return f"{soon}, counts already" if told.counts and wait > 0 else soon
