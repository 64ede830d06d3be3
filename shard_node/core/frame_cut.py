"""How many entries stand in one frame: 64, and 32 KiB of them, but for an entry that is larger alone."""

from collections.abc import Iterator, Sequence

import msgspec

MAX_FRAME_ENTRIES = 64
MAX_FRAME_BYTES = 32 * 1024


def cut(entries: Sequence[msgspec.Raw]) -> Iterator[tuple[msgspec.Raw, ...]]:
    """The entries in as few frames as they need, in order; none for none."""
    part: list[msgspec.Raw] = []
    size = 0
    for entry in entries:
        size += len(entry)
        if part and (len(part) >= MAX_FRAME_ENTRIES or size > MAX_FRAME_BYTES):
            yield tuple(part)
            part, size = [], len(entry)
        part.append(entry)
    if part:
        yield tuple(part)
