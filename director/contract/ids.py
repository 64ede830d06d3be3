"""Names and numbers that identify things across the fleet (protocol, section 1)."""

import re
import unicodedata
from collections.abc import Callable
from enum import StrEnum
from typing import NewType

RoomId = NewType("RoomId", str)
NodeName = NewType("NodeName", str)
Incarnation = NewType("Incarnation", str)
Epoch = NewType("Epoch", int)
UserId = NewType("UserId", str)
LogId = NewType("LogId", str)
Seq = NewType("Seq", int)

MAX_ROOM_LENGTH = 128
MAX_USER_LENGTH = 128
MAX_NAME_LENGTH = 64

_ROOM = re.compile(r"[A-Za-z0-9._:~-]{1,128}\Z")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}\Z")


class Role(StrEnum):
    """What a person is in a room; lecturers and assistants are staff."""

    STUDENT = "student"
    ASSISTANT = "assistant"
    LECTURER = "lecturer"

    @property
    def is_staff(self) -> bool:
        return self is not Role.STUDENT


def room_id_of(text: object) -> RoomId | None:
    """The room that `text` names, or None if it is no room name (1 to 128 characters of A-Za-z0-9._:~-)."""
    return RoomId(text) if isinstance(text, str) and _ROOM.match(text) else None


def node_name_of(text: object) -> NodeName | None:
    """The node that `text` names, or None: 1 to 63 characters as in a host name."""
    return NodeName(text) if isinstance(text, str) and _NODE.match(text) else None


def user_id_of(text: object) -> UserId | None:
    """The user that `text` names, or None: 1 to 128 printable code points after NFC."""
    tidy = printable_of(text, max_length=MAX_USER_LENGTH)
    return None if tidy is None else UserId(tidy)


def printable_of(text: object, *, max_length: int) -> str | None:
    """`text` in NFC without outer white space; None unless it then has 1 to `max_length` printable code points."""
    if not isinstance(text, str) or len(text) > 4 * max_length:
        return None
    tidy = unicodedata.normalize("NFC", text).strip()
    return tidy if 0 < len(tidy) <= max_length and tidy.isprintable() else None


def new_incarnation(random_bytes: Callable[[int], bytes]) -> Incarnation:
    """A name for one start of a process: 64 bits of the given source of chance, in hexadecimal."""
    return Incarnation(random_bytes(8).hex())
