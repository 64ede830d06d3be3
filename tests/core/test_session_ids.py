"""shard_node/fanout/session_ids: chance is asked for seldom, and used once."""

import base64
from itertools import count

from shard_node.fanout.session_ids import AT_ONCE, BYTES, SessionIds


def test_every_byte_of_chance_is_used_once_and_in_full() -> None:
    asked: list[int] = []
    numbers = count()

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return b"".join(next(numbers).to_bytes(5, "big") for _ in range(size // 5))

    ids = SessionIds(random_bytes)
    given = [ids.new() for _ in range(2 * AT_ONCE + 1)]
    assert {len(sid) for sid in given} == {20}
    used = b"".join(base64.urlsafe_b64decode(sid) for sid in given)
    assert used == b"".join(number.to_bytes(5, "big") for number in range(len(given) * BYTES // 5))
    assert asked == [BYTES * AT_ONCE] * 3
