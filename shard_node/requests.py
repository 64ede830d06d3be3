"""What a member may ask of its room: who may, what it needs, and what the ack says (protocol, section 4)."""

import asyncio
import unicodedata
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from director.contract.errors import ErrorCode, Refusal
from director.contract.ids import RoomId, Seq, UserId
from persistence.contract.messages import Draft, Kind
from persistence.contract.store import (
    Appended,
    Duplicate,
    Fenced,
    Outcome,
    Page,
    RoomHistory,
    StoreUnavailable,
    Unfounded,
    Unsettled,
)
from shard_node.contract.events import (
    MAX_ANSWER_BYTES,
    MAX_TEXT_LENGTH,
    REACTIONS,
    Changed,
    DeleteRequest,
    Done,
    HistoryPage,
    HistoryRequest,
    Members,
    MembersRequest,
    ModeRequest,
    NoticeRequest,
    ReactRequest,
    SendRequest,
)
from shard_node.core.room import Disallowed
from shard_node.fanout.members import Member
from shard_node.host import RoomHost
from shard_node.hosted_room import HostedRoom

Request = SendRequest | HistoryRequest | DeleteRequest | NoticeRequest | ModeRequest | ReactRequest | MembersRequest
Answer = Callable[[Any], None]
Later = Callable[[Answer, Coroutine[Any, Any, Any]], None]

REQUESTS: Mapping[str, type[Request]] = {
    "send": SendRequest,
    "history": HistoryRequest,
    "delete": DeleteRequest,
    "notice": NoticeRequest,
    "mode": ModeRequest,
    "react": ReactRequest,
    "members": MembersRequest,
}

MAX_COMBINING_RUN = 30
MAX_READS = 2
MAX_READ_TRIES = 3
POSTS = frozenset({SendRequest, DeleteRequest, NoticeRequest, ModeRequest})


class RoomRequests:
    """Acts on a checked request. `later` answers with what a coroutine gives or with the Refusal that it raises."""

    def __init__(self, host: RoomHost, history: RoomHistory, later: Later) -> None:
        self._host = host
        self._history = history
        self._later = later
        self._reading: dict[tuple[RoomId, HistoryRequest, int], asyncio.Future[Page]] = {}
        # a crowd that scrolls must leave connections to those who open rooms and confirm rows
        self._reads = asyncio.Semaphore(MAX_READS)

    def act(self, hosted: HostedRoom, member: Member, request: Request, answer: Answer) -> None:
        """Answer once, now or later; or raise Refusal. Nothing waits before a draft stands in the room's order."""
        match request:
            case SendRequest():
                self._post(hosted, _message_of(member, request), answer)
            case DeleteRequest():
                draft = Draft(request.cid, member.author, Kind.DELETE, target=Seq(request.target))
                self._post(hosted, draft, answer)
            case NoticeRequest():
                _staff_only(member, "put up a notice")
                text = None if request.text is None else _tidy(request.text)
                self._post(hosted, Draft(_tidy_cid(request.cid), member.author, Kind.NOTICE, text=text), answer)
            case ModeRequest():
                _staff_only(member, "change who may send")
                draft = Draft(request.cid, member.author, Kind.MODE, mode=request.mode, slow_ms=request.slow_ms)
                self._post(hosted, draft, answer)
            case HistoryRequest():
                self._later(answer, self.read_history(hosted, request))
            case ReactRequest():
                if request.emoji not in REACTIONS:
                    raise Refusal(ErrorCode.BAD_REQUEST, f"reactions of this room are {' '.join(REACTIONS)}")
                hosted.reactions[request.emoji] += 1
                answer(Done())
            case MembersRequest():
                _staff_only(member, "list the members")
                after = None if request.after is None else UserId(request.after)
                members, more = hosted.members.page(after=after, limit=request.limit)
                answer(Members(members, more))

    def _post(self, hosted: HostedRoom, draft: Draft, answer: Answer) -> None:
        _tidy_cid(draft.cid)

        def settled(outcome: Outcome | Refusal | Disallowed) -> None:
            if isinstance(outcome, Disallowed):
                self._later(answer, self._earlier_result(hosted, draft, outcome))
                return
            try:
                answer(changed_of(draft, outcome))
            except Refusal as refusal:
                answer(refusal.shape)

        disallowed = self._host.post(hosted, draft, settled)
        if disallowed is not None:
            settled(disallowed)

    async def _earlier_result(self, hosted: HostedRoom, draft: Draft, disallowed: Disallowed) -> Changed:
        """What the room refuses now may be the retry of something that it took before."""
        found = await self._find(hosted, draft)
        if found is None:
            wait_ms = round(disallowed.wait * 1000)
            raise Refusal(disallowed.code, disallowed.message, retry_after_ms=wait_ms)
        return changed_of(draft, found)

    async def _find(self, hosted: HostedRoom, draft: Draft) -> Duplicate | None:
        try:
            async with self._reads:
                return await self._history.find(hosted.record.room, author=draft.by.id, cid=draft.cid)
        except StoreUnavailable as error:
            raise _store_unavailable() from error

    async def read_history(self, hosted: HostedRoom, request: HistoryRequest) -> HistoryPage:
        """The page that was asked for. Raises Refusal."""
        if request.before is not None and request.after is not None:
            raise Refusal(ErrorCode.BAD_REQUEST, "history goes before or after a number, not both")
        try:
            page = await self._settled_page(hosted, request)
        except StoreUnavailable as error:
            raise _store_unavailable() from error
        # the store may have committed what no member has been shown yet
        head = hosted.room.head
        entries = tuple(entry for entry in page.entries if entry.seq <= head)
        return HistoryPage(entries, page.more)

    async def _settled_page(self, hosted: HostedRoom, request: HistoryRequest) -> Page:
        """A page that no deletion has overtaken: a text that is gone must not be given once more."""
        for _ in range(MAX_READ_TRIES):
            deletions = hosted.room.deletions
            page = await self._shared_page(hosted.record.room, request, deletions)
            if hosted.room.deletions == deletions:
                return page
        raise Refusal(ErrorCode.BUSY, "much is being deleted just now; try again", retry_after_ms=500)

    async def _shared_page(self, room: RoomId, request: HistoryRequest, deletions: int) -> Page:
        """A class that scrolls up together reads each range once."""
        key = (room, request, deletions)
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.ensure_future(self._page(room, request))
            self._reading[key] = reading
            reading.add_done_callback(lambda done: self._reading.pop(key))
        return await asyncio.shield(reading)

    async def _page(self, room: RoomId, request: HistoryRequest) -> Page:
        limit, max_bytes = request.limit, MAX_ANSWER_BYTES
        async with self._reads:
            if request.after is not None:
                return await self._history.read_after(room, after=Seq(request.after), limit=limit, max_bytes=max_bytes)
            before = None if request.before is None else Seq(request.before)
            return await self._history.read_before(room, before=before, limit=limit, max_bytes=max_bytes)


