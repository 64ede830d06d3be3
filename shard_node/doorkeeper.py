"""The doorkeeper: who may come in, into which room, and what they have missed (protocol, section 3)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode, Refusal
from director.contract.ticket import Ticket, TicketBook
from persistence.contract.messages import Author
from persistence.contract.store import StoreUnavailable
from shard_node.contract.events import PROTOCOL_VERSION, JoinRequest
from shard_node.core.admission import Budgets, Gate
from shard_node.core.lag import LagProbe
from shard_node.core.recovery import Replay, Reset, StaleOwner, is_stale, recover
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom

MAX_CONNECTIONS = 50

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Admission:
    """A client that may join, until it has; from then on its connection's `admission` is the room alone."""

    ticket: Ticket
    request: JoinRequest
    hosted: HostedRoom

    @property
    def author(self) -> Author:
        return Author(self.ticket.user, self.ticket.name, self.ticket.role)


class Doorkeeper:
    """Checks who asks to be let in. `may_admit` is the lease guard's word."""

    def __init__(
        self,
        *,
        host: RoomHost,
        tickets: TicketBook,
        clock: FleetClock,
        now: Callable[[], float],
        may_admit: Callable[[], bool],
        is_stopping: Callable[[], bool],
        lag: LagProbe,
        budgets: Budgets,
    ) -> None:
        self._host = host
        self._tickets = tickets
        self._clock = clock
        self._now = now
        self._may_admit = may_admit
        self._is_stopping = is_stopping
        self._lag = lag
        self._budgets = budgets
        self._confirming: asyncio.Task[None] | None = None

    def admission_at_once(self, auth: object) -> Admission | None:
        """As `admission_of`, without waiting; None, and nothing is counted, where that must be."""
        request = _join_request_of(auth)
        ticket = self._admissible(request)
        hosted = self._host.room_of(ticket.room)
        if hosted is None or self._lag.is_doubtful(self._now()):
            return None
        self._count(self._gate_of(request))
        return self._admission(ticket, request, hosted)

    async def admission_of(self, auth: object) -> Admission:
        """Check the ticket, open the room, and see that this node is not behind the client's own position. Raises
        Refusal."""
        request = _join_request_of(auth)
        ticket, hosted = await self.enter(request, self._gate_of(request))
        return self._admission(ticket, request, hosted)

    def _gate_of(self, request: JoinRequest) -> Gate:
        return self._budgets.joins if request.since is None else self._budgets.resumes

    def _admission(self, ticket: Ticket, request: JoinRequest, hosted: HostedRoom) -> Admission:
        if hosted.members.connections_of(ticket.user) >= MAX_CONNECTIONS:
            why = f"you are in this room by {MAX_CONNECTIONS} connections already"
            raise Refusal(ErrorCode.RATE_LIMITED, why, retry_after_ms=5_000)
        since = request.since
        if since is not None and is_stale(since.position, log=hosted.room.log, epoch=hosted.room.epoch):
            raise Refusal(ErrorCode.NOT_OWNER, "a later owner has served you already; ask the director")
        return Admission(ticket, request, hosted)

    async def enter(self, request: JoinRequest, gate: Gate | None = None) -> tuple[Ticket, HostedRoom]:
        """The ticket and its room, opened if need be, for one who may come in now. Raises Refusal."""
        ticket = self._admissible(request)
        if gate is not None:
            self._count(gate)
        if self._lag.is_doubtful(self._now()):
            await self._confirm_rows()
        return ticket, await self._host.open(ticket.room)

    def _admissible(self, request: JoinRequest) -> Ticket:
        """The ticket of one whom nothing that is known here keeps out. Raises Refusal."""
        ticket = self._ticket_of(request)
        if self._is_stopping():
            raise Refusal(ErrorCode.SHUTDOWN, "this node is stopping; ask the director")
        if not self._may_admit():
            raise _unconfirmed()
        return ticket

    def _count(self, gate: Gate) -> None:
        if (wait := gate.ask(self._now())) > 0:
            raise Refusal(ErrorCode.BUSY, "many are joining; this is your turn", retry_after_ms=in_ms(wait))

    def last_look(self, admission: Admission) -> Replay | Reset | ErrorCode:
        """What the member is given if it joins in this very step; or why it may not."""
        recovery, hosted = _recovery_of(admission), admission.hosted
        if self._host.room_of(admission.ticket.room) is not hosted:
            return ErrorCode.NOT_OWNER if self._host.farewells.of(hosted) is None else ErrorCode.MOVED
        if isinstance(recovery, StaleOwner):
            return ErrorCode.NOT_OWNER
        if self._is_stopping():
            return ErrorCode.SHUTDOWN
        if not self._may_admit() or self._lag.is_doubtful(self._now()):
            return ErrorCode.LEASE_LOST
        return recovery

    async def _confirm_rows(self) -> None:
        """One look at the rows for all who wait."""
        if self._confirming is None:
            self._confirming = asyncio.get_running_loop().create_task(self._look_at_rows())
            self._confirming.add_done_callback(self._looked_at_rows)
        try:
            await asyncio.shield(self._confirming)
        except StoreUnavailable as error:
            raise Refusal(
                ErrorCode.STORE_UNAVAILABLE, "the store does not answer; try again", retry_after_ms=1000
            ) from error

    async def _look_at_rows(self) -> None:
        sent_at = self._now()
        await self._host.confirm_rows()
        self._lag.confirmed(sent_at=sent_at)

    def _looked_at_rows(self, task: asyncio.Task[None]) -> None:
        self._confirming = None
        if not task.cancelled():
            task.exception()  # taken by whoever waits; nobody may

    def _ticket_of(self, request: JoinRequest) -> Ticket:
        if request.ticket is None:
            raise Refusal(ErrorCode.TICKET_INVALID, "no ticket: ask the director's /route for one")
        if not self._clock.is_set:
            raise _unconfirmed()
        ticket = self._tickets.read(request.ticket, now_ms=self._clock.now_ms(self._now()))
        if ticket.node != self._host.node:
            raise Refusal(ErrorCode.TICKET_INVALID, "the ticket is for another node; ask the director")
        if request.room is not None and request.room != ticket.room:
            raise Refusal(ErrorCode.TICKET_INVALID, "the ticket is for another room; ask the director")
        return ticket


