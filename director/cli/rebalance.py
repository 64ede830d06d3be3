"""`hall rebalance`: rooms moved so that no node has more than it should, with the fewest members."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from director.cli.operator_desk import (
    DEFAULT_DATA,
    DEFAULT_DIRECTOR,
    DEFAULT_MEMBERS_PER_SECOND,
    DEFAULT_ROOMS_AT_A_TIME,
    OPERATING,
    Data,
    Director,
    ExitCode,
    Json,
    MembersPerSecond,
    NoWait,
    Plan,
    RoomsAtATime,
    Token,
    desk,
    fail,
    paper,
    tell_aside,
    tell_json,
)

if TYPE_CHECKING:
    from director.contract.admin import PlanAnswer

DEFAULT_BOUND = 1.25
_PATH = "/admin/rebalance"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rebalance", rich_help_panel=OPERATING)(rebalance)


def rebalance(
    *,
    plan: Plan = False,
    bound: Annotated[
        float, typer.Option("--bound", min=1.01, max=10, help="How many means a node may have.")
    ] = DEFAULT_BOUND,
    rooms_at_a_time: RoomsAtATime = DEFAULT_ROOMS_AT_A_TIME,
    members_per_second: MembersPerSecond = DEFAULT_MEMBERS_PER_SECOND,
    from_plan: Annotated[
        Path | None,
        typer.Option("--from", help="Run the plan in this file, of --plan --json; - is the input.", allow_dash=True),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run the plan without asking.")] = False,
    no_wait: NoWait = False,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Even out the load: shows the plan, asks, and runs exactly what it showed.

    It moves what is pinned elsewhere or on a draining node, and the fewest members that bring every node within its
    limit; nothing while none is above it. If rooms have changed meanwhile so that the plan no longer fits, nothing is
    moved.
    """
    import msgspec

    from director.contract.admin import ChosenMove, PlanAnswer, RebalanceBody, Started

    if from_plan is not None and (plan or bound != DEFAULT_BOUND):
        fail("--from runs a plan that was made: it goes without --plan and --bound", code=ExitCode.USAGE)
    is_asked = plan or yes or from_plan is not None
    if not is_asked and (as_json or not sys.stdin.isatty()):
        fail("nobody is there to say yes to the plan: give --plan to see it, or --yes to run it", code=ExitCode.USAGE)
    asked = RebalanceBody(True, bound, rooms_at_a_time, members_per_second)
    with desk(director, token, data, as_json=as_json) as call:
        answer = _read_plan(from_plan) if from_plan else call.ask("POST", _PATH, PlanAnswer, body=asked)
        if plan:
            from director.cli.plan_table import tell_plan

            tell_plan(answer, as_json=as_json)
            return
        if not as_json:
            from director.cli.plan_table import show_plan

            show_plan(answer.plan, paper())
        if not answer.plan.moves:
            if as_json:
                tell_json(answer)
            raise typer.Exit(ExitCode.PARTLY if answer.plan.stranded else ExitCode.DONE)
        if not is_asked and not typer.confirm("Run it?", err=True):
            tell_aside("nothing was moved")
            raise typer.Exit(ExitCode.DONE)
        from director.cli.operation_watch import finish

        moves = tuple(ChosenMove(move.room, move.source, move.target) for move in answer.plan.moves)
        started = call.ask("POST", _PATH, Started, body=msgspec.structs.replace(asked, plan=False, moves=moves))
        finish(call, started.operation, as_json=as_json, waits=not no_wait)


def _read_plan(path: Path) -> "PlanAnswer":
    import msgspec

    from director.contract.admin import PlanAnswer

    try:
        text = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return msgspec.json.decode(text, type=PlanAnswer)
    except (OSError, msgspec.MsgspecError) as error:
        fail(f"{path} has no plan of `hall rebalance --plan --json`: {error}", code=ExitCode.USAGE)
