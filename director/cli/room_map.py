"""`hall rooms` and `hall explain`: where rooms are, and why."""

from typing import Annotated

import typer

from director.cli.completion import node_names
from director.cli.operator_desk import (
    DEFAULT_DATA,
    DEFAULT_DIRECTOR,
    OPERATING,
    Data,
    Director,
    Json,
    Room,
    Token,
    checked_node,
    desk,
    paper,
    room_path,
    tell_aside,
    tell_json,
)

_PAGE = 1_000


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("rooms", rich_help_panel=OPERATING)(rooms)
    app.command("explain", rich_help_panel=OPERATING)(explain)


def rooms(
    *,
    node: Annotated[str, typer.Option("--node", help="Of this node alone.", autocompletion=node_names)] = "",
    prefix: Annotated[str, typer.Option("--prefix", help="Only those whose names begin so.")] = "",
    after: Annotated[str, typer.Option("--after", help="Begin after this room.", metavar="ROOM")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """List rooms by name: their node, members, what they count for, and why they are there."""
    from director.contract.admin import RoomEntry, RoomsAnswer

    if node:
        checked_node(node)
    with desk(director, token, data, as_json=as_json) as call:
        found: list[RoomEntry] = []
        more = True
        while more and (everything or len(found) < limit):
            page = _PAGE if everything else min(_PAGE, limit - len(found))
            query: dict[str, str | int] = {"limit": page}
            query |= {name: said for name, said in (("node", node), ("prefix", prefix), ("after", after)) if said}
            answer = call.ask("GET", "/admin/rooms", RoomsAnswer, query=query)
            found += answer.rooms
            more = answer.more and bool(answer.rooms) and found[-1].room != after
            after = found[-1].room if found else after
        if as_json:
            tell_json(RoomsAnswer(tuple(found), more))
            return
        from director.cli.room_table import show_rooms

        if found:
            show_rooms(found, paper())
        else:
            tell_aside(
                "no rooms" + (" like that" if node or prefix or after else ": they come with their first member")
            )
        if more:
            tell_aside(f"there are more: --all, or --after {after}")


def explain(
    room: Room,
    *,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Tell all that is known of a room: its owner and why, its lease, its load, its moves, where it would go."""
    from director.contract.admin import Explanation

    path = room_path(room)
    with desk(director, token, data, as_json=as_json) as call:
        answer = call.ask("GET", path, Explanation)
        if as_json:
            tell_json(answer)
            return
        from datetime import UTC, datetime

        from director.cli.room_table import show_explanation

        show_explanation(answer, paper(), now=datetime.now(UTC).astimezone())
