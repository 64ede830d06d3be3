"""uvicorn's HTTP protocol with a bound on what one request may have; stock keeps a head of any size in memory."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shard_node.contract.events import MAX_PAYLOAD_BYTES

MAX_HEAD = 64 * 1024
MAX_REQUEST = MAX_HEAD + 2 * MAX_PAYLOAD_BYTES


class BoundedHttpProtocol(HttpToolsProtocol):
    """Ends the connection of a request that has more bytes than any request that a node answers."""

    _taken = 0

    def data_received(self, data: bytes) -> None:
        self._taken += len(data)
        super().data_received(data)
        if self._taken > MAX_REQUEST:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._taken = 0
        super().on_message_begin()
