"""`hall route`, `hall send` and `hall tail`: one room, as one of its members."""

import getpass
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from director.cli.room_visit import Visitor

_MAX_TAIL = 200
_SEND_WITHIN = 30.0


class RoleChoice(StrEnum):
    """What one may say to be in demo mode."""

    STUDENT = "student"
    ASSISTANT = "assistant"
    LECTURER = "lecturer"


Room = Annotated[str, typer.Argument(help="The room, for example math-101.", metavar="ROOM")]
DirectorUrl = Annotated[str, typer.Option("--director", envvar="HALL_DIRECTOR_URL", help="The director's address.")]
User = Annotated[str, typer.Option("--user", help="Who asks, in demo mode; your login name unless given.")]
Name = Annotated[str, typer.Option("--name", help="The name that others see; the user unless given.")]
Role = Annotated[RoleChoice, typer.Option("--role", help="In demo mode.")]
Token = Annotated[str, typer.Option("--token", envvar="HALL_TOKEN", help="The platform's JWT, in place of the above.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

DEFAULT_DIRECTOR = "http://127.0.0.1:8000"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("route")(route)
    app.command("send")(send)
    app.command("tail")(tail)


def route(
    room: Room,
    *,
    director: DirectorUrl = DEFAULT_DIRECTOR,
    user: User = "",
    name: Name = "",
    role: Role = RoleChoice.STUDENT,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Ask the director which node has the room."""
    from director.cli.room_visit import show_route

    visitor = _visitor(room, director, user, name, role, token)
    _run(lambda: show_route(visitor, as_json=as_json))


def send(
    room: Room,
    text: Annotated[str, typer.Argument(help="What to say.", metavar="TEXT")],
    *,
    director: DirectorUrl = DEFAULT_DIRECTOR,
    user: User = "",
    name: Name = "",
    role: Role = RoleChoice.STUDENT,
    token: Token = "",
    question: Annotated[bool, typer.Option("--question", help="Mark it as a question.")] = False,
    within: Annotated[float, typer.Option("--within", min=1, help="Seconds to keep trying.")] = _SEND_WITHIN,
    as_json: Json = False,
) -> None:
    """Say something in the room; prints its number once it is stored."""
    from director.cli.room_visit import send_text
    from persistence.contract.messages import Kind

    visitor = _visitor(room, director, user, name, role, token)
    kind = Kind.QUESTION if question else Kind.MESSAGE
    _run(lambda: send_text(visitor, text, kind=kind, as_json=as_json, within=within))


def tail(
    room: Room,
    *,
    history: Annotated[
        int, typer.Option("--history", "-n", min=0, max=_MAX_TAIL, help="How many entries to begin with.")
    ] = 10,
    director: DirectorUrl = DEFAULT_DIRECTOR,
    user: User = "",
    name: Name = "",
    role: Role = RoleChoice.STUDENT,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Show live what is said in the room. Ctrl-C ends it."""
    from director.cli.room_visit import follow

    visitor = _visitor(room, director, user, name, role, token)
    _run(lambda: follow(visitor, history=history, as_json=as_json))


def _visitor(room: str, director: str, user: str, name: str, role: RoleChoice, token: str) -> "Visitor":
    from director.cli.room_visit import Visitor
    from director.contract.ids import room_id_of, user_id_of

    room_id, user_id = room_id_of(room), user_id_of(user or getpass.getuser())
    if room_id is None:
        _fail(f"{room!r} is no room name: 1 to 128 characters of A-Za-z0-9._:~-")
    if user_id is None:
        _fail(f"{user!r} is no user name: 1 to 128 printable characters")
    return Visitor(director, room_id, user_id, name or user_id, role.value, token or None)


def _run(visit: Callable[[], Coroutine[Any, Any, None]]) -> None:
    import asyncio

    from director.cli.room_visit import RoomClosedToUs

    try:
        asyncio.run(visit())
    except RoomClosedToUs as error:
        _fail(str(error))
    except BrokenPipeError:
        raise typer.Exit(0) from None  # whoever read our output has seen enough


def _fail(words: str) -> NoReturn:
    typer.secho(words, fg="red", err=True)
    raise typer.Exit(1)
