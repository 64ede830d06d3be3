"""`hall settings`: every setting of a director and of a node, told by the settings themselves."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ProcessChoice(StrEnum):
    """Whose settings."""

    DIRECTOR = "director"
    NODE = "node"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("settings")(settings)


def settings(
    process: Annotated[
        ProcessChoice | None, typer.Argument(help="director or node; both unless given.", show_default=False)
    ] = None,
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a table for README.md.")] = False,
    into: Annotated[
        Path | None,
        typer.Option("--into", help="Put the Markdown table into this file, between its marks.", dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """List every setting: its name in the environment, its default, its unit and what it does."""
    from director.cli.settings_table import as_markdown, facts_of_both, put_into, show

    facts = [fact for fact in facts_of_both() if process is None or process.value in fact.of]
    if into is not None:
        try:
            put_into(into, as_markdown(facts))
        except (OSError, ValueError) as error:
            typer.secho(f"cannot put the table into {into}: {error}", fg="red", err=True)
            raise typer.Exit(1) from None
    elif markdown:
        print(as_markdown(facts), end="")
    elif as_json:
        import msgspec

        print(msgspec.json.encode(facts).decode())
    else:
        show(facts)
