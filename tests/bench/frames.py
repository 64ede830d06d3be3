"""Frames: entries made into the bytes that all members get, beside what python-socketio makes for each of them."""

import json
from typing import Any

import msgspec
from engineio import packet as eio_packet
from socketio import packet as sio_packet

from director.contract.ids import Epoch, LogId, Role, Seq, UserId
from persistence.contract.messages import Author, Draft, Kind
from shard_node.contract.events import Frame
from shard_node.fanout.packets import event_packet
from tests.bench.figures import Figure, figure, microseconds, report

TEXT = "hello lecture hall, this is a chat message of usual length, and in Korean 안녕하세요"
SIZES = (1, 8, 64)


def main() -> dict[str, Any]:
    """Microseconds a frame of so many entries, once for the whole room."""
    by = Author(UserId("u1"), "Ann", Role.STUDENT)
    figures: list[Figure] = []
    for size in SIZES:
        drafts = [Draft(f"cid-{number:016x}", by, Kind.MESSAGE, text=TEXT) for number in range(size)]
        plain = {
            "log": "l" * 16,
            "epoch": 7,
            "from": 1,
            "to": size,
            "entries": [msgspec.to_builtins(draft.numbered(Seq(1), 1)) for draft in drafts],
        }

        def ours(drafts: list[Draft] = drafts, size: int = size) -> bytes:
            entries = [
                msgspec.Raw(msgspec.json.encode(draft.numbered(Seq(number + 1), 1)))
                for number, draft in enumerate(drafts)
            ]
            frame = Frame(log=LogId("l" * 16), epoch=Epoch(7), from_=Seq(1), to=Seq(size), entries=tuple(entries))
            return event_packet("frame", frame).frame

        def stock(plain: dict[str, Any] = plain) -> object:
            text = sio_packet.Packet(sio_packet.EVENT, data=["frame", plain]).encode()
            return eio_packet.Packet(eio_packet.MESSAGE, text).encode()

        assert json.loads(ours().partition(b"42")[2])[1]["to"] == size
        mine, theirs = microseconds(ours, times=2_000), microseconds(stock, times=500)
        entries = "entry" if size == 1 else "entries"
        figures += [
            figure(f"{size} {entries}: encoded once, as a WebSocket frame", "µs", mine),
            figure(f"{size} {entries}: python-socketio's packet, for each member", "µs", theirs),
            figure(f"{size} {entries}: ratio", "x", [a / b for a, b in zip(mine, theirs, strict=True)]),
        ]
    return report(figures)


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
