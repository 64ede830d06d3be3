"""Tickets: signing and reading one, beside PyJWT as documented."""

from typing import Any

import jwt

from director.contract.ids import Epoch, NodeName, Role, RoomId, UserId
from director.contract.ticket import Ticket
from director.ticket_jwt import JwtTicketBook
from tests.bench.figures import figure, microseconds, report

KEY = "k" * 32
_EXPIRES_AT_MS = 4_000_000_000_000


def main() -> dict[str, Any]:
    """Microseconds a call."""
    ticket = Ticket(RoomId("math-101"), UserId("u1"), "Ann", Role.STUDENT, NodeName("node-1"), Epoch(7), _EXPIRES_AT_MS)
    claims = {"room": "math-101", "user": "u1", "name": "Ann", "role": "student", "node": "node-1", "epoch": 7}
    claims["exp"] = _EXPIRES_AT_MS // 1000
    book = JwtTicketBook(KEY)
    signed, theirs = book.sign(ticket), jwt.encode(claims, KEY, algorithm="HS256")
    sign = microseconds(lambda: book.sign(ticket), times=5_000)
    read = microseconds(lambda: book.read(signed, now_ms=1), times=5_000)
    encode = microseconds(lambda: jwt.encode(claims, KEY, algorithm="HS256"), times=2_000)
    decode = microseconds(lambda: jwt.decode(theirs, KEY, algorithms=["HS256"]), times=2_000)
    return report(
        [
            figure("a ticket signed", "µs", sign),
            figure("PyJWT: a token signed", "µs", encode),
            figure("signing, lecturehall to PyJWT", "x", [a / b for a, b in zip(sign, encode, strict=True)]),
            figure("a ticket read and checked", "µs", read),
            figure("PyJWT: a token read and checked", "µs", decode),
            figure("reading, lecturehall to PyJWT", "x", [a / b for a, b in zip(read, decode, strict=True)]),
        ]
    )


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
