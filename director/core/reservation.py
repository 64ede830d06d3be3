"""Reservation: a lecture that was announced, and the members that its room counts for because of it.

1. A reservation counts from `lead` seconds before its start until its end, both told in Unix seconds by Redis' clock.
   Before and after, its room counts for what it is.
2. Of several that count for one room the largest does: a room is not larger because it was announced twice.
3. While it counts, its room should have an owner: who places those of `due_rooms` in their order, by bounded load, puts
   large lectures apart before the first student comes.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from director.contract.ids import RoomId

LEAD = 15 * 60.0
MAX_RESERVED_MEMBERS = 100_000
MAX_RESERVED_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True, order=True)
class Reservation:
    """`members` are expected in `room` from `starts_at` (Unix seconds) for `minutes`.

    Raises ValueError unless 0 < members <= 100,000 and 0 < minutes <= a day.
    """

    room: RoomId
    members: int
    starts_at: float
    minutes: int

    def __post_init__(self) -> None:
        if not 0 < self.members <= MAX_RESERVED_MEMBERS:
            raise ValueError(f"a lecture is announced for 1 to {MAX_RESERVED_MEMBERS} members, not {self.members}")
        if not 0 < self.minutes <= MAX_RESERVED_MINUTES:
            raise ValueError(f"a lecture is announced for 1 to {MAX_RESERVED_MINUTES} minutes, not {self.minutes}")

    @property
    def ends_at(self) -> float:
        """The first instant after the lecture."""
        return self.starts_at + 60.0 * self.minutes

    def counts_at(self, now: float, *, lead: float = LEAD) -> bool:
        """Whether its room counts for it at `now`."""
        return self.starts_at - lead <= now < self.ends_at


def reserved_at(now: float, reservations: Iterable[Reservation], *, lead: float = LEAD) -> Mapping[RoomId, int]:
    """The members that each room counts for at `now`; rooms without a reservation that counts are left out.

    To see what is to come, as a plan for the next hours does, give a longer lead.
    """
    reserved: dict[RoomId, int] = {}
    for reservation in reservations:
        if reservation.counts_at(now, lead=lead):
            reserved[reservation.room] = max(reservation.members, reserved.get(reservation.room, 0))
    return reserved


def due_rooms(reserved: Mapping[RoomId, int], *, owned: Container[RoomId]) -> tuple[RoomId, ...]:
    """The rooms that are reserved and have no owner, in the order in which they should be placed: the largest first."""
    return tuple(sorted((room for room in reserved if room not in owned), key=lambda room: (-reserved[room], room)))


def expired_of(reservations: Iterable[Reservation], now: float) -> tuple[Reservation, ...]:
    """Those that are over and can be forgotten, in order."""
    return tuple(sorted(reservation for reservation in reservations if reservation.ends_at <= now))
