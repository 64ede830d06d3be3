"""`hall pin` and `hall unpin`: rooms that belong on a node, whatever the ring and the loads say."""

import typer

from director.cli.operator_desk import (
    DEFAULT_DATA,
    DEFAULT_DIRECTOR,
    OPERATING,
    Data,
    Director,
    Json,
    Node,
    Room,
    Token,
    checked_node,
    desk,
    room_path,
    tell_json,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("pin", rich_help_panel=OPERATING)(pin)
    app.command("unpin", rich_help_panel=OPERATING)(unpin)


def pin(
    room: Room,
    node: Node,
    *,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Say that a room belongs on a node.

    It moves nothing by itself: `hall move` does, and the next rebalancing.
    """
    from director.contract.admin import PinAnswer, PinBody

    path = f"{room_path(room)}/pin"
    body = PinBody(checked_node(node))
    with desk(director, token, data, as_json=as_json) as call:
        answer = call.ask("PUT", path, PinAnswer, body=body)
        if as_json:
            tell_json(answer)
            return
        print(f"{answer.room} belongs on {answer.node}")
        if answer.owner is None:
            print("it is placed there when somebody asks for it")
        elif answer.owner != answer.node:
            print(f"it is on {answer.owner} now: `hall move {answer.room} {answer.node}` moves it")


def unpin(
    room: Room,
    *,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Take a pin back. The room stays where it is."""
    from director.contract.admin import PinAnswer

    path = f"{room_path(room)}/pin"
    with desk(director, token, data, as_json=as_json) as call:
        answer = call.ask("DELETE", path, PinAnswer)
        if as_json:
            tell_json(answer)
        else:
            where = "" if answer.owner is None else f"; it stays on {answer.owner}"
            print(f"{answer.room} is pinned nowhere{where}")
