"""Meter: a recorder that measures latency by the senders' stamps, for each room (all on one machine)."""

from director.contract.ids import RoomId
from loadtest.contract.history import Acked, Framed, HistoryEvent
from loadtest.core.latency import Latency
from loadtest.core.stamp import asked_at_of


class Meter:
    """`deliveries`: from the first try of a send to each member that was given it live; `acks`: to its sender's ack."""

    def __init__(self) -> None:
        self.deliveries: dict[RoomId, Latency] = {}
        self.acks: dict[RoomId, Latency] = {}

    def record(self, event: HistoryEvent) -> None:
        if isinstance(event, Framed):
            latency = self.deliveries.get(event.room)
            if latency is None:
                latency = self.deliveries[event.room] = Latency()
            for seen in event.entries:
                asked_at = asked_at_of(seen.cid)
                if asked_at is not None:
                    latency.add(event.heard_at - asked_at)
        elif isinstance(event, Acked):
            asked_at = asked_at_of(event.cid)
            if asked_at is not None:
                self.acks.setdefault(event.room, Latency()).add(event.heard_at - asked_at)
