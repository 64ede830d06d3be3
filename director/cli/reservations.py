"""`hall reserve` and `hall reservations`: lectures that are announced, so that large ones are placed apart."""

from typing import TYPE_CHECKING, Annotated

import typer

from director.cli.operator_desk import (
    DEFAULT_DATA,
    DEFAULT_DIRECTOR,
    OPERATING,
    Data,
    Director,
    ExitCode,
    Json,
    Room,
    Token,
    desk,
    fail,
    paper,
    room_path,
    tell_aside,
    tell_json,
)

if TYPE_CHECKING:
    from datetime import datetime

    from director.contract.admin import ReservationAnswer

_MAX_MEMBERS = 100_000
_MAX_MINUTES = 24 * 60


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("reserve", rich_help_panel=OPERATING)(reserve)
    app.command("reservations", rich_help_panel=OPERATING)(reservations)


def reserve(
    room: Room,
    *,
    members: Annotated[int, typer.Option("--members", min=0, max=_MAX_MEMBERS, help="How many are expected.")] = 0,
    at: Annotated[
        str,
        typer.Option("--at", help="09:00, today or tomorrow, or an ISO instant; this machine's zone.", metavar="TIME"),
    ] = "",
    minutes: Annotated[int, typer.Option("--minutes", min=1, max=_MAX_MINUTES, help="How long it lasts.")] = 90,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Take it back: the one that begins --at, or all of the room.")
    ] = False,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Announce a lecture, so that large ones are placed apart: its room counts for so many from 15 minutes before."""
    from datetime import UTC, datetime

    from director.contract.admin import ReservationsAnswer, ReserveBody

    path = f"{room_path(room)}/reservations"
    now = datetime.now(UTC).astimezone()
    if cancel and members:
        fail("--cancel goes without --members", code=ExitCode.USAGE)
    if not cancel and not (members and at):
        fail("say how many and when: --members 3000 --at 09:00", code=ExitCode.USAGE)
    start = _start(at, now, minutes) if at else None
    start_ms = None if start is None else round(start.timestamp() * 1000)
    with desk(director, token, data, as_json=as_json) as call:
        if start_ms is not None and not cancel:
            answer = call.ask("PUT", path, ReservationsAnswer, body=ReserveBody(members, start_ms, minutes))
        else:
            answer = call.ask(
                "DELETE", path, ReservationsAnswer, query=None if start_ms is None else {"at_ms": start_ms}
            )
        if as_json:
            tell_json(answer)
            return
        for it in answer.reservations:
            print(_words_of(it, now))
        if cancel:
            print(f"{'nothing is' if not answer.reservations else 'nothing else is'} reserved for {room}")


def reservations(
    *, director: Director = DEFAULT_DIRECTOR, token: Token = "", data: Data = DEFAULT_DATA, as_json: Json = False
) -> None:
    """List the lectures that are announced, the next first. `hall reserve ROOM --cancel` takes one back."""
    from datetime import UTC, datetime

    from director.contract.admin import ReservationsAnswer

    with desk(director, token, data, as_json=as_json) as call:
        answer = call.ask("GET", "/admin/reservations", ReservationsAnswer)
        if as_json:
            tell_json(answer)
        elif answer.reservations:
            from director.cli.reservation_table import show_reservations

            show_reservations(answer.reservations, paper(), now=datetime.now(UTC).astimezone())
        else:
            tell_aside("nothing is reserved")


def _start(at: str, now: "datetime", minutes: int) -> "datetime":
    from director.cli.lecture_time import NoSuchTime, lecture_start

    try:
        return lecture_start(at, now=now, minutes=minutes)
    except NoSuchTime as error:
        fail(str(error), code=ExitCode.USAGE)


def _words_of(told: "ReservationAnswer", now: "datetime") -> str:
    from director.cli.reservation_table import words_of

    return words_of(told, now=now)
