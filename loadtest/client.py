"""HallClient: a member that also asks: sends, reads history, deletes, and speaks as staff (protocol, section 4).

CallRefused   the node or the director said no, and asking again unchanged will not help
NotDone       the deadline went by; whether a send was stored is unknown, and the same `cid` may be sent again
"""

import asyncio
from typing import Any

import msgspec

from director.contract.errors import Action
from loadtest.connection import NoAnswer
from loadtest.contract.history import NOT_DONE
from loadtest.contract.received import refusal_of
from loadtest.core.stamp import stamped_cid
from loadtest.core.way_back import SentAway
from loadtest.member import Member, MemberState
from loadtest.routing import CallRefused, NotDone
from persistence.contract.messages import Entry, Kind, Mode
from shard_node.contract.events import Changed

__all__ = ["CallRefused", "Changed", "HallClient", "HistoryAnswer", "MemberState", "NotDone"]

SEND_DEADLINE = 60.0
MAX_RETRY_JITTER = 0.2


class HistoryAnswer(msgspec.Struct, frozen=True):
    """Ack of `history`: entries by ascending number; `more` tells whether there are others beyond."""

    entries: tuple[Entry, ...]
    more: bool


class HallClient(Member):
    """A member with a voice. Use it as `async with HallClient(director_url, room, user=...) as client`."""

    async def send(
        self,
        text: str,
        *,
        reply_to: int | None = None,
        kind: Kind = Kind.MESSAGE,
        cid: str | None = None,
        timeout: float = SEND_DEADLINE,
    ) -> Changed:
        """Add a message (or a question). Tries again with the same `cid`, also over reconnections, until it is
        committed, `timeout` seconds are over (NotDone) or it is refused for good (CallRefused)."""
        body = {"text": text, "kind": kind.value} | ({} if reply_to is None else {"reply_to": reply_to})
        return await self._change("send", body, cid, timeout)

    async def delete(self, target: int, *, cid: str | None = None, timeout: float = SEND_DEADLINE) -> Changed:
        """Take the text of entry `target` away."""
        return await self._change("delete", {"target": target}, cid, timeout)

    async def notice(self, text: str | None, *, cid: str | None = None, timeout: float = SEND_DEADLINE) -> Changed:
        """Put up a notice, or take it down."""
        return await self._change("notice", {"text": text}, cid, timeout)

    async def mode(
        self, mode: Mode, *, slow_ms: int = 0, cid: str | None = None, timeout: float = SEND_DEADLINE
    ) -> Changed:
        """Say who may send."""
        return await self._change("mode", {"mode": mode.value, "slow_ms": slow_ms}, cid, timeout)

    async def history(
        self, *, before: int | None = None, after: int | None = None, limit: int = 50, timeout: float = SEND_DEADLINE
    ) -> HistoryAnswer:
        """Entries before or after a number. Does not move the position."""
        bound = {"after": after} if before is None else {"before": before}
        answer = await self._ask("history", {**bound, "limit": limit}, timeout)
        return msgspec.convert(answer, HistoryAnswer)

    async def _change(self, event: str, body: dict[str, Any], cid: str | None, timeout: float) -> Changed:
        cid = cid or stamped_cid(self._clock(), self._rng)
        self._scribe.asked(self._clock(), cid)
        try:
            answer = await self._ask(event, {"cid": cid, **body}, timeout)
        except CallRefused as refused:
            self._scribe.denied(self._clock(), cid, refused.code)
            raise
        except NotDone:
            self._scribe.denied(self._clock(), cid, NOT_DONE)
            raise
        done = msgspec.convert(answer, Changed)
        self._scribe.acked(self._clock(), cid, done)
        return done

    async def _ask(self, event: str, body: dict[str, Any], timeout: float) -> Any:
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await self._wait_for(lambda: self.is_live, None)
                    stay = self._stay
                    assert stay is not None
                    try:
                        answer = await stay.call(event, body)
                    except NoAnswer:
                        continue
                    error = refusal_of(answer)
                    if error is None:
                        return answer
                    if error.action == Action.REROUTE:
                        stay.end(SentAway(error))
                    elif error.action == Action.RETRY:
                        await self._sleep(error.retry_after_ms / 1000 + self._rng.uniform(0.0, MAX_RETRY_JITTER))
                    else:
                        raise CallRefused(error)
        except TimeoutError:
            raise NotDone(f"{event} was not settled within {timeout:g} s") from None
