"""Entries of a room's log, and drafts of entries to be (protocol, section 5)."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from director.contract.ids import Role, Seq, UserId


class Kind(StrEnum):
    """What an entry is."""

    MESSAGE = "message"
    QUESTION = "question"
    DELETE = "delete"
    NOTICE = "notice"
    MODE = "mode"


class Mode(StrEnum):
    """Who may send: everybody, staff, nobody."""

    OPEN = "open"
    STAFF = "staff"
    CLOSED = "closed"


class Author(msgspec.Struct, frozen=True):
    """Who wrote an entry, as the ticket said then."""

    id: UserId
    name: str
    role: Role


class Entry(msgspec.Struct, frozen=True):
    """One numbered item of a room's log, in its wire shape: fields that its kind does not have are left out.

    `at` is Unix milliseconds and never falls within a log. A deleted entry keeps its number and has `deleted: true`
    and no `text`.
    """

    seq: Seq
    at: int
    kind: Kind
    cid: str
    by: Author
    text: str | UnsetType | None = UNSET
    reply_to: Seq | UnsetType = UNSET
    target: Seq | UnsetType = UNSET
    mode: Mode | UnsetType = UNSET
    slow_ms: int | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET

    def without_text(self) -> "Entry":
        """The entry as it is shown after its deletion; idempotent."""
        return msgspec.structs.replace(self, text=UNSET, deleted=True)


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody asks to be added to a room, checked but not numbered. Only the fields of its kind are set."""

    cid: str
    by: Author
    kind: Kind
    text: str | None = None
    reply_to: Seq | None = None
    target: Seq | None = None
    mode: Mode | None = None
    slow_ms: int | None = None

    @property
    def digest(self) -> bytes:
        """Eight bytes that tell whether two drafts with one `cid` ask for the same thing."""
        asked = repr(
            (self.kind.value, self.text, self.reply_to, self.target, self.mode and self.mode.value, self.slow_ms)
        )
        return hashlib.blake2b(asked.encode(), digest_size=8).digest()

    def numbered(self, seq: Seq, at: int) -> Entry:
        """The entry that this draft becomes as number `seq` at Unix milliseconds `at`."""
        return Entry(
            seq=seq,
            at=at,
            kind=self.kind,
            cid=self.cid,
            by=self.by,
            text=self.text if self.kind in (Kind.MESSAGE, Kind.QUESTION, Kind.NOTICE) else UNSET,
            reply_to=UNSET if self.reply_to is None else self.reply_to,
            target=UNSET if self.target is None else self.target,
            mode=UNSET if self.mode is None else self.mode,
            slow_ms=UNSET if self.slow_ms is None else self.slow_ms,
        )
