"""OperatorDesk: what all commands of operators share, their options, their exit codes, and how they end.

exit code  0  it is done, or shown
           1  it failed, or the director refused it
           2  the command itself is wrong, or there is no token to show
           3  no director answers
           4  not all of it is done: rooms are left where they were, by failure, by cancelling or for want of a node
         130  Ctrl-C: what was begun goes on without the command
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from director.cli.completion import node_names, room_names

if TYPE_CHECKING:
    from rich.console import Console

    from director.cli.director_call import AdminCall
    from director.contract.errors import ErrorDetail

DEFAULT_DIRECTOR = "http://127.0.0.1:8000"
DEFAULT_DATA = Path(".hall")
OPERATING = "Operating the fleet"

# What does not go to a terminal is not squeezed into the width of one.
_PIPED_WIDTH = 200


class ExitCode(IntEnum):
    """How a command of operators ends."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_DIRECTOR = 3
    PARTLY = 4
    LEFT = 130


Director = Annotated[str, typer.Option("--director", envvar="HALL_DIRECTOR_URL", help="The director's address.")]
Token = Annotated[
    str, typer.Option("--token", envvar="HALL_ADMIN_TOKEN", help="The operators' token; the demo's unless given.")
]
Data = Annotated[Path, typer.Option("--data", envvar="HALL_DATA", help="The fleet's folder, with the demo's token.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Plan = Annotated[bool, typer.Option("--plan", help="Only show what would be moved, and why.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end: print the operation's id.")]
Node = Annotated[str, typer.Argument(help="The node.", metavar="NODE", autocompletion=node_names)]
Room = Annotated[str, typer.Argument(help="The room.", metavar="ROOM", autocompletion=room_names)]
RoomsAtATime = Annotated[
    int, typer.Option("--rooms-at-a-time", min=1, max=1_000, help="How many rooms may be on the move.")
]
MembersPerSecond = Annotated[
    float, typer.Option("--members-per-second", min=1, help="How many members may be moved a second.")
]
# The contract's, which is not imported to show the help.
DEFAULT_ROOMS_AT_A_TIME = 4
DEFAULT_MEMBERS_PER_SECOND = 500.0


@contextmanager
def desk(director: str, token: str, data: Path, *, as_json: bool) -> Iterator["AdminCall"]:
    """The admin interface for a command. Whatever goes wrong in the block ends the command: with a sentence for people
    on the error output, with `as_json` the error shape on the output, and the exit code that says what it was."""
    from director.cli.director_call import AdminCall, DirectorRefused, NoDirector, NoToken, operators_token

    try:
        with AdminCall(director, operators_token(token, data)) as call:
            yield call
    except NoToken as error:
        fail(str(error), code=ExitCode.USAGE)
    except NoDirector as error:
        _tell_error("NO_DIRECTOR", str(error), as_json=as_json)
        raise typer.Exit(ExitCode.NO_DIRECTOR) from None
    except DirectorRefused as refused:
        _tell_refusal(refused.error, as_json=as_json)
        raise typer.Exit(ExitCode.FAILED) from None
    except BrokenPipeError:
        raise typer.Exit(ExitCode.DONE) from None  # whoever read our output has seen enough


def fail(words: str, *, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """End the command with a sentence for people."""
    typer.secho(words, fg="red", err=True)
    raise typer.Exit(code)


def tell_json(answer: object) -> None:
    """Print an answer for programs: one line."""
    import msgspec

    print(msgspec.json.encode(answer).decode())


def paper() -> "Console":
    """The output for people: as wide as the terminal, and wide where it is read by something else."""
    import os
    import sys

    from rich.console import Console

    is_piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    # rooms' names and reasons are text: no markup, no emoji in them
    return Console(highlight=False, markup=False, emoji=False, width=_PIPED_WIDTH if is_piped else None)


def tell_aside(words: str) -> None:
    """A line for people beside the output."""
    typer.echo(words, err=True)


def room_path(room: str) -> str:
    """Where the admin interface has the room; ends the command for what is no room's name."""
    from director.contract.ids import room_id_of

    if room_id_of(room) is None:
        fail(f"{room!r} is no room name: 1 to 128 characters of A-Za-z0-9._:~-", code=ExitCode.USAGE)
    if room in (".", ".."):
        # every HTTP client and proxy takes it for a step in the path, also written as %2E
        fail(f"a room called {room!r} cannot be named in an address: nothing can be asked of it", code=ExitCode.USAGE)
    return f"/admin/rooms/{room}"


def node_path(node: str) -> str:
    """Where the admin interface has the node; ends the command for what is no node's name."""
    return f"/admin/nodes/{checked_node(node)}"


def checked_node(node: str) -> str:
    """The node's name; ends the command for what is none."""
    from director.contract.ids import node_name_of

    if node_name_of(node) is None:
        fail(f"{node!r} is no node name: `hall nodes` lists them", code=ExitCode.USAGE)
    return node


def _tell_refusal(error: "ErrorDetail", *, as_json: bool) -> None:
    from director.contract.errors import ErrorShape

    if as_json:
        tell_json(ErrorShape(error))
    typer.secho(f"{error.message} ({error.code})", fg="red", err=True)
    if error.code == "UNAUTHENTICATED":
        typer.echo("give another by --token or HALL_ADMIN_TOKEN, or a demo fleet's folder by --data", err=True)
    elif error.code == "UNSUPPORTED":
        typer.echo("is this director of an older release than the command?", err=True)
    elif error.temporary:
        typer.echo(f"try again in {max(1, round(error.retry_after_ms / 1000))} s", err=True)


def _tell_error(code: str, message: str, *, as_json: bool) -> None:
    from director.contract.errors import ErrorDetail, ErrorShape

    if as_json:
        tell_json(ErrorShape(ErrorDetail(code, message, "retry", True, 0)))
    typer.secho(message, fg="red", err=True)
