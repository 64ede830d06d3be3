"""NodeTable: the nodes of a fleet as an operator reads them."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from director.cli.wording import counted
from director.contract.admin import NodeAnswer
from director.contract.lease import NodeState

_STYLES = {NodeState.SERVING: "green", NodeState.CORDONED: "yellow", NodeState.DRAINING: "yellow"}
_COMMON_PATH = "/socket.io/"
_BAR = 10
_WIDE = 110


def show_nodes(nodes: Sequence[NodeAnswer], console: Console) -> None:
    """The nodes, one a row, and what is to be done where something is; addresses where there is room for them."""
    is_wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False)
    table.add_column("node", no_wrap=True)
    table.add_column("state")
    for heading in ("members", "rooms", "load", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("lease", justify="right", no_wrap=True)
    if is_wide:
        table.add_column("joins/s", justify="right", no_wrap=True)
        table.add_column("address", overflow="fold")
    table.add_column("", overflow="fold")
    for node in nodes:
        cells: list[str | Text] = [
            node.node,
            _state(node),
            f"{node.members:,}",
            f"{node.rooms:,}",
            f"{node.load:,}",
            "-" if node.limit is None else f"{node.limit:,}",
            load_bar(node.load, node.limit),
            "none" if node.has_lapsed else f"{node.lapses_in_ms / 1000:.1f} s",
        ]
        wide = [f"{node.joins_per_second:,.0f}", _address(node)] if is_wide else []
        table.add_row(*cells, *wide, ", ".join(_notes(node)))
    console.print(table)
    console.print(_sum_of(nodes), style="dim")
    for words in _advice(nodes):
        console.print(words)


def load_bar(load: int, limit: int | None, *, cells: int = _BAR) -> Text:
    """How much of its limit a load is, drawn; red beyond it. Nothing for a node without a limit."""
    if not limit:
        return Text("")
    filled = min(cells, round(cells * load / limit))
    style = "red" if load > limit else "green"
    return Text.assemble(("█" * filled, style), ("░" * (cells - filled), "bright_black"))


def _state(node: NodeAnswer) -> Text:
    return Text("lapsed", "red") if node.has_lapsed else Text(node.state.value, _STYLES[node.state])


def _address(node: NodeAnswer) -> str:
    return node.url if node.path == _COMMON_PATH else f"{node.url}{node.path}"


def _notes(node: NodeAnswer) -> list[str]:
    notes = []
    if node.state is NodeState.DRAINING and node.order is not NodeState.DRAINING:
        notes.append("is stopping")
    if node.capacity != 1.0:
        notes.append(f"capacity {node.capacity:g}")
    if not node.store_ok:
        notes.append("its store fails")
    return notes


def _sum_of(nodes: Sequence[NodeAnswer]) -> str:
    rooms, members = sum(node.rooms for node in nodes), sum(node.members for node in nodes)
    return f"{counted(len(nodes), 'node')}, {counted(rooms, 'room')}, {counted(members, 'member')}"


def _advice(nodes: Sequence[NodeAnswer]) -> list[str]:
    words = []
    hot = [node.node for node in nodes if node.limit is not None and node.load > node.limit and node.rooms > 1]
    if hot:
        words.append(f"above what it should have: {', '.join(hot)}; `hall rebalance --plan` shows what would mend it")
    if lapsed := [node.node for node in nodes if node.has_lapsed]:
        words.append(f"silent, and not declared dead: {', '.join(lapsed)}; if it stays so, `hall failover resume`")
    if not any(node.state is NodeState.SERVING and not node.has_lapsed for node in nodes):
        words.append("no node can be given rooms: start one, or `hall uncordon NODE`")
    return words
