"""ChatFile: a chat that people really had, to be replayed: one JSON object a line."""

from pathlib import Path

import msgspec

from loadtest.core.replay_plan import ChatLine


class UnreadableChat(ValueError):
    """A chat file cannot be used; the message says where and why."""


class _Line(msgspec.Struct, frozen=True):
    minute: float
    user: str
    text: str


def read_chat(path: Path) -> tuple[ChatLine, ...]:
    """A chat from JSON lines of `{"minute", "user", "text"}`, ordered by minute. Raises UnreadableChat."""
    lines: list[ChatLine] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        said = msgspec.json.decode(line, type=_Line)
                    except msgspec.DecodeError as error:
                        raise UnreadableChat(f"{path}, line {number}: {error}") from None
                    lines.append(ChatLine(said.minute, said.user, said.text))
    except OSError as error:
        raise UnreadableChat(f"{path}: {error.strerror}") from None
    if not lines:
        raise UnreadableChat(f"{path}: there is nothing in it")
    return tuple(sorted(lines, key=lambda said: said.minute))
