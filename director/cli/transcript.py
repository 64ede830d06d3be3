"""Transcript: a room's entries as lines for a terminal."""

import unicodedata
from datetime import UTC, datetime, tzinfo

from msgspec import UNSET

from director.contract.ids import Role
from persistence.contract.messages import Entry, Kind, Mode

MARKS = {Role.LECTURER: "★", Role.ASSISTANT: "☆", Role.STUDENT: " "}

_MODES = {
    Mode.OPEN: "everybody may send",
    Mode.STAFF: "only staff may send",
    Mode.CLOSED: "the room is closed for sending",
}
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def line_of(entry: Entry, *, zone: tzinfo | None = None) -> str:
    """One line: the time of day (in `zone`, else the machine's), the role's mark, the name and what the entry says.

    Nothing in it can steer a terminal: control characters that people sent are replaced.
    """
    at = datetime.fromtimestamp(entry.at / 1000, UTC).astimezone(zone)
    return f"{at:%H:%M:%S} {MARKS[entry.by.role]} {harmless(entry.by.name)}: {_words_of(entry)}"


def harmless(text: str) -> str:
    """The text on one line, without characters that steer a terminal or turn the direction of what follows."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character == "\n":
        return " ⏎ "
    if character in _BIDI_CONTROLS or unicodedata.category(character) in ("Cc", "Zl", "Zp"):
        return "\ufffd"
    return character


def _words_of(entry: Entry) -> str:
    text = harmless(entry.text) if isinstance(entry.text, str) else None
    match entry.kind:
        case Kind.MESSAGE | Kind.QUESTION:
            words = "(deleted)" if text is None else text
            asks = "[question] " if entry.kind is Kind.QUESTION else ""
            answers = "" if entry.reply_to is UNSET else f"(to {entry.reply_to}) "
            return f"{asks}{answers}{words}"
        case Kind.DELETE:
            return f"-- deleted entry {entry.target}"
        case Kind.NOTICE:
            return "-- took the notice down" if text is None else f"-- notice: {text}"
        case Kind.MODE:
            slow = f", one message every {entry.slow_ms / 1000:g} s" if entry.slow_ms else ""
            return f"-- {'mode changed' if entry.mode is UNSET else _MODES[entry.mode]}{slow}"
