"""Screen: how `hall up` shows what happens, as a live table on a terminal and as plain lines elsewhere."""

from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from director.cli.data_folder import ProcessFacts

_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
_STATES = {"starting": "yellow", "ready": "green", "waiting": "dim", "stopped": "dim"}
_LOUD = ("warning", "error", "critical", "exception")


class Screen:
    """What the person who ran `hall up` sees. With `verbose`, all that the processes write; else their warnings."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._console = Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._colour_of: dict[str, str] = {}

    @property
    def is_terminal(self) -> bool:
        return self._console.is_terminal

    def show_start(self, facts: Sequence[ProcessFacts], *, elapsed: float) -> None:
        """The table of a fleet that is starting: drawn over itself on a terminal, not at all elsewhere."""
        if self.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False)
                self._live.start()
            self._live.update(_table(facts, elapsed=elapsed), refresh=True)

    def end_start(self, facts: Sequence[ProcessFacts], *, elapsed: float) -> None:
        """Leave the table as it is and go on below."""
        self.show_start(facts, elapsed=elapsed)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tell(self, words: str, *, style: str = "") -> None:
        """A line from the supervisor itself."""
        self._console.print(Text(words, style=style))

    def tell_line(self, name: str, line: str, *, is_chatty: bool) -> None:
        """A line that a process wrote; those of a chatty one are for the log unless all is wanted."""
        level, words = _tidy(line)
        is_loud = level in _LOUD or (level is None and not is_chatty)
        if self._verbose or is_loud:
            colour = self._colour_of.setdefault(name, _COLOURS[len(self._colour_of) % len(_COLOURS)])
            style = "red" if level in _LOUD else ""
            self._console.print(Text.assemble((f"{name:>9} | ", colour), (words, style)))


def _table(facts: Sequence[ProcessFacts], *, elapsed: float) -> Table:
    table = Table(title="hall up", title_justify="left", title_style="bold")
    for heading in ("process", "pid", "address", "state"):
        table.add_column(heading)
    table.add_column("seconds", justify="right")
    for fact in facts:
        seconds = fact.seconds if fact.state == "ready" else elapsed
        state = Text(fact.state, style=_STATES[fact.state])
        table.add_row(fact.name, str(fact.pid or ""), fact.address, state, f"{seconds:.1f}")
    return table


def _tidy(line: str) -> tuple[str | None, str]:
    """A structured log line as (level, words to read); another line as (None, the line)."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None, line
    if "event" not in fields:
        return None, line
    level, event = str(fields.pop("level", "info")), fields.pop("event")
    trace = fields.pop("exception", "")
    for known in ("timestamp", "process", "process_incarnation"):
        fields.pop(known, None)
    words = " ".join([str(event), *(f"{name}={value}" for name, value in fields.items())])
    return level, f"{words}\n{trace}" if trace else words
