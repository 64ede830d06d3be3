"""FleetPlan: the processes of a fleet on one machine, with their ports and settings."""

import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import httpx

from director.cli.data_folder import DataFolder
from director.embedded_redis import EmbeddedRedis
from director.held_port import HOST
from director.supervisor import Child

_READY_TIMEOUT = 2.0
_NODE_PAUSE = 3.0
"""Longer than the members of a dead node take to come back to the others."""


def node_port(director_port: int, number: int) -> int:
    """The port of node 1, 2, ..."""
    return director_port + 1000 + number


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What `hall up` runs: an embedded server (None: `redis_url` is somebody else's), one director, `nodes` nodes.

    `public_url` is the origin of a proxy before them all, with a path for each node (deploy/nginx.conf); "": none."""

    folder: DataFolder
    nodes: int
    port: int
    embedded: EmbeddedRedis | None
    redis_url: str
    store_url: str
    public_url: str = ""

    @property
    def director_url(self) -> str:
        """The director's own address."""
        return f"http://{HOST}:{self.port}"

    @property
    def front_url(self) -> str:
        """The director as browsers see it."""
        return self.public_url or self.director_url

    def server(self) -> Sequence[Child]:
        """What must be ready before the rest is started, and is ended after it."""
        if self.embedded is None:
            return ()
        server = self.embedded
        return (Child("redis", server.command, server.answers_as, server.url.removesuffix("/0"), tier=0),)

    def processes(self, client: httpx.AsyncClient) -> Sequence[Child]:
        """The director and the nodes; `client` asks them whether they are ready."""
        director = self._child(client, "director", "director.app", self.port, {"HALL_DIRECTOR_PORT": str(self.port)})
        return (director, *(self._node(client, number) for number in range(1, self.nodes + 1)))

    def _node(self, client: httpx.AsyncClient, number: int) -> Child:
        port = node_port(self.port, number)
        url = f"http://{HOST}:{port}"
        settings = {
            "HALL_NODE_NAME": f"node-{number}",
            "HALL_NODE_HOST": HOST,
            "HALL_NODE_PORT": str(port),
            "HALL_NODE_URL": self.public_url or url,
            "HALL_NODE_PROBE_URL": url,
        }
        if self.public_url:
            settings["HALL_NODE_PATH"] = f"/n/node-{number}/socket.io/"
        pause = _NODE_PAUSE if self.nodes > 1 else 0.0
        child = self._child(client, f"node-{number}", "shard_node.app", port, settings, pause=pause)
        # on SIGTERM a node gives its rooms away first: where all end there is nobody to take them
        return replace(child, end_signal=signal.SIGINT)

    def _child(
        self,
        client: httpx.AsyncClient,
        name: str,
        module: str,
        port: int,
        settings: Mapping[str, str],
        *,
        pause: float = 0.0,
    ) -> Child:
        url = f"http://{HOST}:{port}"

        async def ready(pid: int) -> bool:
            try:
                answer = await client.get(f"{url}/readyz", timeout=_READY_TIMEOUT)
            except httpx.TransportError:
                return False
            return answer.status_code == httpx.codes.OK

        shared = {
            "HALL_DEMO": "1",
            "HALL_DATA": str(self.folder.path),
            "HALL_REDIS_URL": self.redis_url,
            "HALL_STORE_URL": self.store_url,
            "HALL_DIRECTOR_HOST": HOST,
            "HALL_DIRECTOR_URL": self.front_url,
        }
        return Child(name, (sys.executable, "-m", module), ready, url, env={**shared, **settings}, pause=pause)
