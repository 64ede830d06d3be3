"""A node's settings, read from the environment (prefix HALL_)."""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from director.contract.lease import LeaseTimings


class NodeSettings(BaseSettings):
    """What one node needs to know. Spans are in seconds. Raises pydantic's ValidationError with what to mend."""

    model_config = SettingsConfigDict(env_prefix="HALL_", extra="ignore", frozen=True)

    node_name: str = Field(
        default="node-1",
        description="the node's name, one for each process",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$",
    )
    node_host: str = Field(default="127.0.0.1", description="the address that the node listens on")
    node_port: int = Field(default=9001, description="the port that the node listens on", ge=0, le=65535)
    node_url: str = Field(default="", description="the origin that clients use; unset: http://HOST:PORT")
    node_path: str = Field(default="/socket.io/", description="the Socket.IO path, with its slashes")
    node_probe_url: str = Field(
        default="", description="the node's own origin for the directors' probes; unset: http://HOST:PORT"
    )
    demo: bool = Field(default=False, description="identities without proof, on loopback only")
    data: Path = Field(default=Path(".hall"), description="folder of the SQLite file and the demo's ticket key")
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="where ownership and leases are kept")
    store_url: str = Field(default="", description="where messages are kept; unset: SQLite in the data folder")
    ticket_key: str = Field(
        default="", description="the key that tickets are signed with, 32 characters at least", repr=False
    )
    allowed_origins: str = Field(default="", description="origins whose pages may connect, with commas between")
    director_url: str = Field(default="http://127.0.0.1:8000", description="the director as browsers see it")
    test_clock: Path | None = Field(
        default=None, description="for tests: a file that says how many milliseconds the wall clock is off"
    )
    lease_renew: float = 1.0
    lease_stop_accepting: float = 3.0
    lease_drop_rooms: float = 5.0
    lease_expire: float = 6.0
    lease_guard: float = 1.0
    fanout: Literal["direct", "stock"] = Field(
        default="direct",
        description="how members are written to: `direct`, or `stock` (all by python-socketio; to be used if in doubt)",
    )
    ping_interval: int = Field(default=10, description="Engine.IO's ping interval", ge=1)
    ping_timeout: int = Field(default=5, description="Engine.IO's ping time-out", ge=1)
    room_linger: float = Field(default=60.0, description="an empty room is closed after", ge=0)
    max_waiting: int = Field(
        default=10_000, description="messages that may wait for the store before senders get BUSY", ge=1
    )

    @field_validator("node_path")
    @classmethod
    def _path_has_its_slashes(cls, path: str) -> str:
        if not re.fullmatch(r"/([A-Za-z0-9._~-]+/)+", path):
            raise ValueError(f"HALL_NODE_PATH must begin and end with a slash, like /socket.io/; got {path!r}")
        return path

    @model_validator(mode="after")
    def _demo_stays_at_home(self) -> "NodeSettings":
        if self.demo and self.node_host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(f"HALL_DEMO=1 binds to loopback only; set HALL_NODE_HOST=127.0.0.1, not {self.node_host}")
        if not self.demo and len(self.ticket_key) < 32:
            raise ValueError(
                "HALL_TICKET_KEY must have 32 characters at least (the director's own); or set HALL_DEMO=1"
            )
        return self

    @property
    def timings(self) -> LeaseTimings:
        return LeaseTimings(
            renew=self.lease_renew,
            stop_accepting=self.lease_stop_accepting,
            drop_rooms=self.lease_drop_rooms,
            expire=self.lease_expire,
            guard=self.lease_guard,
        )

    @property
    def url(self) -> str:
        return (self.node_url or f"http://{self.node_host}:{self.node_port}").rstrip("/")

    @property
    def probe_url(self) -> str:
        return (self.node_probe_url or f"http://{self.node_host}:{self.node_port}").rstrip("/")

    @property
    def store(self) -> str:
        return self.store_url or f"sqlite+aiosqlite:///{self.data / 'store.sqlite3'}"

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins that are answered: the allowed ones (in demo mode, unless set, the director's under both names of
        this host), and the node's own, which is no foreign page's."""
        allowed = [origin.strip().rstrip("/") for origin in self.allowed_origins.split(",") if origin.strip()]
        if self.demo and not allowed:
            parts = urlsplit(self.director_url)
            port = f":{parts.port}" if parts.port else ""
            allowed = [f"{parts.scheme}://{host}{port}" for host in ("127.0.0.1", "localhost")]
        return tuple(dict.fromkeys([*allowed, self.url, self.probe_url]))
