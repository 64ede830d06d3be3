"""`hall drain`: a node emptied in good order, to be stopped or looked at."""

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
    Node,
    NoWait,
    Plan,
    RoomsAtATime,
    Token,
    desk,
    fail,
    node_path,
    tell_json,
)

if TYPE_CHECKING:
    from director.contract.lease import NodeState

DEFAULT_WITHIN = 300.0
_MAX_WITHIN = 86_400


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drain", rich_help_panel=OPERATING)(drain)


def drain(
    node: Node,
    *,
    plan: Plan = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="End the drain: rooms that are there stay, and it may be given more.")
    ] = False,
    within: Annotated[
        float, typer.Option("--within", min=1, max=_MAX_WITHIN, help="Give up after so many seconds.")
    ] = DEFAULT_WITHIN,
    rooms_at_a_time: RoomsAtATime = DEFAULT_ROOMS_AT_A_TIME,
    members_per_second: MembersPerSecond = DEFAULT_MEMBERS_PER_SECOND,
    no_wait: NoWait = False,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Move all rooms away from a node, and give it no more.

    Small rooms go first; their members follow by themselves. However the drain ends, the node is cordoned then, also
    over its restart, until `hall uncordon`. A node that is stopped by SIGTERM drains by itself.
    """
    from director.contract.admin import DrainBody, NodeOrdered, PlanAnswer, Started

    path = f"{node_path(node)}/drain"
    if cancel and (plan or no_wait):
        fail("--cancel goes alone", code=ExitCode.USAGE)
    with desk(director, token, data, as_json=as_json) as call:
        if cancel:
            ordered = call.ask("DELETE", path, NodeOrdered)
            if as_json:
                tell_json(ordered)
            else:
                print(_ended_words(ordered.node, ordered.state))
            return
        body = DrainBody(plan, rooms_at_a_time, members_per_second, within)
        if plan:
            from director.cli.plan_table import tell_plan

            tell_plan(call.ask("POST", path, PlanAnswer, body=body), as_json=as_json)
        else:
            from director.cli.operation_watch import finish

            finish(call, call.ask("POST", path, Started, body=body).operation, as_json=as_json, waits=not no_wait)


def _ended_words(node: str, state: "NodeState") -> str:
    """What has become of the node, whose state now is what it says of itself."""
    from director.contract.lease import NodeState

    match state:
        case NodeState.SERVING:
            return f"{node} is serving; it keeps the rooms that have not been moved"
        case NodeState.CORDONED:
            return f"{node} is cordoned: it is given no rooms, and keeps those that have not been moved"
        case NodeState.DRAINING:
            return f"{node} is draining by itself, since it was told to stop: its rooms still go to other nodes"
