"""`hall failover`: an operator's word on failovers."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

_TIMEOUT = 5.0

failover = typer.Typer(help="Failovers that wait for an operator.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(failover, name="failover")


@failover.callback()
def _commands() -> None:
    """Keeps `resume` a command of its own while it is the only one."""


@failover.command("resume")
def resume(
    *,
    director: Annotated[
        str, typer.Option("--director", envvar="HALL_DIRECTOR_URL", help="The director's address.")
    ] = "http://127.0.0.1:8000",
    token: Annotated[
        str,
        typer.Option("--token", envvar="HALL_ADMIN_TOKEN", help="The operators' token; the demo's unless given."),
    ] = "",
    data: Annotated[
        Path, typer.Option("--data", envvar="HALL_DATA", help="The fleet's folder, with the demo's token.")
    ] = Path(".hall"),
) -> None:
    """Let directors declare all nodes dead whose lease has lapsed, for a minute, however many they are.

    They hold it back when too many lapse at once: then the network or Redis may be at fault, and not the nodes.
    """
    import httpx
    import msgspec

    from director.admin import ResumeAnswer
    from director.contract.errors import ErrorShape

    try:
        answer = httpx.post(
            f"{director.rstrip('/')}/admin/failover/resume",
            headers={"Authorization": f"Bearer {token or _demo_token(data)}"},
            timeout=_TIMEOUT,
            trust_env=False,
        )
        if answer.is_success:
            resumed = msgspec.json.decode(answer.content, type=ResumeAnswer)
        else:
            _fail(msgspec.json.decode(answer.content, type=ErrorShape).error.message)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _fail(f"no director answers at {director} ({type(error).__name__}): give --director")
    except msgspec.DecodeError:
        _fail(f"what answers at {director} is no director: give --director")
    nodes = "1 node waits" if resumed.waiting == 1 else f"{resumed.waiting} nodes wait"
    print(f"{nodes} for a verdict; nothing is held back for {resumed.lifted_for_ms / 1000:.0f} s")


def _demo_token(data: Path) -> str:
    from director.shared_secret import ADMIN_TOKEN

    try:
        return (data / ADMIN_TOKEN).read_text().strip()
    except OSError:
        _fail(f"give the operators' token by --token or HALL_ADMIN_TOKEN, or a demo fleet's folder by --data: {data}")


def _fail(words: str) -> NoReturn:
    typer.secho(words, fg="red", err=True)
    raise typer.Exit(1)
