"""`hall store`: what an operator does to the store: upgrade it, check it, prune it, erase from it, restore it."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

DEFAULT_DATA = Path(".hall")

StoreUrl = Annotated[
    str,
    typer.Option("--store", envvar="HALL_STORE_URL", help="The store's URL; the SQLite file of --data unless given."),
]
Data = Annotated[Path, typer.Option("--data", envvar="HALL_DATA", help="The fleet's folder.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
OneRoom = Annotated[str, typer.Option("--room", help="This room alone.", metavar="ROOM")]

store = typer.Typer(help="The store: upgrade, check, prune, erase, restore.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(store, name="store")


@store.command("upgrade")
def upgrade(*, store_url: StoreUrl = "", data: Data = DEFAULT_DATA) -> None:
    """Bring the store to this release's schema; making it if it is not there.

    Do this first, while the fleet of the former release runs, and then put the new release in its place process by
    process. Harmless where there is nothing to do.
    """
    from director.cli.store_run import upgrade_store

    run(lambda: upgrade_store(url_of(store_url, data)))


@store.command("check")
def check(*, store_url: StoreUrl = "", data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Tell whether this release can work on the store: exit code 0, or 1 with what to do."""
    from director.cli.store_run import check_store

    run(lambda: check_store(url_of(store_url, data), as_json=as_json))


@store.command("prune")
def prune(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", help="What goes: 36h, 180d, 26w, 2y; a day at least.", metavar="AGE")
    ],
    room: OneRoom = "",
    store_url: StoreUrl = "",
    data: Data = DEFAULT_DATA,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove old entries for good, a few at a time, while the fleet runs. Ended early, it goes on next time.

    Numbers, modes and notices stay. Members that come back from before what is left are told `too_far`. A room that is
    open keeps its newest 500 entries in memory until it closes.
    """
    from director.cli.store_run import prune_store
    from persistence.core.ages import MIN_AGE, age_of

    age = age_of(older_than)
    if age is None:
        fail(f"{older_than!r} is no age: write 36h, 180d, 26w or 2y", code=2)
    if age < MIN_AGE:
        fail("entries are kept for a day at least: until then a retry of a send must find what it made", code=2)
    room_id = room_of(room)
    run(lambda: prune_store(url_of(store_url, data), age=age, room=room_id, dry_run=dry_run, as_json=as_json))


@store.command("erase")
def erase(
    *,
    user: Annotated[str, typer.Option("--user", help="Whose messages, by the platform's id.", metavar="USER")],
    room: OneRoom = "",
    store_url: StoreUrl = "",
    data: Data = DEFAULT_DATA,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase what one person wrote, for good and everywhere; numbered tombstones without text and author stay.

    Rooms that are live are taken from their node for a moment: members come back by themselves within seconds. When
    the command returns with 0, no node that reaches the store shows any of it. Backups and exports are yours to see to.
    """
    from director.cli.store_run import erase_from_store
    from director.contract.ids import user_id_of

    user_id, room_id = user_id_of(user), room_of(room)
    if user_id is None:
        fail(f"{user!r} is no user: 1 to 128 printable characters", code=2)
    run(lambda: erase_from_store(url_of(store_url, data), user_id, room=room_id, ask=_asker(yes), as_json=as_json))


@store.command("new-log")
def new_log(
    *, room: OneRoom = "", store_url: StoreUrl = "", data: Data = DEFAULT_DATA, yes: Yes = False, as_json: Json = False
) -> None:
    """Give every room a new log, after a restore from a backup: clients begin anew instead of trusting old numbers."""
    from director.cli.store_run import begin_new_logs

    room_id = room_of(room)
    run(lambda: begin_new_logs(url_of(store_url, data), room=room_id, ask=_asker(yes), as_json=as_json))


def url_of(store_url: str, data: Path) -> str:
    """The store that is meant: the given one, else the file in a fleet's folder."""
    return store_url or f"sqlite+aiosqlite:///{data.absolute() / 'store.sqlite3'}"


def room_of(room: str) -> Any:
    """The room's id, None for no room; ends the command for what is no room's name."""
    from director.contract.ids import room_id_of

    if not room:
        return None
    room_id = room_id_of(room)
    if room_id is None:
        fail(f"{room!r} is no room name: 1 to 128 characters of A-Za-z0-9._:~-", code=2)
    return room_id


def run(work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Run the work and exit with its code; 1 and a sentence where the store cannot do it."""
    import asyncio

    from persistence.contract.store import StoreUnavailable
    from persistence.migrate import SchemaTooNew

    try:
        code = asyncio.run(work())
    except (StoreUnavailable, SchemaTooNew, ValueError) as error:
        fail(str(error))
    except BrokenPipeError:
        code = 0  # whoever read our output has seen enough
    except KeyboardInterrupt:
        fail("stopped; what was done is done, and the same command goes on from there", code=130)
    raise typer.Exit(code)


def fail(words: str, *, code: int = 1) -> NoReturn:
    """End the command with a sentence for people."""
    typer.secho(words, fg="red", err=True)
    raise typer.Exit(code)


def _asker(yes: bool) -> Callable[[str], bool]:
    def ask(question: str) -> bool:
        return yes or typer.confirm(question, err=True)

    return ask
