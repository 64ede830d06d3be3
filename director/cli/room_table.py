"""RoomTable: rooms, and all that is known of one, as an operator reads them."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from director.cli.wording import counted, local, span
from director.contract.admin import Explanation, RoomEntry
from director.contract.ownership import PastMove

_WIDE = 100

_WHY = {
    "ring": "its first choice of the ring",
    "bounded": "the first of the ring, in its order, with place for it",
    "least_loaded": "all had too much: the least loaded",
    "pinned": "it is pinned there",
    "draining": "its node is emptied",
    "balance": "to even out the load",
    "ordered": "an operator wants it there",
    "planned": "by a plan of `hall rebalance`",
    "taken_back": "it came back: the other node did not open it",
}


def why_words(why: str) -> str:
    """A reason in words; one that is not known as it is."""
    return _WHY.get(why, why)


def show_rooms(rooms: Sequence[RoomEntry], console: Console) -> None:
    """The rooms, one a row."""
    is_wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False)
    table.add_column("room", overflow="fold")
    table.add_column("node", overflow="fold")
    for heading in ("members", *(("peak",) if is_wide else ()), "load", "epoch", *(("moves",) if is_wide else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why")
    table.add_column("", overflow="fold")
    for room in rooms:
        table.add_row(
            room.room,
            Text(room.owner, "" if room.owner_lives else "red"),
            f"{room.members:,}",
            *((f"{room.peak:,}",) if is_wide else ()),
            f"{room.load:,}",
            str(room.epoch),
            *((str(room.moves),) if is_wide else ()),
            room.why,
            ", ".join(_notes(room)),
        )
    console.print(table)


def _notes(room: RoomEntry) -> list[str]:
    notes = []
    if room.target is not None:
        notes.append(f"moving to {room.target}")
    if not room.owner_lives:
        notes.append("its node is silent or dead")
    if room.pinned is not None:
        notes.append("pinned" if room.pinned == room.owner else f"pinned to {room.pinned}")
    if room.reserved:
        notes.append(f"reserved for {room.reserved:,}")
    return notes


def show_explanation(told: Explanation, console: Console, *, now: datetime) -> None:
    """All of it, one fact a line, and the changes of owner."""
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, words in _facts(told):
        facts.add_row(name, words)
    console.print(Text(told.room, "bold"), soft_wrap=True)
    console.print(facts)
    match told.past:
        case None:
            console.print("\nRedis does not answer, and it keeps the changes of owner: ask again", style="yellow")
        case ():
            pass
        case past:
            console.print()
            console.print(_past_table(past, now=now))


def _facts(told: Explanation) -> list[tuple[str, str]]:
    facts = []
    if told.owner is None:
        facts.append(("owner", "none: it is placed when somebody asks for it"))
    else:
        facts += [
            ("owner", f"{told.owner}, {_owner_words(told)}"),
            ("incarnation", f"{told.incarnation}"),
            ("since", f"epoch {told.epoch}; moved {_times(told.moves)}"),
            ("because", f"{why_words(told.why or '')} ({told.why})"),
            ("members", f"{told.members:,} now, {told.peak:,} at most; counts for {told.load:,}"),
        ]
    if told.target is not None:
        step = "which is ready for it" if told.is_warm else "which is getting ready"
        why = f": {why_words(told.target_why)}" if told.target_why else ""
        facts.append(("moving to", f"{told.target}, {step}{why}"))
    if told.pinned is not None:
        place = "" if told.owner is None or told.pinned == told.owner else f": `hall move {told.room} {told.pinned}`"
        facts.append(("pinned to", f"{told.pinned}{place}"))
    if told.reserved:
        facts.append(("reserved", f"for {counted(told.reserved, 'member')}"))
    facts.append(("ring order", " > ".join(told.ring) or "no nodes"))
    would = told.would_go_to
    words = "nowhere: no node can be given rooms" if would is None else f"{would.node}: {why_words(would.why)}"
    facts.append(("if it had none" if told.owner is not None else "would go to", words))
    return facts


def _owner_words(told: Explanation) -> str:
    match told.owner_state:
        case "lapsed":
            return "whose lease has lapsed; it is not declared dead"
        case "dead":
            return "which is dead: the room gets another when somebody asks for it"
        case state:
            left = "" if told.lease_left_ms is None else f", its lease has {span(told.lease_left_ms / 1000)} left"
            return f"{state}{left}"


def _times(number: int) -> str:
    return "never" if number == 0 else "once" if number == 1 else f"{number:,} times"


def _past_table(past: Sequence[PastMove], *, now: datetime) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("changed", "from", "to"):
        table.add_column(heading, no_wrap=True)
    table.add_column("epoch", justify="right")
    table.add_column("why")
    for move in past:
        at = local(move.at_ms)
        ago = span(max(0.0, (now - at).total_seconds()))
        when = f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M:%S}"
        table.add_row(f"{when}, {ago} ago", move.source or "-", move.target, str(move.epoch), why_words(move.why))
    return table
