"""Peers: delivery and joins of Socket.IO for Node and of python-socketio as documented, beside lecturehall's."""

from typing import Any

from tests.bench import delivery, joins
from tests.bench.servers import BARE, HALL, NODE, PYTHON

ONLY_BY_NAME = True
"""It needs what `make bench-peers` installs."""


def main() -> dict[str, Any]:
    """Both comparisons in one report."""
    servers = [BARE, HALL, NODE, PYTHON]
    delivered, joined = delivery.compare(servers), joins.compare(servers)
    return {part: delivered[part] + joined[part] for part in ("figures", "notes", "runs")}


if __name__ == "__main__":
    from tests.bench.__main__ import show

    show(main())
