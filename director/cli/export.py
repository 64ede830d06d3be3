"""`hall export`: a room's log as a file for people and programs."""

import sys
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from director.cli.store import DEFAULT_DATA, Data, StoreUrl, fail, room_of, run, url_of

if TYPE_CHECKING:
    from director.contract.ids import RoomId
    from persistence.core.lecture_clock import Pause


class FormatChoice(StrEnum):
    """What a room's log can become."""

    JSONL = "jsonl"
    CSV = "csv"
    VTT = "vtt"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    room: Annotated[str, typer.Argument(help="The room, for example math-101.", metavar="ROOM")],
    *,
    shape: Annotated[
        FormatChoice, typer.Option("--format", help="JSON lines, a table, or captions for the recording.")
    ] = FormatChoice.JSONL,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            help="When the lecture's clock began: 2026-03-02T09:00 (this machine's time zone, or +09:00 behind it); "
            "the first entry unless given.",
            metavar="INSTANT",
        ),
    ] = "",
    pause: Annotated[
        list[str] | None,
        typer.Option(
            "--pause",
            help="A break in which the clock stood still: FROM/TO, instants as above or HH:MM on the day of --start. "
            "May be given several times.",
            metavar="FROM/TO",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; standard output unless given.")
    ] = None,
    store_url: StoreUrl = "",
    data: Data = DEFAULT_DATA,
) -> None:
    """Write a room's log with the lecture's clock; deleted messages without their text.

    CSV opens in spreadsheets, and nothing in it is run as a formula. Captions hold what was said while the recording
    ran: not before --start, and not in a --pause.
    """
    room_id = room_of(room)
    if room_id is None:
        fail("name a room", code=2)
    zone = datetime.now().astimezone().tzinfo or UTC
    began = _instant_of(start, zone=zone, day=None) if start else None
    if pause and began is None:
        fail("--pause needs --start", code=2)
    pauses = _pauses_of(pause or [], began, zone)
    run(lambda: _export(url_of(store_url, data), room_id, shape.value, began, pauses, output))


async def _export(
    url: str, room: "RoomId", shape: str, began: datetime | None, pauses: "tuple[Pause, ...]", output: Path | None
) -> int:
    from persistence import migrate
    from persistence.contract.store import StoreUnavailable
    from persistence.core.export_formats import FORMATS
    from persistence.export import NoSuchRoom, export_texts, head_of
    from persistence.store_sql import open_sql_store

    problem = await migrate.schema_problem(url)
    if problem is not None:
        raise StoreUnavailable(problem)
    async with open_sql_store(url) as store:
        try:
            head = await head_of(store, room)
        except NoSuchRoom:
            fail(f"the store has no room {room}")
        texts = export_texts(
            store, room, head=head, shape=FORMATS[shape], start_at=_ms(began) if began else None, pauses=pauses
        )
        if output is None:
            async for _, text in texts:
                _write(sys.stdout.buffer, text)
            return 0
        # whole or not at all: nobody takes half an export for the log
        part = output.with_name(f".{output.name}.part")
        try:
            with part.open("wb") as file:
                async for _, text in texts:
                    _write(file, text)
            part.replace(output)
        except OSError as error:
            fail(f"cannot write {output}: {error.strerror}")
        finally:
            part.unlink(missing_ok=True)
        return 0


def _write(file: BinaryIO, text: str) -> None:
    file.write(text.encode())
    file.flush()


def _pauses_of(texts: list[str], began: datetime | None, zone: tzinfo) -> "tuple[Pause, ...]":
    from persistence.core.lecture_clock import LectureClock, Pause

    if began is None:
        return ()
    pauses = []
    for text in texts:
        first, slash, last = text.partition("/")
        if not slash:
            fail(f"{text!r} is no pause: write FROM/TO, for example 10:50/11:00", code=2)
        pauses.append(Pause(*(_ms(_instant_of(it, zone=zone, day=began)) for it in (first, last))))
    pauses.sort(key=lambda it: it.from_at)
    try:
        return LectureClock(_ms(began), tuple(pauses)).pauses
    except ValueError as error:
        fail(str(error), code=2)


def _instant_of(text: str, *, zone: tzinfo, day: datetime | None) -> datetime:
    """An instant; a time of day alone is the first such moment from `day` on."""
    try:
        if day is not None and len(text) <= len("HH:MM:SS") and ":" in text:
            moment = datetime.combine(day.date(), datetime.strptime(text, _time_format(text)).time(), day.tzinfo)  # noqa: DTZ007
            return moment if moment >= day else moment + timedelta(days=1)
        instant = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no instant: write 2026-03-02T09:00, or with +09:00 behind it", code=2)
    return instant if instant.tzinfo else instant.replace(tzinfo=zone)


def _time_format(text: str) -> str:
    return "%H:%M:%S" if text.count(":") == 2 else "%H:%M"


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
