"""Scribe: writes down, for one member, what it asked, was told and was shown."""

from typing import Literal

from director.contract.ids import NodeName, RoomId, UserId
from loadtest.contract.history import (
    Acked,
    Admitted,
    Asked,
    Denied,
    Finished,
    Framed,
    Gapped,
    HistoryEvent,
    Parted,
    seen_of,
)
from loadtest.contract.received import Frame, Joined
from loadtest.recording import Recorder
from shard_node.contract.events import Changed, Position


class Scribe:
    """Writes to `recorder`; to nowhere, and at no cost, if that is None. `now` is monotonic, in seconds."""

    def __init__(self, recorder: Recorder | None, room: RoomId, user: UserId) -> None:
        self._recorder = recorder
        self._room, self._user = room, user
        self._client = f"{room}/{user}"

    def asked(self, now: float, cid: str) -> None:
        self._write(Asked(self._client, self._room, now, cid, self._user))

    def acked(self, now: float, cid: str, done: Changed) -> None:
        self._write(Acked(self._client, self._room, now, cid, self._user, done.seq, done.epoch, done.dup))

    def denied(self, now: float, cid: str, code: str) -> None:
        self._write(Denied(self._client, self._room, now, cid, code))

    def admitted(self, now: float, node: NodeName, since: Position | None, joined: Joined) -> None:
        if self._recorder is not None:
            self._recorder.record(
                Admitted(
                    self._client,
                    self._room,
                    now,
                    node=node,
                    since=since,
                    pos=joined.pos,
                    recovered=joined.recovered,
                    reason=joined.reason,
                    entries=seen_of(joined.entries),
                )
            )

    def shown(self, now: float, frame: Frame, kind: Literal["frame", "gap"]) -> None:
        if self._recorder is not None:
            event = Framed if kind == "frame" else Gapped
            entries = seen_of(frame.entries)
            self._recorder.record(
                event(self._client, self._room, now, frame.log, frame.epoch, frame.from_, frame.to, entries)
            )

    def parted(self, now: float, why: str) -> None:
        self._write(Parted(self._client, self._room, now, why))

    def finished(self, now: float, *, live: bool) -> None:
        self._write(Finished(self._client, self._room, now, live))

    def _write(self, event: HistoryEvent) -> None:
        if self._recorder is not None:
            self._recorder.record(event)
