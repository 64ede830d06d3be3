"""`hall check`: recorded histories are judged against the store."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    histories: Annotated[list[Path], typer.Argument(help="History files: JSON lines.", metavar="HISTORY...")],
    *,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", envvar="HALL_STORE_URL", help="The store to judge by; the running fleet's unless given."
        ),
    ] = None,
    director: Annotated[
        str, typer.Option("--director", envvar="HALL_DIRECTOR_URL", help="Asked where no store is in reach.")
    ] = "http://127.0.0.1:8000",
    data: Annotated[Path, typer.Option("--data", envvar="HALL_DATA", help="The fleet's folder.")] = Path(".hall"),
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Prove from histories and the store that every promise was kept: exit code 0, or 1 with what was broken."""
    import asyncio

    from director.cli.history_run import check_histories
    from loadtest.contract.history import UnreadableHistory

    try:
        holds = asyncio.run(
            check_histories(histories, store_url=store, director_url=director, data=data, as_json=as_json)
        )
    except (UnreadableHistory, OSError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if holds else 1)