def _recovery_of(admission: Admission) -> Replay | Reset | StaleOwner:
    room = admission.hosted.room
    since = admission.request.since
    return recover(
        None if since is None else since.position,
        tail=admission.request.tail,
        log=room.log,
        epoch=room.epoch,
        recent=room.recent,
    )


def _join_request_of(auth: object) -> JoinRequest:
    if auth is None:
        raise Refusal(ErrorCode.TICKET_INVALID, "no ticket: ask the director's /route for one")
    request = read_as(auth, JoinRequest)
    if request.v != PROTOCOL_VERSION:
        raise Refusal(ErrorCode.UNSUPPORTED, f"this node speaks hall/{PROTOCOL_VERSION}, not hall/{request.v}")
    return request


def read_as(value: object, shape: type[T]) -> T:
    """What a client says, in the shape that it must have. Raises Refusal with BAD_REQUEST."""
    try:
        return msgspec.convert(value, shape)
    except UnicodeError:
        raise Refusal(ErrorCode.BAD_REQUEST, "half of a surrogate pair is no character") from None
    except msgspec.ValidationError as error:
        raise Refusal(ErrorCode.BAD_REQUEST, str(error)) from None


def _unconfirmed() -> Refusal:
    return Refusal(ErrorCode.OWNER_UNCONFIRMED, "the node cannot confirm its lease now; try again", retry_after_ms=1000)


def in_ms(seconds: float) -> int:
    """Whole milliseconds, one at least."""
    return max(1, round(seconds * 1000))
