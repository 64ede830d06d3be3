"""OperationTable: an operation as an operator reads it, while it runs and when it is over."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from director.cli.operator_desk import ExitCode
from director.cli.wording import counted, local, shortened, span
from director.contract.operations import MoveState, Operation, OperationKind, OperationState

_BAR = 20
_WIDE = 100
_STYLES = {
    OperationState.RUNNING: "cyan",
    OperationState.DONE: "green",
    OperationState.CANCELLED: "yellow",
    OperationState.FAILED: "red",
    OperationState.INTERRUPTED: "yellow",
}


def title_of(operation: Operation) -> str:
    """`drain node-2`, `move math-101`, `rebalance`."""
    return f"{operation.kind.value} {operation.subject}".rstrip()


def is_whole(operation: Operation) -> bool:
    """Whether all that there was to do is done. A room that closed meanwhile, or found its own way, is."""
    return operation.state is OperationState.DONE and not stranded_of(operation)


def stranded_of(operation: Operation) -> Sequence[str]:
    """The rooms that have nowhere to go. A drain that is done has left none, though its first plan may name some."""
    is_empty = operation.kind is OperationKind.DRAIN and operation.state is OperationState.DONE
    return () if is_empty else operation.plan.stranded


def exit_code_of(operation: Operation) -> ExitCode:
    """How a command that waited for the operation ends."""
    if is_whole(operation):
        return ExitCode.DONE
    nothing_came_of_it = operation.state is OperationState.FAILED and not operation.moved
    return ExitCode.FAILED if nothing_came_of_it else ExitCode.PARTLY


def progress_of(operation: Operation) -> RenderableType:
    """Where it is: a bar by the time that its moves should take, and the rooms that move now."""
    plan = operation.plan
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text(title_of(operation), "bold", overflow="fold"),
        ProgressBar(total=1, completed=_share_of(operation), width=_BAR, complete_style="cyan"),
        Text(f"{span(_lasted(operation))} of about {span(plan.seconds)}", no_wrap=True),
    )
    moving = [f"{move.room} to {move.target}" for move in plan.moves if move.state is MoveState.MOVING]
    words = [_counts_of(operation)]
    if operation.is_cancelling:
        words.append("it stops after the moves under way")
    if moving:
        words.append(f"moving {shortened(moving, most=3)}")
    return Group(row, Text("; ".join(words), "dim", no_wrap=True, overflow="ellipsis"))


def progress_line(operation: Operation) -> str:
    """`drain node-2: 12 of 50 rooms, 480 of 2,000 members, 12 s of about 25 s`."""
    lasted = f"{span(_lasted(operation))} of about {span(operation.plan.seconds)}"
    return f"{title_of(operation)}: {_counts_of(operation)}, {lasted}"


def show_end(operation: Operation, console: Console) -> None:
    """What came of it, what did not, and what to do about that."""
    style = _STYLES[operation.state] if is_whole(operation) or not operation.moved else "yellow"
    console.print(Text(f"{title_of(operation)}: {_end_words(operation)}", style))
    if operation.problem:
        console.print(Text(operation.problem, "yellow" if is_whole(operation) else "red"))
    if operation.state is OperationState.RUNNING:
        console.print(progress_of(operation))
    show_left(operation, console)
    for words in _advice(operation):
        console.print(words)


def show_left(operation: Operation, console: Console) -> None:
    """The rooms that were not moved, and why."""
    left = [move for move in operation.plan.moves if move.problem or move.state is MoveState.FAILED]
    if left:
        table = Table(box=None, pad_edge=False)
        table.add_column("not moved", overflow="fold")
        table.add_column("to", overflow="fold")
        table.add_column("because", overflow="fold")
        for move in left:
            table.add_row(move.room, move.target, move.problem or move.state.value)
        console.print(table)
    if stranded := stranded_of(operation):
        console.print(f"nowhere to go, no node can be given rooms: {shortened(stranded)}", style="red")


def show_operations(operations: Sequence[Operation], console: Console) -> None:
    """One a row, the newest first."""
    is_wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("state", no_wrap=True)
    for heading in ("rooms", *(("members",) if is_wide else ()), "began", *(("lasted",) if is_wide else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    for operation in operations:
        table.add_row(
            operation.id,
            title_of(operation),
            Text(operation.state.value, _STYLES[operation.state]),
            f"{operation.moved:,}/{len(operation.plan.moves):,}",
            *((f"{operation.plan.members:,}",) if is_wide else ()),
            f"{local(operation.started_at_ms):%H:%M:%S}",
            *((span(_lasted(operation)),) if is_wide else ()),
        )
    console.print(table)


def _lasted(operation: Operation) -> float:
    """Seconds by one clock, Redis'."""
    return ((operation.ended_at_ms or operation.heard_at_ms) - operation.started_at_ms) / 1000


def _share_of(operation: Operation) -> float:
    """How much of it is done, between 0 and 1; a room that moves counts for half."""
    whole_s = sum(move.seconds for move in operation.plan.moves)
    weights = {MoveState.PLANNED: 0.0, MoveState.MOVING: 0.5}
    return sum(move.seconds * weights.get(move.state, 1.0) for move in operation.plan.moves) / whole_s if whole_s else 1


def _members_moved(operation: Operation) -> int:
    return sum(move.members for move in operation.plan.moves if move.state is MoveState.DONE)


def _counts_of(operation: Operation) -> str:
    plan = operation.plan
    rooms, members = counted(len(plan.moves), "room"), counted(plan.members, "member")
    return f"{operation.moved:,} of {rooms}, {_members_moved(operation):,} of {members}"


def _end_words(operation: Operation) -> str:
    if is_whole(operation) and not operation.plan.moves:
        return "done, there was nothing to move"
    rooms = counted(len(operation.plan.moves), "room")
    if operation.moved < len(operation.plan.moves):
        rooms = f"{operation.moved:,} of {rooms}"
    members = counted(_members_moved(operation), "member")
    return f"{_state_words(operation)}, {rooms} with {members} moved in {span(_lasted(operation))}"


def _state_words(operation: Operation) -> str:
    match operation.state:
        case OperationState.RUNNING:
            return "running"
        case OperationState.DONE:
            return "done" if is_whole(operation) else "done, as far as it went"
        case OperationState.CANCELLED:
            return "cancelled"
        case OperationState.FAILED:
            return "failed"
        case OperationState.INTERRUPTED:
            return "left when its director ended"


def _advice(operation: Operation) -> list[str]:
    is_drain = operation.kind is OperationKind.DRAIN
    node = operation.subject
    if is_drain and is_whole(operation):
        return [f"{node} is given no rooms; stop it, or let it serve again: `hall uncordon {node}`"]
    if is_drain and operation.state is OperationState.CANCELLED:
        return [f"if {node} is to serve again: `hall uncordon {node}`"]
    if is_drain and operation.state.is_over:
        return [f"{node} keeps what is left: `hall rooms --node {node}`; try again: `hall drain {node}`"]
    if operation.kind is OperationKind.REBALANCE and operation.state.is_over and not is_whole(operation):
        return ["what is left: `hall rebalance --plan`"]
    if operation.kind is OperationKind.MOVE and operation.state.is_over and not is_whole(operation):
        return [f"where it is now: `hall explain {operation.subject}`"]
    return []
