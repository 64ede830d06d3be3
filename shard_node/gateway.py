"""The gateway: what clients ask of a node, checked and answered in the protocol's words (sections 3 to 6)."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import structlog

from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode, ErrorShape, Refusal
from director.contract.ids import Role, UserId
from director.contract.ticket import Ticket, TicketBook
from persistence.contract.messages import Author
from persistence.contract.store import RoomHistory, StoreUnavailable
from shard_node.contract.events import (
    PROTOCOL_VERSION,
    HistoryPage,
    HistoryRequest,
    Joined,
    JoinRequest,
    Limits,
    Position,
)
from shard_node.core.admission import Budgets, Gate
from shard_node.core.lag import LagProbe
from shard_node.core.recovery import Replay, Reset, StaleOwner, recover
from shard_node.core.throttle import Rate
from shard_node.fanout.connection import Connection
from shard_node.fanout.inbound import Reply
from shard_node.fanout.members import Member
from shard_node.fanout.packets import event_packet
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom
from shard_node.requests import POSTS, REQUESTS, RoomRequests

MAX_IN_FLIGHT = 8
MAX_CONNECTIONS = 50
STUDENT_RATE = Rate(per_second=20, burst=100)
STAFF_RATE = Rate(per_second=200, burst=400)

_log = structlog.get_logger()

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


class RoomGateway:
    """Translates between clients and the host. `may_admit` is the lease guard's word; `spawn` starts a task that may
    fail without harm to others."""

    def __init__(
        self,
        *,
        host: RoomHost,
        history: RoomHistory,
        tickets: TicketBook,
        clock: FleetClock,
        now: Callable[[], float],
        may_admit: Callable[[], bool],
        is_stopping: Callable[[], bool],
        lag: LagProbe,
        budgets: Budgets,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
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
        self.joins = 0
        self._spawn = spawn
        self._requests = RoomRequests(host, history, self._later)

    # joining

    async def connecting(self, auth: object) -> Admission:
        """Check the ticket, open the room, and see that this node is not behind the client's own position."""
        request = _join_request_of(auth)
        gate = self._budgets.joins if request.since is None else self._budgets.resumes
        ticket, hosted = await self._enter(request, gate)
        if hosted.members.connections_of(ticket.user) >= MAX_CONNECTIONS:
            why = f"you are in this room by {MAX_CONNECTIONS} connections already"
            raise Refusal(ErrorCode.RATE_LIMITED, why, retry_after_ms=5_000)
        admission = Admission(ticket, request, hosted)
        if isinstance(self._recovery_of(admission), StaleOwner):
            raise Refusal(ErrorCode.NOT_OWNER, "a later owner has served you already; ask the director")
        return admission

    async def _enter(self, request: JoinRequest, gate: Gate | None = None) -> tuple[Ticket, HostedRoom]:
        """The ticket and its room, opened if need be, for one who may come in now."""
        ticket = self._ticket_of(request)
        if self._is_stopping():
            raise Refusal(ErrorCode.SHUTDOWN, "this node is stopping; ask the director")
        if not self._may_admit():
            raise _unconfirmed()
        now = self._now()
        if gate is not None and (wait := gate.ask(now)) > 0:
            raise Refusal(ErrorCode.BUSY, "many are joining; this is your turn", retry_after_ms=_ms(wait))
        if self._lag.is_doubtful(now):
            await self._confirm_rows()
        return ticket, await self._host.open(ticket.room)

    def connected(self, connection: Connection) -> None:
        """Note the head, register the member and send `joined`, in one step."""
        admission: Admission = connection.admission
        hosted = connection.admission = admission.hosted
        recovery = self._recovery_of(admission)
        if self._host.room_of(admission.ticket.room) is not hosted or isinstance(recovery, StaleOwner):
            self._host.bye(connection, ErrorCode.NOT_OWNER)
            return
        if self._is_stopping():
            self._host.bye(connection, ErrorCode.SHUTDOWN)
            return
        if not self._may_admit() or self._lag.is_doubtful(self._now()):
            self._host.bye(connection, ErrorCode.LEASE_LOST)
            return
        self.joins += 1
        room = hosted.room
        member = Member(connection, admission.author, shown=room.head)
        self._host.add(hosted, member)
        match recovery:
            case Replay(entries):
                recovered, reason = True, None
            case Reset(reason, entries):
                recovered = False
        joined = Joined(
            room=room.room,
            you=member.author,
            pos=Position(room.log, room.epoch, room.head),
            recovered=recovered,
            reason=reason,
            entries=entries,
            snapshot=room.snapshot(len(hosted.members)),
            limits=Limits(),
            reconnect_window_ms=_ms(self._budgets.meter.window_of(hosted.members.connections)),
        )
        connection.write(event_packet("joined", joined))

    def disconnected(self, connection: Connection) -> None:
        """The member left, by whatever way."""
        self._host.remove(connection.admission, connection)

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

    def _recovery_of(self, admission: Admission) -> Replay | Reset | StaleOwner:
        room = admission.hosted.room
        since = admission.request.since
        return recover(
            None if since is None else since.position,
            tail=admission.request.tail,
            log=room.log,
            epoch=room.epoch,
            recent=room.recent,
        )

    async def read_history(self, visitor: JoinRequest, request: HistoryRequest) -> HistoryPage:
        """What `history` answers, for one who has a ticket and no connection; Refusal as there."""
        ticket, hosted = await self._enter(visitor)
        if (limited := self._limit_of(hosted, ticket.user, ticket.role)) is not None:
            raise limited
        return await self._requests.read_history(hosted, request)

    def _limit_of(self, hosted: HostedRoom, user: UserId, role: Role) -> Refusal | None:
        """Count one thing that a user asks for; the refusal if it is one too many."""
        wait = hosted.seconds_until_allowed(user, STAFF_RATE if role.is_staff else STUDENT_RATE, self._now())
        if wait > 0:
            return Refusal(ErrorCode.RATE_LIMITED, "too many requests; slow down", retry_after_ms=_ms(wait))
        return None

    # events

    def event(self, connection: Connection, name: str, args: Sequence[object], reply: Reply) -> None:
        """Check and pass on what a member asks for, before anything waits, so that its order is kept."""
        hosted: HostedRoom = connection.admission
        shape = REQUESTS.get(name)
        if shape is None:
            reply(_unsupported(name))
            return
        if connection.in_flight >= MAX_IN_FLIGHT:
            busy = Refusal(ErrorCode.BUSY, f"at most {MAX_IN_FLIGHT} events may be unanswered", retry_after_ms=100)
            reply(busy.shape)
            return
        member = hosted.members.member_of(connection)
        if member is None or self._host.room_of(hosted.record.room) is not hosted:
            reply(Refusal(ErrorCode.NOT_OWNER, "this node no longer serves the room; ask the director").shape)
            return
        if (limited := self._limit_of(hosted, member.author.id, member.author.role)) is not None:
            reply(limited.shape)
            return
        if shape in POSTS and (wait := self._budgets.sends.ask(self._now())) > 0:
            reply(Refusal(ErrorCode.BUSY, "the node has too much to do; try again", retry_after_ms=_ms(wait)).shape)
            return
        connection.in_flight += 1

        def answer(body: Any) -> None:
            connection.in_flight -= 1
            reply(body)

        try:
            self._requests.act(hosted, member, _request_of(shape, args), answer)
        except Refusal as refusal:
            answer(refusal.shape)
        except Exception:  # noqa: BLE001 - whatever a client sends, it is answered, and harms nobody else
            _log.exception("event_failed", name=name[:64])
            answer(_failed().shape)

    def malformed(self, name: object, *, binary: bool, oversized: bool) -> ErrorShape:
        """The error for an event that is not even read."""
        if isinstance(name, str) and name not in REQUESTS:
            return _unsupported(name)
        if oversized:
            return Refusal(ErrorCode.TOO_LARGE, "an event may have 16 KiB at most").shape
        why = "nothing is binary in hall/1" if binary else "an event is a JSON list of its name and one object"
        return Refusal(ErrorCode.BAD_REQUEST, why).shape

    def _later(self, answer: Reply, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Answer with what a coroutine gives, or with the Refusal that it raises."""

        async def run() -> None:
            try:
                body = await coroutine
            except Refusal as refusal:
                body = refusal.shape
            except Exception:  # noqa: BLE001 - one question that fails is answered, and does not end the node
                _log.exception("request_failed")
                body = _failed().shape
            answer(body)

        self._spawn(run())


def _join_request_of(auth: object) -> JoinRequest:
    if auth is None:
        raise Refusal(ErrorCode.TICKET_INVALID, "no ticket: ask the director's /route for one")
    request = _convert(auth, JoinRequest)
    if request.v != PROTOCOL_VERSION:
        raise Refusal(ErrorCode.UNSUPPORTED, f"this node speaks hall/{PROTOCOL_VERSION}, not hall/{request.v}")
    return request


def _request_of(shape: type[Any], args: Sequence[object]) -> Any:
    if len(args) != 1:
        raise Refusal(ErrorCode.BAD_REQUEST, f"an event carries one object, not {len(args)}")
    return _convert(args[0], shape)


def _convert(value: object, shape: type[T]) -> T:
    try:
        return msgspec.convert(value, shape)
    except UnicodeError:
        raise Refusal(ErrorCode.BAD_REQUEST, "half of a surrogate pair is no character") from None
    except msgspec.ValidationError as error:
        raise Refusal(ErrorCode.BAD_REQUEST, str(error)) from None


def _unsupported(name: str) -> ErrorShape:
    return Refusal(ErrorCode.UNSUPPORTED, f"there is no event {name[:64]!r} in hall/1").shape


def _failed() -> Refusal:
    return Refusal(ErrorCode.BUSY, "the node failed to answer; try again", retry_after_ms=1000)


def _unconfirmed() -> Refusal:
    return Refusal(ErrorCode.OWNER_UNCONFIRMED, "the node cannot confirm its lease now; try again", retry_after_ms=1000)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
