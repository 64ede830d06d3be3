"""The mover: asks a room's owner to move it, and waits for what comes of it.

It only asks: the room's record, its owner and its target do the rest (contract/ownership), and go on with it if the
director that asked is gone.
"""

import asyncio
from collections.abc import Callable

from director.contract.errors import ControlPathUnavailable
from director.contract.ids import NodeName
from director.contract.lease import NodeState
from director.contract.operations import PlannedMove
from director.contract.ownership import Asked, Outrun, RoomOwners, RoomRecord, Unfit
from director.core.move_watch import Moved, NobodyThere, NotMoved, Outcome, UnderWay, seen_of
from director.fleet_view import FleetView

MOVE_WITHIN = 10.0
LOOK_EVERY = 0.05
ASK_AGAIN_AFTER = 0.5


class Mover:
    """One for all moves that a director asks for."""

    def __init__(self, view: FleetView, owners: RoomOwners, *, monotonic: Callable[[], float]) -> None:
        self._view = view
        self._owners = owners
        self._monotonic = monotonic

    async def move(self, move: PlannedMove, *, anywhere: bool = False) -> Outcome:
        """Have the room moved; settled within 10 s and the time of a call to Redis, else it is called off.

        Exactly this move, unless `anywhere`: then a move of the room to another node that is under way will do. Where
        it is cancelled, what was asked for stands, and its nodes carry it out or give it up.
        """
        until = self._monotonic() + MOVE_WITHIN
        asked = await self._ask(move, until, anywhere=anywhere)
        if not isinstance(asked, RoomRecord):
            return asked
        while True:
            died = self._view.is_dead(asked.owner, asked.incarnation)
            match seen_of(asked, self._view.record_of(asked.room), owner_died=died):
                case UnderWay():
                    if self._monotonic() >= until:
                        return await self._call_off(asked)
                    await asyncio.sleep(LOOK_EVERY)
                case Moved() | NotMoved() | NobodyThere() as outcome:
                    return outcome

    async def _ask(self, move: PlannedMove, until: float, *, anywhere: bool) -> RoomRecord | Outcome:
        """The record of a move that is under way, or why there is none."""
        while True:
            record = self._view.record_of(move.room)
            hindrance = self._hindrance(move, record)
            if record is None or hindrance is not None:
                return hindrance or NobodyThere()
            if record.target is not None and record.target != move.target:
                return record if anywhere else NotMoved(f"the room is being moved to {record.target} already")
            answer = await self._asked(record, move)
            match answer:
                case Asked(asked):
                    self._view.learn(asked)
                    return asked
                case Unfit():
                    return NotMoved(f"{move.target} holds no lease any more")
                case Outrun(standing):
                    if standing is None:
                        return NobodyThere()
                    self._view.learn(standing)
                case None:
                    pass
            if self._monotonic() >= until:
                return NotMoved("Redis does not answer" if answer is None else "the room keeps changing hands")
            await asyncio.sleep(LOOK_EVERY if answer else ASK_AGAIN_AFTER)

    async def _asked(self, record: RoomRecord, move: PlannedMove) -> Asked | Outrun | Unfit | None:
        """Ask once; None if Redis did not answer: it may have heard, and asking again does no harm."""
        known = self._view.node_of(move.target)
        if known is None:
            return Unfit()
        try:
            return await self._owners.ask_move(
                record, to=move.target, incarnation=known.lease.incarnation, why=move.why
            )
        except ControlPathUnavailable:
            return None

    def _hindrance(self, move: PlannedMove, record: RoomRecord | None) -> Outcome | None:
        """What is known to stand in the way before anybody is asked."""
        if record is None:
            return NobodyThere()
        if record.owner == move.target:
            return Moved()
        if record.owner != move.source:
            return NotMoved(f"{record.owner} owns the room meanwhile ({record.why})")
        if self._view.is_dead(record.owner, record.incarnation):
            return NotMoved(f"{record.owner} is dead")
        return self._target_s_hindrance(move.target)

    def _target_s_hindrance(self, target: NodeName) -> NotMoved | None:
        if self._view.node_of(target) is None:
            return NotMoved(f"{target} holds no lease any more")
        state = self._view.state_of(target)
        return None if state is NodeState.SERVING else NotMoved(f"{target} is {state} and is given no rooms")

    async def _call_off(self, asked: RoomRecord) -> Outcome:
        """Take the target away after too long a time, unless the room was handed over just then."""
        problem = NotMoved(f"{asked.owner} did not hand the room over within {MOVE_WITHIN:.0f} s")
        try:
            answer = await self._owners.cancel_move(asked)
        except ControlPathUnavailable:
            return NotMoved(f"{problem.problem}, and Redis does not answer")
        match answer:
            case Asked():
                return problem
            case Outrun(standing):
                if standing is None:
                    return NobodyThere()
                self._view.learn(standing)
                return Moved() if standing.owner == asked.target else problem
