"""The gateway: what clients ask of a node, checked and answered in the protocol's words (sections 3 to 6)."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from director.contract.clock import FleetClock
from director.contract.errors import ErrorCode, ErrorShape, Refusal
from director.contract.ids import Role, UserId
from director.contract.ticket import TicketBook
from persistence.contract.store import RoomHistory
from shard_node.contract.events import (
    HistoryPage,
    HistoryRequest,
    Joined,
    JoinRequest,
    Limits,
    Position,
)
from shard_node.core.admission import Budgets
from shard_node.core.lag import LagProbe
from shard_node.core.recovery import Replay, Reset
from shard_node.core.throttle import Rate
from shard_node.doorkeeper import Admission, Doorkeeper, in_ms, read_as
from shard_node.fanout.connection import Connection
from shard_node.fanout.inbound import Reply
from shard_node.fanout.members import Member
from shard_node.fanout.packets import event_packet
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom
from shard_node.requests import POSTS, REQUESTS, RoomRequests

MAX_IN_FLIGHT = 8
STUDENT_RATE = Rate(per_second=20, burst=100)
STAFF_RATE = Rate(per_second=200, burst=400)

_log = structlog.get_logger()


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
        self._tally = host.tally
        self._now = now
        self._budgets = budgets
        self._doorkeeper = Doorkeeper(
            host=host,
            tickets=tickets,
            clock=clock,
            now=now,
            may_admit=may_admit,
            is_stopping=is_stopping,
            lag=lag,
            budgets=budgets,
        )
        self.joins = 0
        self._spawn = spawn
        self._requests = RoomRequests(host, history, self._later)

    # joining

    def connecting_at_once(self, auth: object) -> Admission | None:
        """As `connecting`, where the room is open; None where somebody must be asked first."""
        try:
            return self._doorkeeper.admission_at_once(auth)
        except Refusal as refusal:
            self._tally.unadmitted[refusal.code] += 1
            raise

    async def connecting(self, auth: object) -> Admission:
        """Check the ticket, open the room, and see that this node is not behind the client's own position."""
        try:
            return await self._doorkeeper.admission_of(auth)
        except Refusal as refusal:
            self._tally.unadmitted[refusal.code] += 1
            raise

    def connected(self, connection: Connection) -> None:
        """Note the head, register the member and send `joined`, in one step."""
        admission: Admission = connection.admission
        hosted = connection.admission = admission.hosted
        recovery = self._doorkeeper.last_look(admission)
        if isinstance(recovery, ErrorCode):
            self._host.bye(connection, recovery)
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
        kind = "recovered" if recovered else reason
        self._tally.joined[kind or "new"] += 1
        joined = Joined(
            room=room.room,
            you=member.author,
            pos=Position(room.log, room.epoch, room.head),
            recovered=recovered,
            reason=reason,
            entries=entries,
            snapshot=room.snapshot(len(hosted.members)),
            limits=Limits(),
            reconnect_window_ms=in_ms(self._budgets.meter.window_of(hosted.members.connections)),
        )
        connection.write(event_packet("joined", joined))

    def disconnected(self, connection: Connection) -> None:
        """The member left, by whatever way."""
        self._tally.left += 1
        self._host.remove(connection.admission, connection)

    async def read_history(self, visitor: JoinRequest, request: HistoryRequest) -> HistoryPage:
        """What `history` answers, for one who has a ticket and no connection; Refusal as there."""
        ticket, hosted = await self._doorkeeper.enter(visitor)
        if (limited := self._limit_of(hosted, ticket.user, ticket.role)) is not None:
            raise limited
        return await self._requests.read_history(hosted, request)

    def _limit_of(self, hosted: HostedRoom, user: UserId, role: Role) -> Refusal | None:
        """Count one thing that a user asks for; the refusal if it is one too many."""
        wait = hosted.seconds_until_allowed(user, STAFF_RATE if role.is_staff else STUDENT_RATE, self._now())
        if wait > 0:
            return Refusal(ErrorCode.RATE_LIMITED, "too many requests; slow down", retry_after_ms=in_ms(wait))
        return None

    # events

    def event(self, connection: Connection, name: str, args: Sequence[object], reply: Reply) -> None:
        """Check and pass on what a member asks for, before anything waits, so that its order is kept."""
        hosted: HostedRoom = connection.admission
        shape = REQUESTS.get(name)
        if shape is None:
            self._refuse(reply, _unsupported(name))
            return
        if connection.in_flight >= MAX_IN_FLIGHT:
            busy = Refusal(ErrorCode.BUSY, f"at most {MAX_IN_FLIGHT} events may be unanswered", retry_after_ms=100)
            self._refuse(reply, busy.shape)
            return
        member = hosted.members.member_of(connection)
        if member is None or self._host.room_of(hosted.record.room) is not hosted:
            farewell = self._host.farewells.of(hosted)
            self._refuse(reply, (_gone() if farewell is None else farewell.refusal_of(connection)).shape)
            return
        if (limited := self._limit_of(hosted, member.author.id, member.author.role)) is not None:
            self._refuse(reply, limited.shape)
            return
        if shape in POSTS and (wait := self._budgets.sends.ask(self._now())) > 0:
            busy = Refusal(ErrorCode.BUSY, "the node has too much to do; try again", retry_after_ms=in_ms(wait))
            self._refuse(reply, busy.shape)
            return
        connection.in_flight += 1
        tally = self._tally
        tally.events[name] += 1

        def answer(body: Any) -> None:
            connection.in_flight -= 1
            if type(body) is ErrorShape:
                tally.refused[body.error.code] += 1
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
        shape = _malformed(name, binary=binary, oversized=oversized)
        self._tally.refused[shape.error.code] += 1
        return shape

    def _refuse(self, reply: Reply, shape: ErrorShape) -> None:
        self._tally.refused[shape.error.code] += 1
        reply(shape)

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


def _request_of(shape: type[Any], args: Sequence[object]) -> Any:
    if len(args) != 1:
        raise Refusal(ErrorCode.BAD_REQUEST, f"an event carries one object, not {len(args)}")
    return read_as(args[0], shape)


def _malformed(name: object, *, binary: bool, oversized: bool) -> ErrorShape:
    if isinstance(name, str) and name not in REQUESTS:
        return _unsupported(name)
    if oversized:
        return Refusal(ErrorCode.TOO_LARGE, "an event may have 16 KiB at most").shape
    why = "nothing is binary in hall/1" if binary else "an event is a JSON list of its name and one object"
    return Refusal(ErrorCode.BAD_REQUEST, why).shape


def _unsupported(name: str) -> ErrorShape:
    return Refusal(ErrorCode.UNSUPPORTED, f"there is no event {name[:64]!r} in hall/1").shape


def _failed() -> Refusal:
    return Refusal(ErrorCode.BUSY, "the node failed to answer; try again", retry_after_ms=1000)


def _gone() -> Refusal:
    return Refusal(ErrorCode.NOT_OWNER, "this node no longer serves the room; ask the director")
