"""The router: answers where a room is, and sees to it that it is somewhere (design, section 3).

A room whose owner's lease stands is answered from memory. One whose owner lapsed stays there until Redis says that the
owner is dead: it may live, cut off from Redis. Any other is decided once, however many ask: placed, claimed in Redis,
and where somebody else was faster, followed. A client's hint that a node failed is checked by a probe first.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog

from director.answers import RETRY_LATER_MS
from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.failover import Departed, HeldBack, Standing
from director.contract.ids import Incarnation, NodeName, RoomId
from director.contract.lease import NodeLease
from director.contract.ownership import Claimed, Outrun, RoomOwners, RoomRecord, Settling, Unfit
from director.core.placement import Claim, Keep, NoNodes, place
from director.coroner import Coroner
from director.fleet_view import FleetView, Placement
from director.probe import Alive, Dead, NodeProbe, Unclear
from director.single_flight import SingleFlight

MAX_TRIES = 4
RETRY_SOON_MS = 300

log = structlog.get_logger(__name__)


class LeaseReader(Protocol):
    """Who can bring the view's leases up to date."""

    async def poll_once(self) -> bool:
        """Read them now; answers whether Redis answered."""
        ...


class Router:
    """Routes rooms. Any number may ask at once; nothing but an unknown room or a dead owner costs a call to Redis."""

    def __init__(
        self,
        view: FleetView,
        owners: RoomOwners,
        coroner: Coroner,
        probe: NodeProbe,
        reader: LeaseReader,
        *,
        monotonic: Callable[[], float],
        on_claim: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._view = view
        self._owners = owners
        self._coroner = coroner
        self._probe = probe
        self._reader = reader
        self._monotonic = monotonic
        self._on_claim = on_claim
        self._flights: SingleFlight[RoomId, Placement] = SingleFlight()
        self._examinations: SingleFlight[tuple[NodeName, Incarnation], None] = SingleFlight()

    def known(self, room: RoomId, *, failed: NodeName | None = None) -> Placement | None:
        """Where `room` is, if nobody need be asked; None: `route` finds out."""
        placement = self._view.placement_of(room)
        if placement is None or placement.has_lapsed or failed == placement.record.owner:
            return None
        return placement

    async def route(self, room: RoomId, *, failed: NodeName | None = None) -> Placement:
        """Where `room` is. Raises Refusal: NO_NODES, or OWNER_UNCONFIRMED where Redis or a node must answer first.

        `failed` names a node that a client has lost; unless it owns the room, that is no news.
        """
        view = self._view
        placement = view.placement_of(room)
        if placement is None:
            return await self.place(room)
        if placement.has_lapsed:
            await self._judge(placement)
            placement = view.placement_of(room)
        if placement is not None and failed == placement.record.owner:
            lease = placement.lease
            await self._examinations.run((lease.node, lease.incarnation), lambda: self._examine(lease))
            # The verdict is about one incarnation: whoever owns the room now is the answer.
            placement = view.placement_of(room)
        return placement or await self.place(room)

    async def place(self, room: RoomId) -> Placement:
        """Where `room` is, placed if its owner is dead or it has none. Raises as `route`."""
        return await self._flights.run(room, lambda: self._settle(room))

    async def _judge(self, placement: Placement) -> None:
        """Have an owner that lapsed judged. Where there is no verdict it keeps its rooms."""
        if self._view.settles_in(self._monotonic()) > 0:
            return
        with suppress(ControlPathUnavailable):
            await self._coroner.verdict_on(placement.lease.node, placement.lease.incarnation)

    async def _examine(self, lease: NodeLease) -> None:
        """Probe the owner: returns if it lives, or when it is buried. Raises OWNER_UNCONFIRMED if neither is known."""
        match await self._probe.verdict_on(lease):
            case Alive():
                return
            case Dead(why):
                try:
                    await self._coroner.certify(lease, why=why)
                except ControlPathUnavailable as error:
                    message = "the node is gone, but who takes over cannot be settled now; ask again"
                    raise _unconfirmed(message) from error
            case Unclear(why):
                message = f"node {lease.node} neither answers nor is it proven dead ({why}); ask again"
                raise _unconfirmed(message, retry_after_ms=self._until_lapse_ms(lease.node))

    def _until_lapse_ms(self, node: NodeName) -> int:
        """When to ask again about a node that is silent: when its lease ends, but soon, as it may answer any moment."""
        known = self._view.node_of(node)
        remaining = 0.0 if known is None else known.lapses_at - self._monotonic()
        return min(RETRY_LATER_MS, max(RETRY_SOON_MS, int(remaining * 1000)))

    async def _settle(self, room: RoomId) -> Placement:
        """Find or make the room's owner; runs once at a time for a room."""
        if not self._view.is_loaded:
            raise _unconfirmed("the director does not know the rooms yet; ask again")
        record = self._view.record_of(room)
        for _ in range(MAX_TRIES):
            facts = self._view.facts_of(room, record)
            left = self._view.settles_in(self._monotonic())
            match place(room, facts):
                case Keep(record=kept):
                    placement = self._view.placement_by(kept)
                    assert placement is not None, "a room is only kept by an owner that lives"
                    return placement
                case NoNodes() | Claim() if left > 0:
                    raise _settling(left)
                case NoNodes():
                    raise Refusal(
                        ErrorCode.NO_NODES, "no node can take the room now; ask again", retry_after_ms=RETRY_LATER_MS
                    )
                case Claim() as claim:
                    try:
                        answer = await self._claim(room, claim, load=facts.load)
                    except ControlPathUnavailable as error:
                        self._on_claim("unavailable")
                        raise _unconfirmed("who owns the room cannot be settled now; ask again") from error
                    if isinstance(answer, Placement):
                        return answer
                    record = answer.record
        raise _unconfirmed("the room changes hands just now; ask again", retry_after_ms=RETRY_SOON_MS)

    async def _claim(self, room: RoomId, claim: Claim, *, load: int) -> Placement | Outrun:
        """Claim once. Where the leases known here were the reason for failing, they are read anew."""
        view = self._view
        known = view.node_of(claim.node)
        assert known is not None, "only known nodes are chosen"
        with view.expecting(known.lease, load):
            answer = await self._owners.claim(
                room,
                node=claim.node,
                incarnation=known.lease.incarnation,
                replacing=claim.replacing,
                why=claim.why,
            )
        self._on_claim(type(answer).__name__.lower())
        match answer:
            case Claimed(record):
                view.learn(record)
                _note_claim(record, claim.replacing)
                return Placement(record, known.lease)
            case Outrun(record):
                if record is not None:
                    view.learn(record)
                    if view.placement_by(record) is None:
                        await self._find_out(record)
                return answer
            case Unfit():
                await self._reader.poll_once()
                return Outrun(claim.replacing)
            case Settling(remaining):
                view.settle(until=self._monotonic() + remaining)
                raise _settling(remaining)

    async def _find_out(self, record: RoomRecord) -> None:
        """What is the matter with an owner that is unknown here: returns when it is dead, or known."""
        match await self._coroner.verdict_on(record.owner, record.incarnation):
            case Departed():
                return
            case Standing():
                await self._reader.poll_once()
            case Settling(remaining):
                raise _settling(remaining)
            case HeldBack():
                raise _unconfirmed(f"node {record.owner} is silent and not declared dead; ask again")


def _note_claim(record: RoomRecord, replacing: RoomRecord | None) -> None:
    log.info(
        "room_claimed",
        room=record.room,
        node=record.owner,
        epoch=record.epoch,
        why=record.why,
        replacing=None if replacing is None else replacing.owner,
    )


def _unconfirmed(message: str, *, retry_after_ms: int = RETRY_LATER_MS) -> Refusal:
    return Refusal(ErrorCode.OWNER_UNCONFIRMED, message, retry_after_ms=retry_after_ms)


def _settling(remaining: float) -> Refusal:
    message = "Redis was away or lost data a moment ago, and the nodes are telling what they own; ask again"
    return _unconfirmed(message, retry_after_ms=max(RETRY_SOON_MS, round(remaining * 1000)))
