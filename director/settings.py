"""The director's settings, read from the environment (prefix HALL_)."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from director.contract.lease import LeaseTimings
from director.redis_sentinel import SCHEME, sentinel_address_of

SECONDS: dict[str, JsonValue] = {"unit": "s"}
"""Marks a setting whose number is a span in seconds."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MIN_ADMIN_TOKEN = 16
_ALGORITHMS = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")


class DirectorSettings(BaseSettings):
    """What a director needs to know. Spans are in seconds. Raises pydantic's ValidationError with what to mend."""

    model_config = SettingsConfigDict(env_prefix="HALL_", extra="ignore", frozen=True)

    demo: bool = Field(default=False, description="identities without proof, on loopback only")
    data: Path = Field(default=Path(".hall"), description="folder of the demo's secrets and of the SQLite file")
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="where ownership and leases are kept: redis://, rediss://, unix://, or redis+sentinel://a,b,c/NAME",
    )
    director_url: str = Field(default="http://127.0.0.1:8000", description="the director as browsers see it")
    director_host: str = Field(default="127.0.0.1", description="the address that the director listens on")
    director_port: int = Field(default=8000, description="the port that the director listens on", ge=0, le=65535)
    allowed_origins: str = Field(default="", description="origins whose pages may use the fleet, with commas between")
    ticket_key: str = Field(
        default="", description="the key that tickets are signed with, 32 characters at least", repr=False
    )
    ticket_ttl: float = Field(default=60.0, description="a ticket is good for", gt=0, json_schema_extra=SECONDS)
    platform_key: str = Field(
        default="", description="the key that the platform's tokens are checked with (secret or PEM)", repr=False
    )
    platform_algorithm: str = Field(default="HS256", description="the algorithm of the platform's tokens")
    admin_token: str = Field(
        default="",
        description="the operators' token, 16 characters at least; unset: nobody is one (demo: {data}/admin.token)",
        repr=False,
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

    @field_validator("platform_algorithm")
    @classmethod
    def _algorithm_is_known(cls, algorithm: str) -> str:
        if algorithm not in _ALGORITHMS:
            raise ValueError(f"HALL_PLATFORM_ALGORITHM must be one of {', '.join(_ALGORITHMS)}; got {algorithm!r}")
        return algorithm

    @field_validator("ticket_key", "platform_key", "admin_token")
    @classmethod
    def _secret_is_no_example(cls, secret: str, info: ValidationInfo) -> str:
        if secret.strip().lower().startswith("change-me"):
            raise ValueError(f"HALL_{info.field_name}".upper() + " is still the example's: set it to one of your own")
        return secret

    @field_validator("admin_token")
    @classmethod
    def _admin_token_can_be_shown(cls, token: str) -> str:
        """In a header, and not be guessed."""
        token = token.strip()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ValueError("HALL_ADMIN_TOKEN must be of printable ASCII characters, without spaces")
        if 0 < len(token) < _MIN_ADMIN_TOKEN:
            raise ValueError(f"HALL_ADMIN_TOKEN needs {_MIN_ADMIN_TOKEN} characters at least, it has {len(token)}")
        return token

    @field_validator("redis_url")
    @classmethod
    def _redis_url_is_known(cls, url: str) -> str:
        if url.startswith(SCHEME + ":"):
            sentinel_address_of(url)
        elif not url.startswith(("redis://", "rediss://", "unix://")):
            # the URL may carry a password: it is not shown
            raise ValueError(f"HALL_REDIS_URL begins with redis://, rediss://, unix:// or {SCHEME}://")
        return url

    @field_validator("director_url")
    @classmethod
    def _url_is_an_origin(cls, url: str) -> str:
        return _origin_of(url, "HALL_DIRECTOR_URL")

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_origins(cls, origins: str) -> str:
        given = [origin.strip() for origin in origins.split(",") if origin.strip()]
        return ",".join(_origin_of(origin, "HALL_ALLOWED_ORIGINS") for origin in given)

    @model_validator(mode="after")
    def _can_start(self) -> "DirectorSettings":
        # A composition root may build settings with constructor arguments too, so check what stands, not where from.
        LeaseTimings(
            self.lease_renew, self.lease_stop_accepting, self.lease_drop_rooms, self.lease_expire, self.lease_guard
        )
        if self.demo and self.director_host not in _LOOPBACK:
            raise ValueError(
                "HALL_DEMO=1 lets everybody be anybody, so it binds to loopback only: "
                f"set HALL_DIRECTOR_HOST=127.0.0.1, not {self.director_host}"
            )
        if self.ticket_key and len(self.ticket_key) < 32:
            raise ValueError(f"HALL_TICKET_KEY needs 32 characters at least, it has {len(self.ticket_key)}")
        if not self.demo and not self.ticket_key:
            raise ValueError(
                "set HALL_TICKET_KEY to 32 characters at least, the same on all directors and nodes; "
                "or HALL_DEMO=1 to try things out on this machine"
            )
        if not self.demo and not self.platform_key:
            raise ValueError(
                "set HALL_PLATFORM_KEY to the key that your platform signs its tokens with "
                "(and HALL_PLATFORM_ALGORITHM if that is not HS256); or HALL_DEMO=1 to try things out on this machine"
            )
        return self

    @property
    def timings(self) -> LeaseTimings:
        return LeaseTimings(
            self.lease_renew, self.lease_stop_accepting, self.lease_drop_rooms, self.lease_expire, self.lease_guard
        )

    @property
    def own_origins(self) -> frozenset[str]:
        """The origins under which browsers see this director."""
        own = [self.director_url]
        parts = urlsplit(self.director_url)
        if self.demo and parts.hostname in _LOOPBACK:
            port = f":{parts.port}" if parts.port else ""
            own += [f"{parts.scheme}://{host}{port}" for host in ("127.0.0.1", "localhost")]
        return frozenset(own)

    @property
    def origins(self) -> frozenset[str]:
        """Origins whose pages are answered: those allowed and the director's own."""
        return self.own_origins | frozenset(filter(None, self.allowed_origins.split(",")))


def words_of(error: ValidationError) -> str:
    """What is wrong with the settings, each by the name that people set: HALL_..."""
    return "; ".join(_complaint(problem["loc"], problem["msg"]) for problem in error.errors(include_input=False))


def _complaint(path: tuple[int | str, ...], message: str) -> str:
    words = message.removeprefix("Value error, ")
    name = f"HALL_{path[0]}".upper() if path else ""
    return words if name in words else f"{name}: {words}"


def _origin_of(url: str, setting: str) -> str:
    """`url` if it is scheme, host and port alone; a slash at the end is taken off."""
    parts = urlsplit(url.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError(f"{setting} takes origins like https://chat.example.org, without a path; got {url!r}")
    return url.rstrip("/")
