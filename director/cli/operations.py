"""`hall operations`: moves, drains and rebalancings, and how far they have come."""

from typing import Annotated

import typer

from director.cli.completion import operation_names
from director.cli.operator_desk import (
    DEFAULT_DATA,
    DEFAULT_DIRECTOR,
    OPERATING,
    Data,
    Director,
    ExitCode,
    Json,
    Token,
    desk,
    fail,
    paper,
    tell_aside,
    tell_json,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("operations", rich_help_panel=OPERATING)(operations)


def operations(
    operation: Annotated[
        str,
        typer.Argument(help="One to follow to its end.", metavar="[ID]", autocompletion=operation_names),
    ] = "",
    *,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop it after the moves that are under way.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Show it as it is now.")] = False,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """List what was done of late, or follow one operation to its end."""
    from urllib.parse import quote

    from director.contract.admin import OperationAnswer, OperationsAnswer, Started

    if not operation and (cancel or no_wait):
        fail("which? `hall operations` lists them", code=ExitCode.USAGE)
    with desk(director, token, data, as_json=as_json) as call:
        if not operation:
            recent = call.ask("GET", "/admin/operations", OperationsAnswer)
            if as_json:
                tell_json(recent)
            elif recent.operations:
                from director.cli.operation_table import show_operations

                show_operations(recent.operations, paper())
            else:
                tell_aside("none of late")
            return
        path = f"/admin/operations/{quote(operation, safe='')}"
        if cancel:
            call.ask("DELETE", path, Started)
        if not no_wait:
            from director.cli.operation_watch import finish

            finish(call, operation, as_json=as_json, waits=True)
        answer = call.ask("GET", path, OperationAnswer)
        if as_json:
            tell_json(answer)
        else:
            from director.cli.operation_table import show_end

            show_end(answer.operation, paper())
