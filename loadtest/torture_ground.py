"""The ground of a torture: the fleet as its faults see it, with the hands that break and mend it.

NotToday   the fault cannot be had here, or met nobody; it is reported as left out
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from director.contract.ids import NodeName
from loadtest.fault_proxy import FaultProxy
from loadtest.small_disk import SmallDisk


class NotToday(Exception):
    """The fault is left out; the message says why."""


class StoreServer(Protocol):
    """A server of the store that is ours to break."""

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...

    def kill(self) -> None:
        """kill -9."""
        ...

    def spawn(self) -> None:
        """Start it again, without waiting for it to answer."""
        ...


class Ground(Protocol):
    """The fleet under torture. Processes are Redis' servers, directors and nodes by name."""

    nodes: Sequence[NodeName]
    directors: Sequence[str]
    redis_servers: Sequence[str]
    store_file: Path | None
    store_server: StoreServer | None
    disk: SmallDisk | None
    no_disk: str

    def pid_of(self, process: str) -> int:
        """The process' id. Raises NotToday while it is not running."""
        ...

    async def complete(self) -> None:
        """Start what was held back until everybody had joined."""
        ...

    def ways_to_redis(self, node: NodeName) -> Sequence[FaultProxy]:
        """All ways from the node to Redis."""
        ...

    def to_store(self, node: NodeName) -> FaultProxy:
        """The only way from the node to the store. Raises NotToday where that is a file."""
        ...

    def to_node(self, node: NodeName) -> FaultProxy:
        """The only way from clients to the node."""
        ...

    def to_probe(self, node: NodeName) -> FaultProxy:
        """The only way of the directors' probes to the node."""
        ...

    def step_clock(self, node: NodeName, offset_ms: int) -> None:
        """Set the node's wall clock off by so much."""
        ...

    async def flush_redis(self) -> None:
        """Empty it while it runs."""
        ...

    def forget_redis(self) -> None:
        """Take its files away, so that it starts empty."""
        ...

    async def fail_redis_over(self) -> None:
        """Lose the newest writes, freeze the master and wait until another is master. Raises NotToday."""
        ...

    async def end_redis_failover(self) -> None:
        """Let the former master wake."""
        ...

    async def operate(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Ask a director for something as an operator; what it answers. Raises NotToday where it refuses, and where
        none answers within a second or two."""
        ...
