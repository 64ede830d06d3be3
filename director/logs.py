"""Logs of a process: events with fields on standard error, as JSON for machines or in colours for a terminal.

1. All takes the same way: our own events, those of libraries (from warnings on: what they say below that holds what
   people wrote), Python's warnings, and the fault that ends the process.
2. Every line carries `process` and, once it is known, `process_incarnation`: which start of it this is.
3. No ticket, token, password or text of a message is ever written. Fields by such names are blanked, what looks like a
   credential is blanked wherever it stands, and tracebacks tell no values.
"""

import logging
import re
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

BLANK = "***"
_SECRET_FIELDS = frozenset(
    {"admin_token", "auth", "authorization", "body", "cookie", "key", "password", "secret", "text", "ticket", "token"}
)
_CREDENTIALS = (
    (re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]+"), BLANK),  # a JSON Web Token: a ticket, or a platform's
    (re.compile(r"(?i)\b(bearer\s+)[^\s\"'\\]+"), rf"\1{BLANK}"),
    (re.compile(r"(?<=://)([^\s/@:\"']*):[^\s/@\"']*@"), rf"\1:{BLANK}@"),
)


class _Process:
    """Who writes the lines; one for a process, as its standard error is."""

    name = ""
    incarnation: Callable[[], str] = staticmethod(lambda: "")

    def stamp(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["process"] = self.name
        if incarnation := self.incarnation():
            event["process_incarnation"] = incarnation
        return event


_process = _Process()


def set_up_logs(process: str, *, form: LogFormat = "auto", level: LogLevel = "info", out: TextIO | None = None) -> None:
    """Let all that this process logs go to `out` (standard error). `auto` is console on a terminal and JSON elsewhere;
    `level` is for our own events, and for libraries' where it is above warning."""
    out = out or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    _process.name, _process.incarnation = process, lambda: ""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _process.stamp,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    is_console = form == "console" or (form == "auto" and out.isatty())
    render: list[Processor] = [
        structlog.processors.format_exc_info,
        _blank_fields,
        _renderer(out, is_console=is_console),
        _blank_line,
    ]
    structlog.configure(
        processors=[*before, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    foreign = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*before, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(foreign)
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    logging.captureWarnings(True)
    sys.excepthook = _on_fault
    threading.excepthook = _on_thread_fault


def know_incarnation(read: Callable[[], str]) -> None:
    """From now on every line carries what `read` answers, unless that is empty."""
    _process.incarnation = read


def _renderer(out: TextIO, *, is_console: bool) -> Processor:
    if is_console:
        # rich's tracebacks show local variables, and those hold what people wrote
        plain = structlog.dev.plain_traceback
        return structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain)
    return structlog.processors.JSONRenderer()


def _blank_fields(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    for field in _SECRET_FIELDS.intersection(event):
        event[field] = BLANK
    return event


def _blank_line(logger: WrappedLogger, method: str, line: EventDict | str) -> str:
    text = str(line)
    for credential, instead in _CREDENTIALS:
        text = credential.sub(instead, text)
    return text


def _on_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger().critical("process_failed", exc_info=(kind, error, trace))


def _on_thread_fault(fault: threading.ExceptHookArgs) -> None:
    if fault.exc_value is not None:  # it is None where memory ran out
        thread = None if fault.thread is None else fault.thread.name
        trace = (fault.exc_type, fault.exc_value, fault.exc_traceback)
        structlog.get_logger().critical("thread_failed", thread=thread, exc_info=trace)
