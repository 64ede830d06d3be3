"""`hall replay`: a chat is said again by stock clients in several rooms at once, and the promises are checked."""

from pathlib import Path
from typing import Annotated

import typer

_MAX_ROOMS = 64
_DEFAULT_SPEED = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    file: Annotated[
        Path | None,
        typer.Argument(help="JSON lines of minute, user and text; left out, a chat is made up.", metavar="[FILE]"),
    ] = None,
    *,
    room: Annotated[str, typer.Option("--room", help="The first room; the others are ROOM-2, ROOM-3, ...")] = "replay",
    rooms: Annotated[int, typer.Option("--rooms", min=1, max=_MAX_ROOMS, help="In how many rooms at once.")] = 3,
    speed: Annotated[float, typer.Option("--speed", min=0.1, help="Chat minutes per minute.")] = _DEFAULT_SPEED,
    members: Annotated[
        int | None,
        typer.Option(
            "--members", min=1, help="Members of each room; the chat's users unless given, others are silent."
        ),
    ] = None,
    drops: Annotated[
        float, typer.Option("--drops", min=0, max=1, help="Share of the members that lose their connection once.")
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="For the made-up chat and for who drops when.")] = 1,
    director: Annotated[
        str, typer.Option("--director", envvar="HALL_DIRECTOR_URL", help="The director's address.")
    ] = "http://127.0.0.1:8000",
    store: Annotated[
        str | None,
        typer.Option(
            "--store", envvar="HALL_STORE_URL", help="The store to judge by; the running fleet's unless given."
        ),
    ] = None,
    data: Annotated[Path, typer.Option("--data", envvar="HALL_DATA", help="The fleet's folder.")] = Path(".hall"),
    record: Annotated[
        Path | None, typer.Option("--record", help="Write the history to this file, for hall check.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Replay a chat with stock clients, cut some of their connections, and check what everybody was told and shown."""
    import asyncio

    from director.cli.director_call import NoDirector
    from director.cli.replay_run import ReplayOrder, replay_chat
    from director.contract.ids import room_id_of
    from loadtest.chat_file import UnreadableChat, read_chat
    from loadtest.core.replay_plan import plan_replay, rooms_named
    from loadtest.generated_chat import generated_chat

    names = rooms_named(room, rooms)
    if room_id_of(names[-1]) is None:
        raise typer.BadParameter("1 to 128 characters of A-Za-z0-9._:~-", param_hint="--room")
    try:
        lines = generated_chat(seed=seed) if file is None else read_chat(file)
        plan = plan_replay(lines, names, speed=speed, max_members=members, drop_share=drops, seed=seed)
        order = ReplayOrder(plan, director, store, data, record, seed, as_json)
        holds = asyncio.run(replay_chat(order))
    except (UnreadableChat, NoDirector) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if holds else 1)
