"""Session ids, as unguessable as python-engineio's. Chance for many is asked for at once: a call to the system for each
member shows at the bell."""

import base64
from collections.abc import Callable

BYTES = 15
AT_ONCE = 64


class SessionIds:
    """Gives out ids. `random_bytes` is the system's chance; no byte of it is used twice."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._left = b""

    def new(self) -> str:
        """An id of 20 characters that nobody else has."""
        if not self._left:
            self._left = self._random_bytes(BYTES * AT_ONCE)
        taken, self._left = self._left[:BYTES], self._left[BYTES:]
        return base64.urlsafe_b64encode(taken).decode()
