"""`hall failover`: an operator's word on failovers."""

import typer

from director.cli.operator_desk import (
    DEFAULT_DATA,
    DEFAULT_DIRECTOR,
    OPERATING,
    Data,
    Director,
    Json,
    Token,
    desk,
    tell_json,
)

failover = typer.Typer(help="Failovers that wait for an operator.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(failover, name="failover", rich_help_panel=OPERATING)


@failover.callback()
def _commands() -> None:
    """Keeps `resume` a command of its own while it is the only one."""


@failover.command("resume")
def resume(
    *, director: Director = DEFAULT_DIRECTOR, token: Token = "", data: Data = DEFAULT_DATA, as_json: Json = False
) -> None:
    """Let directors declare all nodes dead whose lease has lapsed, for a minute, however many they are.

    They hold it back when too many lapse at once: then the network or Redis may be at fault, and not the nodes.
    """
    from director.contract.admin import ResumeAnswer

    with desk(director, token, data, as_json=as_json) as call:
        answer = call.ask("POST", "/admin/failover/resume", ResumeAnswer)
        if as_json:
            tell_json(answer)
            return
        nodes = "1 node waits" if answer.waiting == 1 else f"{answer.waiting} nodes wait"
        print(f"{nodes} for a verdict; nothing is held back for {answer.lifted_for_ms / 1000:.0f} s")
