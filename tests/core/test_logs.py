"""What a process writes to its log: one form for all, and never what people said or hold."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from director.logs import know_incarnation, set_up_logs

TICKET = "eyJhbGciOiJIUzI1NiJ9.eyJyb29tIjoibWF0aCJ9.c2lnbmF0dXJlLW9mLWl0"
TEXT = "Is the mean of this the same?"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def logs(out: io.StringIO, **settings: Any) -> Iterator[io.StringIO]:
    """Logs set up into `out`; all is as before when the block ends."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    # a server that another test ran in this process has set its loggers up its own way
    theirs = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access")]
    kept = [(logger, logger.handlers[:], logger.propagate, logger.level) for logger in theirs]
    try:
        for logger in theirs:
            logger.handlers[:], logger.propagate = [], True
            logger.setLevel(logging.NOTSET)
        set_up_logs("node-1", out=out, **settings)
        yield out
    finally:
        for logger, its_handlers, propagate, its_level in kept:
            logger.handlers[:], logger.propagate = its_handlers, propagate
            logger.setLevel(its_level)
        logging.captureWarnings(False)
        sys.excepthook, threading.excepthook = hooks
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


def lines_of(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def fail(text: str, ticket: str) -> None:
    """A fault of ours with what people said in its local variables."""
    raise ValueError("out of step")


def test_every_line_says_which_process_and_which_start_of_it() -> None:
    incarnations = iter(["i1", "i2"])
    with logs(io.StringIO()) as out:
        log = structlog.get_logger()
        log.info("settings_read")
        know_incarnation(lambda: next(incarnations))
        log.info("room_opened", room="math", epoch=3)
        log.warning("node_declared_dead", incarnation="another's")
    first, second, third = lines_of(out)
    assert first["process"] == second["process"] == "node-1"
    assert "process_incarnation" not in first
    assert (second["event"], second["level"], second["room"], second["epoch"]) == ("room_opened", "info", "math", 3)
    assert (second["process_incarnation"], third["process_incarnation"]) == ("i1", "i2")
    assert third["incarnation"] == "another's"
    assert second["timestamp"].endswith("Z")


def test_libraries_python_s_warnings_and_faults_take_the_same_way() -> None:
    with logs(io.StringIO()) as out:
        logging.getLogger("uvicorn.error").error("bad %s", "request")
        warnings.warn("old ways", stacklevel=1)
        thread = threading.Thread(target=fail, args=(TEXT, TICKET))
        thread.start()
        thread.join()
        try:
            fail(TEXT, TICKET)
        except ValueError as error:
            sys.excepthook(ValueError, error, error.__traceback__)
    library, warning, in_thread, at_end = lines_of(out)
    assert (library["event"], library["level"], library["logger"]) == ("bad request", "error", "uvicorn.error")
    assert "old ways" in warning["event"]
    assert (in_thread["event"], at_end["event"]) == ("thread_failed", "process_failed")
    assert at_end["exception"].endswith("ValueError: out of step")


def test_an_interrupt_from_the_keyboard_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with logs(io.StringIO()) as out:
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert out.getvalue() == ""
    assert "KeyboardInterrupt" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "own"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_for_our_events_and_libraries_say_warnings_at_most(level: str, own: int) -> None:
    """At debug, aiosqlite logs every message that is stored, and websockets every frame."""
    with logs(io.StringIO(), level=level) as out:
        log, library = structlog.get_logger(), logging.getLogger("aiosqlite")
        for told in (log.debug, log.info, log.warning, log.error):
            told("something_happened")
        library.debug("executing %s", TEXT)
        library.info("executed %s", TEXT)
        library.warning("slow")
        library.error("broken")
    assert [line["event"] for line in lines_of(out)].count("something_happened") == own
    assert [line["event"] for line in lines_of(out) if "logger" in line] == (
        ["broken"] if level == "error" else ["slow", "broken"]
    )


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("out_type", [io.StringIO, Terminal])
def test_no_ticket_token_password_or_text_is_written_in_any_form(form: str, out_type: type[io.StringIO]) -> None:
    """rich, which structlog takes by itself on a terminal, shows the local variables of a fault: the ticket and the
    message at hand."""
    secrets = {name: f"secret of {name}" for name in ("ticket", "token", "text", "password", "authorization", "cookie")}
    with logs(out_type(), form=form) as out:
        log = structlog.get_logger()
        log.warning("asked", **secrets)
        log.warning("asked", why=f"refused: Bearer {TICKET}", url="redis://hall:hunter2@redis:6379/0")
        log.warning(f"a ticket: {TICKET}")
        log.warning("asked", why="Authorization: bearer 0123456789abcdef")
        logging.getLogger("uvicorn.error").error("GET /?ticket=%s", TICKET)
        try:
            fail(TEXT, TICKET)
        except ValueError as error:
            log.exception("event_failed", name="send")
            logging.getLogger("asyncio").exception("task failed")
            sys.excepthook(ValueError, error, error.__traceback__)
    told = out.getvalue()
    assert told.count("ValueError: out of step") == 3
    for secret in (TICKET, TICKET.rpartition(".")[2], TEXT, "secret of", "hunter2", "0123456789abcdef"):
        assert secret not in told
    if form == "json":
        assert [line["process"] for line in lines_of(out)] == ["node-1"] * 8


def test_the_form_is_chosen_by_the_terminal_unless_it_is_set() -> None:
    for out, form, is_json in (
        (io.StringIO(), "auto", True),
        (Terminal(), "auto", False),
        (Terminal(), "json", True),
        (io.StringIO(), "console", False),
    ):
        with logs(out, form=form):
            structlog.get_logger().info("room_opened")
        assert out.getvalue().startswith("{") is is_json
        assert ("\x1b[" in out.getvalue()) is (out.isatty() and not is_json)
