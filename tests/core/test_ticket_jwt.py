"""director/ticket_jwt: tickets that only holders of the key can make, and the key of a demo."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jwt
import msgspec
import pytest

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import Epoch, NodeName, Role, RoomId, UserId
from director.contract.ticket import Ticket
from director.ticket_jwt import JwtTicketBook, ticket_key_of

KEY = "k" * 32
TICKET = Ticket(RoomId("math-101"), UserId("지민"), '지민 "J" Kim', Role.LECTURER, NodeName("node-2"), Epoch(7), 60_000)


def code_of(text: object, *, now_ms: int = 0, key: str = KEY) -> ErrorCode:
    with pytest.raises(Refusal) as caught:
        JwtTicketBook(key).read(text, now_ms=now_ms)
    return caught.value.code


def test_a_ticket_is_read_as_it_was_signed() -> None:
    book = JwtTicketBook(KEY)
    assert book.read(book.sign(TICKET), now_ms=0) == TICKET


def test_a_ticket_is_good_until_ten_seconds_past_its_expiry() -> None:
    text = JwtTicketBook(KEY).sign(TICKET)
    assert JwtTicketBook(KEY).read(text, now_ms=70_000) == TICKET
    assert code_of(text, now_ms=70_001) is ErrorCode.TICKET_EXPIRED


def test_another_key_s_ticket_is_invalid() -> None:
    assert code_of(JwtTicketBook("x" * 32).sign(TICKET)) is ErrorCode.TICKET_INVALID


def test_a_changed_ticket_is_invalid() -> None:
    header, _, signature = JwtTicketBook(KEY).sign(TICKET).split(".")
    forged = msgspec.json.encode(msgspec.structs.replace(TICKET, room=RoomId("exam")))
    body = base64.urlsafe_b64encode(forged).rstrip(b"=").decode()
    assert code_of(f"{header}.{body}.{signature}") is ErrorCode.TICKET_INVALID


@pytest.mark.parametrize("text", [None, 7, "", "a.b.c", "ä.b.c", "..", "x" * 100_000, b"bytes", {"ticket": 1}])
def test_what_is_no_ticket_is_invalid(text: object) -> None:
    assert code_of(text) is ErrorCode.TICKET_INVALID


def test_a_ticket_without_a_signature_is_invalid() -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "hall-ticket"}).encode()).rstrip(b"=").decode()
    _, body, _ = JwtTicketBook(KEY).sign(TICKET).split(".")
    assert code_of(f"{header}.{body}.") is ErrorCode.TICKET_INVALID


def test_the_platform_s_token_under_the_same_key_is_no_ticket() -> None:
    claims = msgspec.to_builtins(TICKET)
    assert code_of(jwt.encode(claims, KEY, algorithm="HS256")) is ErrorCode.TICKET_INVALID
    half = jwt.encode({"room": "a"}, KEY, algorithm="HS256", headers={"typ": "hall-ticket"})
    assert code_of(half) is ErrorCode.TICKET_INVALID


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 characters"):
        JwtTicketBook("k" * 31)


@dataclass
class Settings:
    data: Path
    ticket_key: str = ""
    demo: bool = True


def test_a_given_key_is_taken(tmp_path: Path) -> None:
    assert ticket_key_of(Settings(tmp_path, KEY, demo=False)) == KEY
    assert list(tmp_path.iterdir()) == []


def test_outside_the_demo_a_key_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="HALL_TICKET_KEY"):
        ticket_key_of(Settings(tmp_path, demo=False))


def test_all_processes_of_a_demo_find_the_same_key_whoever_comes_first(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "deep" / "hall")
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: ticket_key_of(settings), range(64)))
    assert len(keys) == 1
    assert len(keys.pop()) >= 32
    (file,) = settings.data.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
