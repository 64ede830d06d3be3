"""A stamped `cid`: the sender's own random id that also tells when it first asked, for measuring on one machine."""

import random
from functools import lru_cache

_STAMP_UNIT = 1e-6


def stamped_cid(now: float, rng: random.Random) -> str:
    """An id with 64 bits of chance and the monotonic time `now` (seconds) in it; at most 40 characters."""
    return f"{rng.getrandbits(64):016x}.{round(now / _STAMP_UNIT):x}"


@lru_cache(maxsize=4096)  # asked once for each member that an entry is shown to
def asked_at_of(cid: str) -> float | None:
    """When the sender of `cid` first asked, in monotonic seconds of its machine; None if it bears no stamp of ours."""
    chance, dot, stamp = cid.partition(".")
    if not dot or len(chance) != 16:
        return None
    try:
        return int(stamp, 16) * _STAMP_UNIT
    except ValueError:
        return None
