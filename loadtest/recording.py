"""Recorders: where clients put down what they asked, were told and were shown."""

from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec

from loadtest.contract.history import HistoryEvent

_WRITE_AT = 1 << 16


class Recorder(Protocol):
    """Takes the events of many clients, each client's in order. Never awaits."""

    def record(self, event: HistoryEvent) -> None:
        """Put `event` down."""
        ...


class Recorders:
    """Gives every event to several recorders."""

    def __init__(self, *recorders: Recorder) -> None:
        self._recorders = recorders

    def record(self, event: HistoryEvent) -> None:
        for recorder in self._recorders:
            recorder.record(event)


class HistoryFile:
    """A JSONL file of events, written in blocks of 64 KiB; `close` writes the rest."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._encoder = msgspec.json.Encoder()
        self._block = bytearray()

    def record(self, event: HistoryEvent) -> None:
        self._block += self._encoder.encode(event)
        self._block += b"\n"
        if len(self._block) >= _WRITE_AT:
            self.flush()

    def flush(self) -> None:
        """Hand what was recorded to the operating system."""
        self._file.write(self._block)
        self._file.flush()
        self._block.clear()

    def close(self) -> None:
        self.flush()
        self._file.close()

    def __enter__(self) -> "HistoryFile":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
