"""A connection without a network: its client takes as many packets as the test says."""

import json
from dataclasses import dataclass, field
from typing import Any

from director.contract.ids import Role, Seq, UserId
from persistence.contract.messages import Author
from shard_node.fanout.members import Member
from shard_node.fanout.packets import Packet


@dataclass(slots=True, eq=False)
class FakeConnection:
    """A Connection whose client takes `takes` more packets (None: all), and then does not read."""

    sid: str
    takes: int | None = None
    packets: list[Packet] = field(default_factory=list)
    unsent: int = 0
    is_open: bool = True
    is_ended: bool = False
    admission: Any = None
    in_flight: int = 0

    @property
    def reads(self) -> bool:
        return self.takes is None or self.takes > 0

    def offer(self, packet: Packet) -> bool:
        if not self.reads:
            return False
        if self.takes is not None:
            self.takes -= 1
        self.packets.append(packet)
        return True

    def write(self, packet: Packet) -> None:
        self.packets.append(packet)

    def end(self) -> None:
        self.is_ended = True

    def cut(self) -> None:
        self.is_open = False

    def events(self, *names: str) -> list[tuple[str, dict[str, Any]]]:
        """What was written, in order: all, or the events of these names."""
        told = [json.loads(packet.stock.data[1:]) for packet in self.packets]
        return [(name, body) for name, body in told if not names or name in names]

    def ranges(self) -> list[tuple[str, int, int]]:
        """Frames and gaps as (name, from, to)."""
        return [(name, body["from"], body["to"]) for name, body in self.events("frame", "gap")]


def fake_member(name: str, *, shown: int = 0, takes: int | None = None) -> tuple[Member, FakeConnection]:
    """A student on a connection of that name."""
    connection = FakeConnection(f"sid-{name}", takes)
    return Member(connection, Author(UserId(name), name, Role.STUDENT), Seq(shown)), connection
