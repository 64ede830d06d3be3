"""OperationWatch: an operation followed from a terminal until it is over, or until the operator leaves it.

The operation does not depend on who watches: it runs in a director, and goes on when the watch ends.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.live import Live

from director.cli.director_call import AdminCall, DirectorRefused, NoDirector
from director.cli.operation_table import progress_line, progress_of
from director.cli.operator_desk import ExitCode, tell_aside
from director.contract.admin import OperationAnswer, Started
from director.contract.errors import ErrorCode
from director.contract.operations import Operation, OperationKind, OperationState

_LOOK_EVERY = 0.4
_SILENCE = 30.0
_TELL_EVERY = 2.0
# A drain is an order: another director that takes the steward's place goes on with it.
_TAKEN_UP_WITHIN = 20.0


class OperationWatch:
    """One operation, followed. `pause` waits for so many seconds, `clock` counts them; tests bring their own."""

    def __init__(
        self,
        call: AdminCall,
        operation: str,
        *,
        is_quiet: bool = False,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._id = operation
        self._pause = pause
        self._clock = clock
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._is_quiet = is_quiet and not self._console.is_terminal
        self._live: Live | None = None
        self._told: object = None
        self._told_at: float | None = None

    def until_over(self) -> Operation:
        """Show its progress beside the output, and answer it as it was told last once it is over. Raises NoDirector
        when none answers for half a minute, DirectorRefused if it is not known, and typer.Exit if the operator leaves
        it with Ctrl-C; before that he is asked whether it is to be cancelled."""
        while True:
            try:
                with self._shown():
                    return self._follow()
            except KeyboardInterrupt:
                self._on_interrupt()

    def _follow(self) -> Operation:
        heard_at = self._clock()
        interrupted_at: float | None = None
        while True:
            now = self._clock()
            try:
                operation = self._call.ask("GET", self._path, OperationAnswer).operation
            except (NoDirector, DirectorRefused) as error:
                is_temporary = isinstance(error, NoDirector) or error.error.temporary
                if not is_temporary or now - heard_at > _SILENCE:
                    tell_aside(self._way_back)
                    raise
                self._tell("the director does not answer; asking again")
            else:
                heard_at = now
                self._show(operation)
                if operation.state is not OperationState.INTERRUPTED:
                    interrupted_at = None
                    if operation.state.is_over:
                        return operation
                elif operation.kind is not OperationKind.DRAIN:
                    return operation
                else:
                    interrupted_at = interrupted_at if interrupted_at is not None else now
                    if now - interrupted_at > _TAKEN_UP_WITHIN:
                        return operation
                    self._tell("its director has ended; waiting for another to go on with it")
            self._pause(_LOOK_EVERY)

    def _on_interrupt(self) -> None:
        """Ctrl-C: cancel it and go on watching, or leave it."""
        wants = False
        if sys.stdin.isatty():
            try:
                wants = typer.confirm("\nCancel it? It stops after the moves under way.", err=True)
            except (typer.Abort, KeyboardInterrupt):
                tell_aside("")
        if not wants:
            tell_aside(self._way_back)
            raise typer.Exit(ExitCode.LEFT)
        try:
            self._call.ask("DELETE", self._path, Started)
        except DirectorRefused as refused:
            # It has ended while the operator thought about it: what came of it is told by following on, which also
            # says if it is not known any more.
            if refused.error.code != ErrorCode.BAD_REQUEST:
                raise

    @property
    def _path(self) -> str:
        return f"/admin/operations/{self._id}"

    @property
    def _way_back(self) -> str:
        return f"it goes on without you: `hall operations {self._id}` follows it, with --cancel it is cancelled"

    @contextmanager
    def _shown(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            try:
                yield
            finally:
                self._live = None

    def _show(self, operation: Operation) -> None:
        if self._live is not None:
            self._live.update(progress_of(operation), refresh=True)
        elif operation.state is OperationState.RUNNING:
            self._tell(progress_line(operation), as_of=(operation.moved, operation.is_cancelling))

    def _tell(self, words: str, *, as_of: object = None) -> None:
        """A line, if it tells of something else than the last one; how far it is (`as_of`) not too often."""
        news = words if as_of is None else as_of
        is_soon = as_of is not None and self._told_at is not None and self._clock() - self._told_at < _TELL_EVERY
        if news != self._told and not is_soon:
            self._told, self._told_at = news, self._clock()
            if not self._is_quiet:
                self._console.print(words)


def finish(call: AdminCall, operation: str, *, as_json: bool, waits: bool) -> None:
    """Follow the operation, show what came of it and end the command with the exit code that says it; without waiting
    only tell its id."""
    from director.cli.operation_table import exit_code_of, show_end
    from director.cli.operator_desk import paper, tell_json

    if not waits:
        if as_json:
            tell_json(Started(operation))
        else:
            print(operation)
            tell_aside(f"it runs: `hall operations {operation}` follows it, with --cancel it is cancelled")
        return
    over = OperationWatch(call, operation, is_quiet=as_json).until_over()
    if as_json:
        tell_json(OperationAnswer(over))
    else:
        show_end(over, paper())
    raise typer.Exit(exit_code_of(over))
