"""The event stream: what operators' pages are told as it happens (server-sent events, HTML standard, section 9.2).

1. At most once a second there is an edition: the whole fleet if it has changed (or 5 s have passed), the operations
   that have changed, and what happened since the last one. It is encoded once for all readers.
2. Nothing is queued for a reader. One that is still taking an edition when others come out gets the newest one next:
   the newest picture, the newest state of each operation, and a note of how many notes it has missed.
3. It is given 64 KiB at a time, and 10 s to take them: else it is cut, and costs nothing from then on.
4. A stream ends after an hour at most, and a browser comes back by itself: so a session that is over ends soon.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from director.answers import RETRY_LATER_MS
from director.contract.admin import FleetPicture, Note
from director.contract.errors import ControlPathUnavailable, ErrorCode, Refusal
from director.contract.operations import Operation, Operations
from director.fleet_view import FleetView
from director.notes import Notes
from director.picture import picture_of

EDITION_EVERY = 1.0
PICTURE_EVERY = 5.0
COMMENT_EVERY = 15.0
STREAM_FOR = 3_600.0
TAKE_WITHIN = 10.0
CHUNK = 64 * 1024
MAX_READERS = 32
_OPERATIONS_TOLD = 10
_BEGINNING = b"retry: 2000\n\n"
_COMMENT = b": nothing new\n\n"

Take = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Edition:
    """What has come out last. Pictures and operations have the number of the edition in which they were new."""

    number: int = 0
    picture_number: int = 0
    picture: bytes = b""
    operations: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)


class EventStream:
    """Editions for all readers. `run` is for the process's TaskGroup; `now_ms` is Unix time by Redis' clock."""

    def __init__(
        self,
        view: FleetView,
        operations: Operations,
        notes: Notes,
        *,
        monotonic: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self._view = view
        self._operations = operations
        self._notes = notes
        self._monotonic = monotonic
        self._now_ms = now_ms
        self._edition = _Edition()
        self._picture: FleetPicture | None = None
        self._pictured_at = 0.0
        self._known: Mapping[str, Operation] = {}
        self._published = asyncio.Condition()
        self._is_read = asyncio.Event()
        self.readers = 0
        self.is_closed = False

    async def run(self) -> None:
        """Publish an edition each second while somebody reads, for ever."""
        while True:
            await self._is_read.wait()
            await self.publish()
            await asyncio.sleep(EDITION_EVERY)

    async def publish(self) -> None:
        """Bring out an edition now. With Redis silent it tells what is known here."""
        number = self._edition.number + 1
        operations = await self._next_operations(number)
        if not self.readers:
            return
        picture_number, picture = self._next_picture(number)
        self._edition = _Edition(number, picture_number, picture, operations)
        async with self._published:
            self._published.notify_all()

    async def close(self) -> None:
        """End all streams."""
        self.is_closed = True
        async with self._published:
            self._published.notify_all()

    @contextmanager
    def seat(self) -> Iterator[None]:
        """A reader's place, for as long as it reads. Raises Refusal with BUSY where 32 have one."""
        if self.readers >= MAX_READERS:
            message = f"{MAX_READERS} read the events already, as many as a director serves"
            raise Refusal(ErrorCode.BUSY, message, retry_after_ms=RETRY_LATER_MS)
        self.readers += 1
        self._is_read.set()
        try:
            yield
        finally:
            self.readers -= 1
            if not self.readers:
                # The next one to come is told what is then, not what was.
                self._is_read.clear()
                self._edition, self._picture, self._known = _Edition(), None, {}

    async def read(self, take: Take) -> None:
        """Give a reader with a seat what comes out, until an hour has passed or the director stops. `take` is awaited
        for each piece, and may raise to end it; it ends by TimeoutError where a piece takes more than 10 s."""
        await _give(take, _BEGINNING)
        await self._read_on(take, until=self._monotonic() + STREAM_FOR)

    async def _read_on(self, take: Take, *, until: float) -> None:
        seen = noted = 0
        while self._monotonic() < until:
            if not await self._is_there_more(seen):
                await _give(take, _COMMENT)
                continue
            if self.is_closed:
                return
            edition, notes, last_note = self._edition, self._notes.after(noted), self._notes.number
            if edition.picture_number > seen:
                await _give(take, edition.picture)
            for changed_in, operation in edition.operations.values():
                if changed_in > seen:
                    await _give(take, operation)
            await _give(take, b"".join(_event("note", note) for note in notes))
            seen, noted = edition.number, last_note

    async def _is_there_more(self, seen: int) -> bool:
        """Wait for an edition after that one, or the end; not for longer than a comment is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(COMMENT_EVERY), self._published:
                await self._published.wait_for(lambda: self.is_closed or self._edition.number > seen)
                return True
        return False

    def _next_picture(self, number: int) -> tuple[int, bytes]:
        """The picture and the number of its edition: a new one if the fleet has changed, or if it is due."""
        now, former = self._monotonic(), self._picture
        picture = picture_of(self._view, now=now, now_ms=self._now_ms())
        is_due = now - self._pictured_at >= PICTURE_EVERY
        if former is not None and not is_due and _without_time(picture) == _without_time(former):
            return self._edition.picture_number, self._edition.picture
        self._picture, self._pictured_at = picture, now
        return number, _event("fleet", picture)

    async def _next_operations(self, number: int) -> Mapping[str, tuple[int, bytes]]:
        """The latest operations, each with the number of the edition in which it changed."""
        try:
            latest = await self._operations.recent(_OPERATIONS_TOLD)
        except ControlPathUnavailable:
            return self._edition.operations
        told = self._edition.operations
        next_known = {operation.id: replace(operation, heard_at_ms=0) for operation in latest}
        changed = {name for name, operation in next_known.items() if self._known.get(name) != operation}
        self._known = next_known
        return {
            operation.id: (number, _event("operation", operation))
            if operation.id in changed or operation.id not in told
            else told[operation.id]
            for operation in reversed(latest)
        }


async def _give(take: Take, what: bytes) -> None:
    for start in range(0, len(what), CHUNK):
        async with asyncio.timeout(TAKE_WITHIN):
            await take(what[start : start + CHUNK])


def _event(kind: str, body: FleetPicture | Operation | Note) -> bytes:
    # JSON as msgspec writes it has no line breaks, which would end the event.
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(body))


def _without_time(picture: FleetPicture) -> FleetPicture:
    """What makes a picture another one: not the time, nor that leases go on."""
    return replace(picture, at_ms=0, nodes=tuple(replace(node, lapses_in_ms=0) for node in picture.nodes))
