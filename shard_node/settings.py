"""A node's settings, read from the environment (prefix HALL_)."""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from director.contract.lease import LeaseTimings

SECONDS: dict[str, JsonValue] = {"unit": "s"}
"""Marks a setting whose number is a span in seconds."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to
_REDIS = ("redis://", "rediss://", "unix://", "redis+sentinel://")


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
    data: Path = Field(default=Path(".hall"), description="folder of the demo's secrets and of the SQLite file")
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="where ownership and leases are kept: redis://, rediss://, unix://, or redis+sentinel://a,b,c/NAME",
    )
    store_url: str = Field(
        default="",
        description="where messages are kept: postgresql://USER:PASSWORD@HOST/NAME; unset: SQLite in the data folder",
    )
    ticket_key: str = Field(
        default="", description="the key that tickets are signed with, 32 characters at least", repr=False
    )
    allowed_origins: str = Field(default="", description="origins whose pages may use the fleet, with commas between")
    director_url: str = Field(default="http://127.0.0.1:8000", description="the director as browsers see it")
    test_clock: Path | None = Field(
        default=None, description="for tests: a file that says how many milliseconds the wall clock is off"
    )
    lease_renew: float = Field(
        default=1.0,
        description="a node renews its lease so often; the same on all processes",
        json_schema_extra=SECONDS,
    )
    lease_stop_accepting: float = Field(
        default=3.0,
        description="with Redis and the store silent, a node refuses joins after",
        json_schema_extra=SECONDS,
    )
    lease_drop_rooms: float = Field(
        default=5.0, description="with both silent, it drops its rooms after", json_schema_extra=SECONDS
    )
    lease_expire: float = Field(
        default=6.0, description="a lease that is not renewed lapses after", json_schema_extra=SECONDS
    )
    lease_guard: float = Field(
        default=1.0, description="what a node keeps clear of its lease's end", json_schema_extra=SECONDS
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="logs as JSON, or in colours for people; auto: these on a terminal, else JSON"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that is logged; of libraries never less than warnings"
    )
    fanout: Literal["direct", "stock"] = Field(
        default="direct",
        description="how members are written to: `direct`, or `stock` (all by python-socketio; to be used if in doubt)",
    )
    ping_interval: int = Field(
        default=10, description="Engine.IO asks so often whether a client is there", ge=1, json_schema_extra=SECONDS
    )
    ping_timeout: int = Field(
        default=5, description="a client that does not answer is gone after", ge=1, json_schema_extra=SECONDS
    )
    room_linger: float = Field(
        default=60.0, description="an empty room is closed after", ge=0, json_schema_extra=SECONDS
    )
    drain_within: float = Field(
        default=25.0,
        description="on SIGTERM a node waits so long at most until its rooms have been moved",
        ge=0,
        json_schema_extra=SECONDS,
    )
    max_waiting: int = Field(
        default=10_000, description="messages that may wait for the store before senders get BUSY", ge=1
    )

    @field_validator("node_path")
    @classmethod
    def _path_has_its_slashes(cls, path: str) -> str:
        if not re.fullmatch(r"/([A-Za-z0-9._~-]+/)+", path):
            raise ValueError(f"HALL_NODE_PATH must begin and end with a slash, like /socket.io/; got {path!r}")
        return path

    @field_validator("ticket_key")
    @classmethod
    def _ticket_key_is_no_example(cls, key: str) -> str:
        if key.strip().lower().startswith("change-me"):
            raise ValueError("HALL_TICKET_KEY is still the example's: set it to the director's own")
        return key

    @field_validator("redis_url")
    @classmethod
    def _redis_url_is_known(cls, url: str) -> str:
        if not url.startswith(_REDIS):
            # it may carry a password, and is not shown
            raise ValueError(f"HALL_REDIS_URL begins with one of {', '.join(_REDIS)}")
        return url

    @field_validator("node_url", "node_probe_url", "director_url")
    @classmethod
    def _url_is_an_origin(cls, url: str) -> str:
        if url and not _is_origin(url):
            raise ValueError(f"takes an origin like https://chat.example.org, without a path; got {url!r}")
        return url

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_origins(cls, origins: str) -> str:
        for origin in filter(None, map(str.strip, origins.split(","))):
            if not _is_origin(origin):
                raise ValueError(f"takes origins like https://chat.example.org, without a path; got {origin!r}")
        return origins

    @model_validator(mode="after")
    def _timings_are_in_order(self) -> "NodeSettings":
        _ = self.timings
        return self

    @model_validator(mode="after")
    def _demo_stays_at_home(self) -> "NodeSettings":
        if self.demo and self.node_host not in _LOOPBACK:
            raise ValueError(f"HALL_DEMO=1 binds to loopback only; set HALL_NODE_HOST=127.0.0.1, not {self.node_host}")
        if not self.demo and len(self.ticket_key) < 32:
            raise ValueError(
                "HALL_TICKET_KEY must have 32 characters at least (the director's own); or set HALL_DEMO=1"
            )
        return self

    @model_validator(mode="after")
    def _probes_reach_this_node(self) -> "NodeSettings":
        """A director on another host that probes 127.0.0.1 finds nobody there, and takes a node that lives for dead."""
        if not self.node_probe_url and (
            self.node_host in _EVERYWHERE or (self.node_host in _LOOPBACK and not _is_local(self.redis_url))
        ):
            raise ValueError(
                "set HALL_NODE_PROBE_URL to the address at which directors reach this very node, like "
                f"http://10.0.0.7:{self.node_port} (http://127.0.0.1:{self.node_port} if they all run on this host)"
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


def _is_origin(url: str) -> bool:
    """Whether it is scheme, host and port alone; a slash at the end does not count."""
    parts = urlsplit(url.rstrip("/"))
    beyond = parts.path or parts.query or parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not beyond


def _is_local(redis_url: str) -> bool:
    """Whether Redis, or each server of its Sentinel set, is on this very host."""
    parts = urlsplit(redis_url)
    hosts = [it.rpartition(":")[0] or it for it in parts.netloc.rpartition("@")[2].split(",")]
    return parts.scheme == "unix" or all(host.strip("[]") in _LOOPBACK for host in hosts)
