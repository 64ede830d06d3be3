"""The host of sessions, as one of them sees it."""

from typing import Protocol

from shard_node.fanout.heartbeat import Pinged
from shard_node.fanout.inbound import Gateway
from shard_node.fanout.turnstile import Admit


class Transport(Protocol):
    """What a session needs of a wire."""

    def write(self, data: bytes) -> None: ...

    def is_closing(self) -> bool: ...

    def get_write_buffer_size(self) -> int: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class SessionHost(Protocol):
    """What all sessions of a node share."""

    gateway: Gateway

    def new_sid(self) -> str: ...

    def queue(self, admit: Admit) -> None:
        """Call a session's admission when its turn comes."""
        ...

    def watch_joining(self, session: Pinged) -> None:
        """Cut the session if it has no namespace in a while."""
        ...

    def gone(self, session: object) -> None:
        """The transport is lost."""
        ...
