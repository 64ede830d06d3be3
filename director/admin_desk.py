"""The admin desk: what the admin interface needs of the director, and what all of its requests have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from director.answers import RETRY_LATER_MS, json_answer
from director.contract.clock import FleetClock
from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.failover import Verdicts
from director.contract.ids import NodeName, RoomId, node_name_of, room_id_of
from director.contract.operations import Operations
from director.contract.orders import Orders
from director.contract.ownership import RoomOwners
from director.event_stream import EventStream
from director.fleet_view import FleetView
from director.operations_desk import OperationsDesk
from director.operators import Operators
from director.planning import Planner

# The moves of a plan for 5,000 rooms with the longest names.
MAX_BODY = 2 * 1024 * 1024
READ_WITHIN = 10.0

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[Request], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class AdminDesk:
    """The parts, as app.py puts them together."""

    view: FleetView
    operators: Operators
    owners: RoomOwners
    orders: Orders
    operations: Operations
    desk: OperationsDesk
    planner: Planner
    verdicts: Verdicts
    events: EventStream
    fleet_clock: FleetClock
    monotonic: Callable[[], float]

    @property
    def now_ms(self) -> int:
        """Unix time by Redis' clock."""
        return self.fleet_clock.now_ms(self.monotonic())

    def check_knows_fleet(self) -> None:
        """Raises Refusal with BUSY before Redis has answered for the first time."""
        if not (self.fleet_clock.is_set and self.view.is_loaded):
            raise _busy("the director does not know the fleet yet (is Redis reachable?); ask again")

    def known_node(self, request: Request) -> NodeName:
        """The node that the path names. Raises Refusal unless it is one that is known, or that orders are about."""
        return self.node_named(request.path_params["node"])

    def node_named(self, text: str) -> NodeName:
        """The node of that name, on the same conditions."""
        view = self.view
        named = [lease.node for lease in (*view.leases(), *view.lapsed())]
        node = node_name_of(text)
        if node is None or (node not in named and node not in view.standing.states.keys() | view.standing.capacities):
            there = f"there are {', '.join(sorted(named))}" if named else "there is none"
            raise Refusal(ErrorCode.BAD_REQUEST, f"there is no node {text[:80]!r}: {there}")
        return node

    async def resume(self) -> int:
        """Lift the limit of verdicts; answers how many nodes wait for one."""
        waiting = await self.verdicts.resume()
        log.warning("failover_resumed", waiting=waiting)
        return waiting

    def route(self, path: str, *, method: str, work: Work, needs_fleet: bool = True) -> Route:
        """A route for operators: what `work` returns is the answer. It is BUSY where Redis does not answer, and, where
        it `needs_fleet`, before Redis has answered for the first time."""

        async def answer(request: Request) -> Response:
            self.operators.check(request)
            if needs_fleet:
                self.check_knows_fleet()
            try:
                return json_answer(await work(request))
            except ControlPathUnavailable as error:
                raise _busy("Redis does not answer, and it must know of this; ask again") from error

        return Route(path, answer, methods=[method])


async def body_of(request: Request, kind: type[T], *, at_most: int = MAX_BODY) -> T:
    """The request's body; an empty one is `{}`. Raises Refusal: TOO_LARGE beyond `at_most` bytes, or BAD_REQUEST that
    says what is wrong, also where it does not come within 10 s."""
    body = bytearray()
    try:
        async with asyncio.timeout(READ_WITHIN):
            async for chunk in request.stream():
                body += chunk
                if len(body) > at_most:
                    raise Refusal(ErrorCode.TOO_LARGE, f"a request to {request.url.path} has {at_most} bytes at most")
    except TimeoutError:
        raise Refusal(ErrorCode.BAD_REQUEST, f"the body did not come within {READ_WITHIN:.0f} s") from None
    except ClientDisconnect:
        raise Refusal(ErrorCode.BAD_REQUEST, "the body broke off") from None
    try:
        return msgspec.json.decode(bytes(body) or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refusal(ErrorCode.BAD_REQUEST, f"the body cannot be read: {error}") from None


def room_in(request: Request) -> RoomId:
    """The room that the path names. Raises Refusal with BAD_REQUEST if it is no room name."""
    room = room_id_of(request.path_params["room"])
    if room is None:
        raise Refusal(ErrorCode.BAD_REQUEST, "room must be 1 to 128 characters of A-Za-z0-9._:~-")
    return room


def text_in(request: Request, name: str) -> str | None:
    """What the query says, None where that is nothing."""
    return request.query_params.get(name) or None


def number_in(request: Request, name: str, *, default: int | None = None, at_most: int) -> int:
    """A whole number of the query from 0 to `at_most`. Raises Refusal with BAD_REQUEST if it is none."""
    text = text_in(request, name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 15 or int(text) > at_most:
        raise Refusal(ErrorCode.BAD_REQUEST, f"{name} must be a whole number, {at_most} at most")
    return int(text)


def _busy(message: str) -> Refusal:
    return Refusal(ErrorCode.BUSY, message, retry_after_ms=RETRY_LATER_MS)
