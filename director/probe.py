"""A probe: asking a node at its own address whether it lives (design, section 3, fast failover).

Only two things prove a death: the address refuses connections twice, 200 ms apart, or another incarnation of the node
answers there. Silence, errors and other answers prove nothing.

A node that dies sends all its members to the director at once, so a probe runs in a thread: a loop that is busy with
thousands of them would take its own lateness for the node's silence.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import sleep
from typing import Protocol

import httpx
import msgspec

from director.contract.ids import Incarnation, NodeName
from director.contract.lease import NodeLease
from director.single_flight import SingleFlight

ANSWER_WITHIN = 0.3
GIVE_UP_AFTER = 3.0
TRY_AGAIN_AFTER = 0.2
MOST_LOOKS = 3
KEEP_FOR = 1.0
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Alive:
    """The incarnation of the lease answered."""


@dataclass(frozen=True, slots=True)
class Dead:
    """It is proven that the incarnation is gone."""

    why: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing is proven."""

    why: str


Verdict = Alive | Dead | Unclear


class NodeProbe(Protocol):
    """Who can tell whether a node lives."""

    async def verdict_on(self, lease: NodeLease) -> Verdict:
        """The verdict on the lease's incarnation, in well under a second; many may ask at once."""
        ...


class _Health(msgspec.Struct, frozen=True):
    node: str
    incarnation: str
    ok: bool = False


@dataclass(frozen=True, slots=True)
class _Refused:
    pass


@dataclass(frozen=True, slots=True)
class _Broken(Unclear):
    """The connection was taken and lost: so does a process that is just being ended, which refuses a moment later."""


class HttpNodeProbe:
    """NodeProbe by `GET {probe_url}/healthz`: one flight for each incarnation, its verdict kept for a second."""

    def __init__(self, http: httpx.Client, *, monotonic: Callable[[], float]) -> None:
        self._http = http
        self._monotonic = monotonic
        self._flights: SingleFlight[tuple[NodeName, Incarnation], Verdict] = SingleFlight()
        self._kept: dict[tuple[NodeName, Incarnation], tuple[float, Verdict]] = {}

    async def verdict_on(self, lease: NodeLease) -> Verdict:
        key = (lease.node, lease.incarnation)
        now = self._monotonic()
        self._kept = {k: kept for k, kept in self._kept.items() if now - kept[0] < KEEP_FOR}
        if key in self._kept:
            return self._kept[key][1]
        return await self._flights.run(key, lambda: self._find_out(lease))

    async def _find_out(self, lease: NodeLease) -> Verdict:
        try:
            async with asyncio.timeout(GIVE_UP_AFTER):
                verdict = await asyncio.to_thread(self._look, lease)
        except TimeoutError:
            verdict = Unclear("silent")
        self._kept[lease.node, lease.incarnation] = (self._monotonic(), verdict)
        return verdict

    def _look(self, lease: NodeLease) -> Verdict:
        """Look until the address has refused twice or something is known; a few times at most."""
        sights = [self._sight(lease)]
        while len(sights) < MOST_LOOKS and isinstance(sights[-1], _Refused | _Broken):
            sleep(TRY_AGAIN_AFTER)
            sights.append(self._sight(lease))
            if sights[-2:] == [_Refused(), _Refused()]:
                return Dead("refused")
        return Unclear("refused now and then") if isinstance(sights[-1], _Refused) else sights[-1]

    def _sight(self, lease: NodeLease) -> Verdict | _Refused | _Broken:
        try:
            return _Refused() if _refuses(lease) else self._ask(lease)
        except httpx.InvalidURL as error:
            return Unclear(type(error).__name__)

    def _ask(self, lease: NodeLease) -> Verdict | _Refused | _Broken:
        try:
            url, headers = f"{lease.probe_url}/healthz", {"Connection": "close"}
            answer = self._http.get(url, headers=headers, timeout=ANSWER_WITHIN)
            health = msgspec.json.decode(answer.content, type=_Health)
        except httpx.TimeoutException:
            return Unclear("silent")
        except httpx.ConnectError as error:
            return _Refused() if _is_refusal(error) else Unclear("unreachable")
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
            return _Broken(type(error).__name__)
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
            return Unclear(type(error).__name__)
        if health.node != lease.node:
            return Unclear("another node answers")
        return Alive() if health.incarnation == lease.incarnation else Dead("another incarnation answers")


def _refuses(lease: NodeLease) -> bool:
    """Whether every address of the node's host refuses a connection. A bare one: each step of a library would
    wait for the loop, which thousands of members keep busy just then."""
    place = httpx.URL(lease.probe_url)
    if place.scheme not in _PORTS:
        return False
    port = place.port or _PORTS[place.scheme]
    try:
        socket.create_connection((place.host, port), ANSWER_WITHIN, all_errors=True).close()
    except ExceptionGroup as errors:
        return all(isinstance(error, ConnectionRefusedError) for error in errors.exceptions)
    except OSError:
        return False  # what it is instead is said by whoever asks for more
    return False


def _is_refusal(error: httpx.ConnectError) -> bool:
    """Whether every address that was tried refused the connection."""
    causes = [cause for cause in _leaves(error) if isinstance(cause, OSError)]
    return bool(causes) and all(isinstance(cause, ConnectionRefusedError) for cause in causes)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The innermost causes; libraries wrap the socket's own error, and gather several in a group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    elif (cause := error.__cause__ or error.__context__) is not None:
        yield from _leaves(cause)
    else:
        yield error
