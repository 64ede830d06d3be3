"""The crowd, against the bare loop and against a server that says nothing."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from tests.bench.crowd import Crowd, CrowdFailed, NoCompiler, crowd
from tests.bench.processes import used_by
from tests.bench.servers import BARE, free_port, serving

MEMBERS = 20


@contextmanager
def in_the_bare_loop() -> Iterator[tuple[int, Crowd]]:
    try:
        with serving(BARE) as server, crowd(dialect=server.dialect, port=server.port) as members:
            yield server.pid, members
    except NoCompiler as error:
        pytest.skip(str(error))


@contextmanager
def a_silent_server() -> Iterator[int]:
    """One that upgrades whoever comes, and never says another word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def run() -> None:
            while True:
                try:
                    line = listener.accept()[0]
                except OSError:
                    return
                held.append(line)
                line.recv(65536)
                line.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")

        thread = Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for line in held:
                line.close()


def said(members: Crowd, *, rate: float = 50, seconds: float = 0.2, watchers: int = MEMBERS) -> dict[str, Any]:
    members.begin_send(rate=rate, seconds=seconds, senders=3, watchers=watchers)
    return members.end_send(within=60)


def test_every_delivery_is_counted_once() -> None:
    with in_the_bare_loop() as (_, members):
        opened = members.open(MEMBERS, rate=0)
        sent = said(members)
    assert opened["live"] == MEMBERS
    assert (sent["sent"], sent["unsent"], sent["lost"]) == (10, 0, 0)
    assert sent["delivered"] == sent["expected"] == sent["delivery"]["count"] == 10 * MEMBERS
    assert 0 < sent["delivery"]["p50_ms"] <= sent["delivery"]["p99_ms"] <= sent["delivery"]["max_ms"] * 1.02


def test_only_the_watchers_deliveries_count() -> None:
    with in_the_bare_loop() as (_, members):
        members.open(MEMBERS, rate=0)
        sent = said(members, watchers=5)
    assert sent["delivered"] == sent["expected"] == 10 * 5


def test_members_come_while_others_talk_and_go_all_at_once() -> None:
    with in_the_bare_loop() as (_, members):
        members.open(5, rate=0)
        members.begin_send(rate=100, seconds=60, senders=3, watchers=5)
        arrived = members.open(MEMBERS, first=5, rate=0)
        sent = members.end_send(within=60, early=True)
        gone = members.leave(MEMBERS, first=5)
        afterwards = said(members, watchers=5 + MEMBERS)
    assert (arrived["live"], gone["left"]) == (MEMBERS, MEMBERS)
    assert sent["delivered"] == sent["expected"] == 5 * sent["sent"]
    assert afterwards["delivered"] == afterwards["expected"] == 10 * 5


def test_what_does_not_come_is_missed() -> None:
    try:
        with a_silent_server() as port, crowd(dialect="bare", port=port) as members:
            members.open(3, rate=0)
            sent = said(members, watchers=3)
    except NoCompiler as error:
        pytest.skip(str(error))
    assert (sent["delivered"], sent["expected"]) == (0, 30)


def test_nobody_gets_in_where_nobody_listens() -> None:
    try:
        with crowd(dialect="bare", port=free_port()) as members, pytest.raises(CrowdFailed, match="2 of 2 members"):
            members.open(2, rate=0)
    except NoCompiler as error:
        pytest.skip(str(error))


def test_a_member_that_is_never_let_in_is_told_late() -> None:
    try:
        # upgraded, but never greeted as Engine.IO does
        with a_silent_server() as port, crowd(dialect="socketio", port=port) as members:
            members.begin_open(2, rate=0, within=0.5)
            opened = members.end_open(within=60)
    except NoCompiler as error:
        pytest.skip(str(error))
    assert (opened["live"], opened["failed"], opened["last_denial"]) == (0, 2, "late: ")


def test_the_servers_process_is_charged_with_its_work() -> None:
    with in_the_bare_loop() as (pid, members):
        members.open(MEMBERS, rate=0)
        before = used_by(pid)
        said(members, rate=5_000, seconds=2)
        after = used_by(pid)
    assert after.cpu > before.cpu
    assert after.rss > 0
