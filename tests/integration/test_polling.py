"""Long-polling over connections that break: nothing that a poll has taken is lost unseen."""

import asyncio
import json

import httpx
import pytest

from tests.support.fleet import Fleet
from tests.support.raw_client import Place, fresh_cid, fresh_room, member, route


def address(place: Place, sid: str = "") -> str:
    return f"{place.url}{place.path}?EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")


async def joined_by_polling(http: httpx.AsyncClient, place: Place) -> str:
    """The session of a member that has joined, and whose last poll is answered."""
    sid: str = json.loads((await http.get(address(place))).text[1:])["sid"]
    await http.post(address(place, sid), content="40" + json.dumps({"v": 1, "ticket": place.ticket}))
    seen = ""
    async with asyncio.timeout(20):
        while "joined" not in seen:
            seen += (await http.get(address(place, sid))).text
    return sid


async def test_a_second_poll_at_once_ends_the_session_instead_of_losing_frames(fleet: Fleet) -> None:
    """The first poll's connection had been reset and its client's library tried again: the dead one took a frame."""
    room = fresh_room()
    place = await route(fleet, room, user="poll")
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        sid = await joined_by_polling(http, place)
        waiting = asyncio.create_task(http.get(address(place, sid)))
        async with member(fleet, room, user="ann") as (ann, _):
            answers = [await http.get(address(place, sid)), await waiting]
            assert sorted(answer.status_code for answer in answers) == [200, 400]
            await ann.ask("send", {"cid": fresh_cid(), "text": "nobody may lose this"})
        assert "nobody may lose this" not in "".join(answer.text for answer in answers)
        assert (await http.get(address(place, sid))).status_code == 400


@pytest.mark.parametrize("polls", [2, 5])
async def test_polls_one_after_the_other_go_on(fleet: Fleet, polls: int) -> None:
    room = fresh_room()
    place = await route(fleet, room, user="poll")
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        sid = await joined_by_polling(http, place)
        async with member(fleet, room, user="ann") as (ann, _):
            for number in range(polls):
                await ann.ask("send", {"cid": fresh_cid(), "text": f"text {number}"})
                seen = ""
                async with asyncio.timeout(20):
                    while f"text {number}" not in seen:
                        seen = (await http.get(address(place, sid))).text
