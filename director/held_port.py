"""HeldPort: a TCP port of the loopback address that is ours before, between and after the lives of its server.

A bound socket that does not listen keeps the port from everybody who asks the system for any free port, and from all
who bind without SO_REUSEADDR; servers (uvicorn, Valkey) set it and may listen beside us, on Linux. A client that comes
while no server listens is refused, as it should be.
"""

import errno
import socket
import sys
from types import TracebackType

HOST = "127.0.0.1"


class PortInUse(Exception):
    """Another process listens on the port."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} of {HOST} is in use by another process")
        self.port = port


class HeldPort:
    """Holds `port` (0: any free one) from construction to `release`. Raises PortInUse."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError as error:
            self._socket.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise PortInUse(port) from error
            raise
        self.port: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            # elsewhere a bound socket bars our own server too: the check was all that can be had
            self._socket.close()

    def release(self) -> None:
        """Let go of the port; idempotent."""
        self._socket.close()

    def __enter__(self) -> "HeldPort":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
