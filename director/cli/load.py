"""`hall load`: a class of simulated students and lecturers, run by Locust, and the same check as after a replay."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_MAX_ROOMS = 64


class ShapeChoice(StrEnum):
    """How the class arrives."""

    BELL = "bell"
    STEADY = "steady"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("load")(load)


def load(
    shape: Annotated[
        ShapeChoice, typer.Argument(help="bell: most come in the first seconds. steady: one after the other.")
    ],
    *,
    students: Annotated[int, typer.Option("--students", min=1, help="How many, in all rooms together.")] = 100,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, help="How long the run lasts.")] = 2.0,
    rooms: Annotated[int, typer.Option("--rooms", min=1, max=_MAX_ROOMS, help="In how many rooms.")] = 3,
    room: Annotated[str, typer.Option("--room", help="The first room; the others are ROOM-2, ROOM-3, ...")] = "load",
    seed: Annotated[int, typer.Option("--seed", help="For who does what when.")] = 1,
    director: Annotated[
        str, typer.Option("--director", envvar="HALL_DIRECTOR_URL", help="The director's address.")
    ] = "http://127.0.0.1:8000",
    store: Annotated[
        str | None,
        typer.Option("--store", envvar="HALL_STORE_URL", help="The store to judge by; else the running fleet's."),
    ] = None,
    data: Annotated[Path, typer.Option("--data", envvar="HALL_DATA", help="The fleet's folder.")] = Path(".hall"),
    reports: Annotated[
        Path, typer.Option("--reports", help="A folder for the run's report, tables and history is made in it.")
    ] = Path("reports"),
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Run a class against the fleet, write Locust's report, and check what everybody was told and shown."""
    import asyncio

    from director.cli.load_run import CannotLoad, LoadOrder, run_load
    from director.contract.ids import room_id_of
    from loadtest.core.replay_plan import rooms_named

    names = rooms_named(room, rooms)
    if room_id_of(names[-1]) is None:
        raise typer.BadParameter("1 to 128 characters of A-Za-z0-9._:~-", param_hint="--room")
    order = LoadOrder(shape.value, students, minutes * 60, names, seed, director, store, data, reports, as_json)
    try:
        holds = asyncio.run(run_load(order))
    except CannotLoad as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if holds else 1)
