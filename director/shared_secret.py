"""SharedSecret: a file in the fleet's data folder with a secret that all processes of this machine share.

Whoever comes first makes it, readable for its owner alone, whole at once.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

TICKET_KEY = "ticket.key"
ADMIN_TOKEN = "admin.token"  # noqa: S105 (a file's name)
_RANDOM_BYTES = 48


def shared_secret(folder: Path, name: str) -> str:
    """The secret in `{folder}/{name}`, made if it is not there. Raises OSError where it cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with suppress(FileExistsError):
        _create_whole(path, secrets.token_urlsafe(_RANDOM_BYTES))
    return path.read_text().strip()


def _create_whole(path: Path, text: str) -> None:
    """Write a file that nobody ever sees half written; raises FileExistsError if it is there."""
    if path.exists():
        raise FileExistsError(path)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