def changed_of(draft: Draft, outcome: Outcome | Refusal) -> Changed:
    """The ack for what became of a draft. Raises Refusal where it came to nothing."""
    match outcome:
        case Appended(entry, epoch):
            return Changed(entry.seq, epoch, entry.at, dup=False)
        case Duplicate(seq, epoch, at, digest):
            if digest != draft.digest:
                raise Refusal(ErrorCode.BAD_REQUEST, "this cid was used for something else; take a new one")
            return Changed(seq, epoch, at, dup=True)
        case Fenced():
            raise Refusal(ErrorCode.NOT_OWNER, "this node no longer serves the room; ask the director")
        case Unfounded("not_author"):
            raise Refusal(ErrorCode.FORBIDDEN, "only its author and staff may delete an entry")
        case Unfounded():
            raise Refusal(ErrorCode.BAD_REQUEST, "there is no such message in this room")
        case Unsettled():
            raise _store_unavailable()
        case Refusal():
            raise outcome


def _message_of(member: Member, request: SendRequest) -> Draft:
    reply_to = None if request.reply_to is None else Seq(request.reply_to)
    return Draft(request.cid, member.author, Kind(request.kind), text=_tidy(request.text), reply_to=reply_to)


def _tidy(text: str) -> str:
    if len(text) > 4 * MAX_TEXT_LENGTH:
        raise Refusal(ErrorCode.BAD_REQUEST, f"text has 1 to {MAX_TEXT_LENGTH} characters, not {len(text)}")
    _composable(text)
    tidy = unicodedata.normalize("NFC", text)
    if not 1 <= len(tidy) <= MAX_TEXT_LENGTH:
        raise Refusal(ErrorCode.BAD_REQUEST, f"text has 1 to {MAX_TEXT_LENGTH} characters, not {len(tidy)}")
    _storable(tidy, "text")
    return tidy


def _composable(text: str) -> None:
    """NFC sorts a run of combining marks in quadratic time; no script needs more than 30 (UAX #15, section 13)."""
    if text.isascii():
        return
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run > MAX_COMBINING_RUN:
            raise Refusal(ErrorCode.BAD_REQUEST, f"text stacks more than {MAX_COMBINING_RUN} marks on one character")


def _tidy_cid(cid: str) -> str:
    _storable(cid, "cid")
    return cid


def _storable(text: str, what: str) -> None:
    """Half of a surrogate pair has no UTF-8, and PostgreSQL keeps no NUL."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Refusal(ErrorCode.BAD_REQUEST, f"{what} holds a character that is none")


def _staff_only(member: Member, deed: str) -> None:
    if not member.author.role.is_staff:
        raise Refusal(ErrorCode.FORBIDDEN, f"only lecturers and assistants may {deed}")


def _store_unavailable() -> Refusal:
    return Refusal(
        ErrorCode.STORE_UNAVAILABLE, "the store does not answer; try again with the same cid", retry_after_ms=1000
    )
