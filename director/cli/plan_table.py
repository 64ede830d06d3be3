"""PlanTable: what an operation would move and why, before it is run."""

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table

from director.cli.node_table import load_bar
from director.cli.operator_desk import ExitCode, paper, tell_json
from director.cli.room_table import why_words
from director.cli.wording import counted, shortened, span
from director.contract.admin import PlanAnswer
from director.contract.operations import NodeBeforeAfter, OperationPlan, PlannedMove

_MAX_MOVES = 40


def show_plan(plan: OperationPlan, console: Console) -> None:
    """The moves in their order, the load of the nodes before and after, and what it takes in all."""
    if plan.moves:
        console.print(_moves_table(plan.moves[:_MAX_MOVES]))
        if (hidden := len(plan.moves) - _MAX_MOVES) > 0:
            console.print(f"and {counted(hidden, 'more move')}: --json lists them")
        console.print()
        _show_nodes(plan.nodes, console)
        console.print()
    console.print(plan_sum(plan))
    if plan.stranded:
        names = shortened(plan.stranded)
        console.print(f"nowhere to go, no node can be given rooms: {names}", style="red")
    if hot := [node.node for node in plan.nodes if node.is_hot]:
        console.print(f"above what they should have afterwards: {', '.join(hot)}", style="yellow")


def plan_sum(plan: OperationPlan) -> str:
    """What it takes in all, in a sentence or two."""
    if not plan.moves:
        return "nothing to move"
    return (
        f"{counted(len(plan.moves), 'room')} with {counted(plan.members, 'member')} in about {span(plan.seconds)}; "
        f"while a room moves, messages wait for about {plan.expected_pause_ms} ms"
    )


def _moves_table(moves: Sequence[PlannedMove]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("room", overflow="fold")
    table.add_column("from", overflow="fold")
    table.add_column("to", overflow="fold")
    table.add_column("members", justify="right", no_wrap=True)
    table.add_column("takes", justify="right", no_wrap=True)
    table.add_column("why")
    for move in moves:
        takes = span(move.seconds)
        table.add_row(move.room, move.source, move.target, f"{move.members:,}", takes, why_words(move.why))
    return table


def _show_nodes(nodes: Sequence[NodeBeforeAfter], console: Console) -> None:
    changed = [node for node in nodes if node.before != node.after or node.is_hot]
    table = Table(box=None, pad_edge=False)
    table.add_column("node", overflow="fold")
    for heading in ("load before", "after", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for node in changed:
        limit = "-" if node.limit is None else f"{node.limit:,}"
        after = f"{node.after:,}"
        table.add_row(node.node, f"{node.before:,}", after, limit, load_bar(node.after, node.limit))
    console.print(table)
    if same := len(nodes) - len(changed):
        console.print(f"{counted(same, 'other node')} as before", style="dim")


def tell_plan(answer: PlanAnswer, *, as_json: bool) -> None:
    """Show a plan that is not run, or print it; ends the command where rooms would be stranded."""
    if as_json:
        tell_json(answer)
    else:
        show_plan(answer.plan, paper())
    if answer.plan.stranded:
        raise typer.Exit(ExitCode.PARTLY)
