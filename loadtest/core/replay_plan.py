"""A replay's plan: who is in which room, who says what when, and who drops when; the same for the same seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from director.contract.ids import RoomId, UserId
from shard_node.contract.events import MAX_TEXT_LENGTH

_MINUTE = 60.0
_SHORTEST_ABSENCE = 0.5
_LONGEST_ABSENCE = 8.0


@dataclass(frozen=True, slots=True)
class ChatLine:
    """Something that was said, minutes after the chat's beginning."""

    minute: float
    user: str
    text: str


@dataclass(frozen=True, slots=True)
class Saying:
    """One member says something, seconds after the replay's beginning."""

    after: float
    member: int
    text: str


@dataclass(frozen=True, slots=True)
class Absence:
    """One member's connection is cut at `after` seconds, and it comes back `seconds` later."""

    after: float
    member: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RoomPlan:
    """One room's replay. Members are numbered by their place in `users`; sayings and absences ascend by time."""

    room: RoomId
    users: tuple[UserId, ...]
    sayings: tuple[Saying, ...]
    absences: tuple[Absence, ...]


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """All rooms, and how long the chat lasts in seconds."""

    rooms: tuple[RoomPlan, ...]
    seconds: float


def rooms_named(room: str, count: int) -> tuple[RoomId, ...]:
    """`room`, `room-2`, `room-3`, ..."""
    return tuple(RoomId(room if number == 1 else f"{room}-{number}") for number in range(1, count + 1))


def plan_replay(
    lines: Sequence[ChatLine],
    rooms: Sequence[RoomId],
    *,
    speed: float,
    max_members: int | None,
    drop_share: float,
    seed: int,
) -> ReplayPlan:
    """Replay `lines` in every room, `speed` times as fast as they were said.

    Each user of the chat is a member of its own. With fewer members than users, several users speak through one; with
    more, the rest is silent. Lines of one minute are spread over it in their order. `drop_share` of the members (drawn
    with `seed`, at least one if it is above 0) lose their connection once and come back. Empty texts are left out and
    long ones cut to what a node takes.
    """
    said = [line for line in lines if line.text.strip()]
    users = list(dict.fromkeys(line.user for line in said))
    count = max(1, len(users) if max_members is None else max_members)
    names = [UserId(user) for user in users[:count]]
    names += [UserId(f"silent-{number}") for number in range(1, count - len(names) + 1)]
    member_of = {user: place % count for place, user in enumerate(users)}
    times = _spread([line.minute for line in said])
    sayings = tuple(
        Saying(at * _MINUTE / speed, member_of[line.user], line.text[:MAX_TEXT_LENGTH])
        for at, line in zip(times, said, strict=True)
    )
    seconds = sayings[-1].after if sayings else 0.0
    plans = []
    for room in rooms:
        chance = random.Random(f"{seed} {room}")  # one room's plan does not depend on the others
        dropping = chance.sample(range(count), min(count, round(count * drop_share) or int(drop_share > 0)))
        absences = [
            Absence(chance.uniform(0.05, 0.9) * seconds, member, chance.uniform(_SHORTEST_ABSENCE, _LONGEST_ABSENCE))
            for member in dropping
        ]
        absences.sort(key=lambda absence: absence.after)
        plans.append(RoomPlan(room, tuple(names), sayings, tuple(absences)))
    return ReplayPlan(tuple(plans), seconds)


def _spread(minutes: Sequence[float]) -> list[float]:
    """Times, in minutes, that never fall: lines of the same minute stand evenly within it."""
    same: dict[float, int] = {}
    for minute in minutes:
        same[minute] = same.get(minute, 0) + 1
    place: dict[float, int] = {}
    times: list[float] = []
    first = min(minutes, default=0.0)
    for minute in minutes:
        place[minute] = place.get(minute, -1) + 1
        times.append(max(times[-1] if times else 0.0, minute - first + place[minute] / same[minute]))
    return times
