"""The host of sessions, as one of them sees it."""

from typing import Protocol

from shard_node.fanout.heartbeat import Pinged
from shard_node.fanout.inbound import Gateway
from shard_node.fanout.turnstile import Admit

MAX_READ = 8 * 1024
"""Bytes that are taken from a client in one step of the event loop."""


class SessionHost(Protocol):
    """What all sessions of a node share."""

    gateway: Gateway
    inbox: memoryview
    """Where what arrives is put until it is read, which is in the same step: one for all."""

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
