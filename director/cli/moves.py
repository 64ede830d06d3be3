"""`hall move`: one room to another node, with its members."""

import typer

from director.cli.operator_desk import (
    DEFAULT_DATA,
    DEFAULT_DIRECTOR,
    OPERATING,
    Data,
    Director,
    Json,
    Node,
    NoWait,
    Plan,
    Room,
    Token,
    checked_node,
    desk,
    room_path,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("move", rich_help_panel=OPERATING)(move)


def move(
    room: Room,
    node: Node,
    *,
    plan: Plan = False,
    no_wait: NoWait = False,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Move a room to another node while it is used.

    Its members follow by themselves, and nothing is lost. The next rebalancing may move it again: `hall pin` keeps it
    where it is.
    """
    from director.contract.admin import MoveBody, PlanAnswer, Started

    path = f"{room_path(room)}/move"
    body = MoveBody(checked_node(node), plan)
    with desk(director, token, data, as_json=as_json) as call:
        if plan:
            from director.cli.plan_table import tell_plan

            tell_plan(call.ask("POST", path, PlanAnswer, body=body), as_json=as_json)
        else:
            from director.cli.operation_watch import finish

            finish(call, call.ask("POST", path, Started, body=body).operation, as_json=as_json, waits=not no_wait)
