"""`hall nodes`, `hall cordon`, `hall uncordon` and `hall capacity`: the nodes, and what they are given."""

from typing import Annotated

import typer

from director.cli.operator_desk import (
    DEFAULT_DATA,
    DEFAULT_DIRECTOR,
    OPERATING,
    Data,
    Director,
    Json,
    Node,
    Token,
    desk,
    node_path,
    paper,
    tell_json,
)

_MAX_SHARE = 1_000


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("nodes", rich_help_panel=OPERATING)(nodes)
    app.command("cordon", rich_help_panel=OPERATING)(cordon)
    app.command("uncordon", rich_help_panel=OPERATING)(uncordon)
    app.command("capacity", rich_help_panel=OPERATING)(capacity)


def nodes(
    *, director: Director = DEFAULT_DIRECTOR, token: Token = "", data: Data = DEFAULT_DATA, as_json: Json = False
) -> None:
    """List the nodes: state, members, rooms, load beside what it should be at most, lease."""
    from director.contract.admin import NodesAnswer

    with desk(director, token, data, as_json=as_json) as call:
        answer = call.ask("GET", "/admin/nodes", NodesAnswer)
        if as_json:
            tell_json(answer)
            return
        from director.cli.node_table import show_nodes

        show_nodes(answer.nodes, paper())


def cordon(
    node: Node,
    *,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Give a node no more rooms. It keeps those that it has."""
    _order(node, "cordon", director, token, data, as_json=as_json)


def uncordon(
    node: Node,
    *,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Let a node be given rooms again, after `hall cordon` or `hall drain`. It moves none there."""
    _order(node, "uncordon", director, token, data, as_json=as_json)


def capacity(
    node: Node,
    share: Annotated[
        float,
        typer.Argument(min=0.001, max=_MAX_SHARE, help="1 is a common node; 2 takes twice the load.", metavar="SHARE"),
    ],
    *,
    director: Director = DEFAULT_DIRECTOR,
    token: Token = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Say how much of the load a node should have beside others. It moves nothing."""
    from director.contract.admin import CapacityAnswer, CapacityBody

    path = f"{node_path(node)}/capacity"
    with desk(director, token, data, as_json=as_json) as call:
        answer = call.ask("PUT", path, CapacityAnswer, body=CapacityBody(share))
        if as_json:
            tell_json(answer)
        else:
            print(f"{answer.node} counts for {answer.share:g} nodes; `hall rebalance --plan` shows what would move")


def _order(node: str, verb: str, director: str, token: str, data: Data, *, as_json: bool) -> None:
    from director.contract.admin import NodeOrdered
    from director.contract.lease import NodeState

    path = f"{node_path(node)}/{verb}"
    with desk(director, token, data, as_json=as_json) as call:
        answer = call.ask("POST", path, NodeOrdered)
        if as_json:
            tell_json(answer)
            return
        match answer.state:
            case NodeState.SERVING:
                print(f"{answer.node} serves: it may be given rooms")
            case NodeState.CORDONED:
                print(f"{answer.node} is cordoned: it is given no rooms, and keeps those that it has")
            case NodeState.DRAINING:
                print(f"{answer.node} is draining: it is given no rooms, and those that it has are moved away")
