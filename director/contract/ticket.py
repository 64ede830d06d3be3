"""A ticket: signed permission to join one room at one node for a minute (protocol, section 2)."""

from typing import Protocol

import msgspec

from director.contract.ids import Epoch, NodeName, Role, RoomId, UserId


class Ticket(msgspec.Struct, frozen=True):
    """Who may join which room where. `expires_at_ms` is in Redis' time (design, invariant 8)."""

    room: RoomId
    user: UserId
    name: str
    role: Role
    node: NodeName
    epoch: Epoch
    expires_at_ms: int


class TicketBook(Protocol):
    """Signs tickets and reads them again; both sides hold the same key."""

    def sign(self, ticket: Ticket) -> str:
        """The ticket as text that only holders of the key can make."""
        ...

    def read(self, text: object, *, now_ms: int) -> Ticket:
        """The ticket in `text`. Raises Refusal with TICKET_INVALID (not ours, or not whole) or TICKET_EXPIRED (more
        than 10 s past its expiry, by Redis' time `now_ms`)."""
        ...
