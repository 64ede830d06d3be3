"""A room's history over HTTP, with a ticket and without joining; and the archive that a closed room leaves."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.fleet import Fleet
from tests.support.raw_client import Place, fresh_cid, fresh_room, member, raw_client, route, signed_ticket


async def say(fleet: Fleet, room: str, count: int) -> Place:
    """A room with some messages; a place in it."""
    async with member(fleet, room) as (client, _):
        bodies = [{"cid": fresh_cid(), "text": f"words {i}"} for i in range(1, count + 1)]
        for start in range(0, count, 8):
            assert all(ack["ok"] for ack in await client.ask_all("send", bodies[start : start + 8]))
    return await route(fleet, room)


async def read(place: Place, query: str = "", *, ticket: str | None = None, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.get(
            f"{place.url}/rooms/{place.room}/messages{query}",
            headers={"Authorization": f"Bearer {ticket or place.ticket}", **headers},
        )


def code_of(answer: httpx.Response) -> tuple[int, str]:
    body: dict[str, Any] = answer.json()
    assert set(body["error"]) == {"code", "message", "action", "temporary", "retry_after_ms"}
    return answer.status_code, body["error"]["code"]


async def test_a_page_is_what_the_event_answers(fleet: Fleet) -> None:
    place = await say(fleet, fresh_room(), 12)
    async with raw_client(place) as client:
        await client.join({"v": 1, "ticket": place.ticket, "tail": 0})
        for query, body in (
            ("", {}),
            ("?limit=5", {"limit": 5}),
            ("?before=9&limit=3", {"before": 9, "limit": 3}),
            ("?after=9", {"after": 9}),
            ("?after=12", {"after": 12}),
            ("?after=0&limit=200&colour=blue", {"after": 0, "limit": 200}),
        ):
            answer = await read(place, query)
            assert answer.status_code == 200
            assert answer.json() == await client.ask("history", body)
            assert answer.headers["Cache-Control"] == "no-store"
    page = (await read(place, "?before=9&limit=3")).json()
    assert ([it["seq"] for it in page["entries"]], page["more"]) == ([6, 7, 8], True)


async def test_whom_no_ticket_lets_in_is_refused_as_at_the_door(fleet: Fleet) -> None:
    place = await say(fleet, fresh_room(), 1)
    other = await route(fleet, fresh_room())
    assert code_of(await read(place, ticket="nonsense")) == (401, "TICKET_INVALID")
    assert code_of(await read(place, ticket=signed_ticket(fleet, place, key="k" * 32))) == (401, "TICKET_INVALID")
    assert code_of(await read(place, ticket=signed_ticket(fleet, place, node="elsewhere"))) == (401, "TICKET_INVALID")
    assert code_of(await read(place, ticket=signed_ticket(fleet, place, room=other.room))) == (401, "TICKET_INVALID")
    assert code_of(await read(place, ticket=signed_ticket(fleet, place, expires_at_ms=1))) == (401, "TICKET_EXPIRED")
    async with httpx.AsyncClient() as http:
        url = f"{place.url}/rooms/{place.room}/messages"
        for headers in ({}, {"Authorization": ""}, {"Authorization": f"Basic {place.ticket}"}):
            assert code_of(await http.get(url, headers=headers)) == (401, "TICKET_INVALID")
        in_url = await http.get(url, params={"ticket": place.ticket, "token": place.ticket})
        assert code_of(in_url) == (401, "TICKET_INVALID"), "a ticket in a URL ends in a log"


async def test_a_room_of_another_node_is_refused(fleet: Fleet) -> None:
    place = await say(fleet, fresh_room(), 1)
    other = next(name for name in fleet.node_urls if name != place.node)
    ticket = signed_ticket(fleet, place, node=other)
    elsewhere = Place(place.room, other, fleet.node_urls[other], place.path, place.epoch, ticket)
    assert code_of(await read(elsewhere)) == (409, "NOT_OWNER")


@pytest.mark.parametrize(
    "query",
    ["?before=1&after=1", "?limit=0", "?limit=201", "?before=x", "?after=-1", "?after=1.5", "?before=", "?limit=٣"],
)
async def test_a_question_that_is_none_is_a_bad_request(fleet: Fleet, query: str) -> None:
    place = await route(fleet, fresh_room())
    assert code_of(await read(place, query)) == (400, "BAD_REQUEST")


async def test_no_other_method_is_answered(fleet: Fleet) -> None:
    place = await route(fleet, fresh_room())
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{place.url}/rooms/{place.room}/messages")
    assert code_of(answer) == (404, "UNSUPPORTED")


async def test_an_allowed_page_may_ask_and_a_foreign_one_may_not(fleet: Fleet) -> None:
    place = await say(fleet, fresh_room(), 1)
    page = fleet.director_url
    async with httpx.AsyncClient() as http:
        url = f"{place.url}/rooms/{place.room}/messages"
        asked = {
            "Origin": page,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        }
        preflight = await http.options(url, headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == page
        assert preflight.headers["Access-Control-Allow-Methods"] == "GET"
        assert preflight.headers["Access-Control-Allow-Headers"].lower() == "authorization"
        foreign = await http.options(url, headers={**asked, "Origin": "https://evil.example"})
        assert code_of(foreign) == (403, "FORBIDDEN")
        assert "access-control-allow-origin" not in foreign.headers
    for ticket in (place.ticket, "nonsense"):
        answer = await read(place, ticket=ticket, Origin=page)
        assert answer.headers.get_list("access-control-allow-origin") == [page], "an error is for the page's eyes too"
        assert "access-control-allow-credentials" not in answer.headers
    assert code_of(await read(place, Origin="https://evil.example")) == (403, "FORBIDDEN")
    assert "access-control-allow-origin" not in (await read(place)).headers


async def test_a_deleted_text_is_in_no_page(fleet: Fleet) -> None:
    place = await say(fleet, fresh_room(), 3)
    async with raw_client(place) as client:
        await client.join({"v": 1, "ticket": place.ticket})
        assert (await client.ask("delete", {"cid": fresh_cid(), "target": 2}))["ok"]
    answer = await read(place)
    assert "words 2" not in answer.text
    assert [it.get("deleted") for it in answer.json()["entries"]] == [None, True, None, None]


async def test_who_asks_too_often_is_told_to_slow_down(fleet: Fleet) -> None:
    place = await say(fleet, fresh_room(), 1)
    url, headers = f"{place.url}/rooms/{place.room}/messages?limit=1", {"Authorization": f"Bearer {place.ticket}"}
    limited: list[httpx.Response] = []
    async with httpx.AsyncClient(timeout=60) as http:
        for _ in range(100):
            answers = await asyncio.gather(*[http.get(url, headers=headers) for _ in range(50)])
            if limited := [it for it in answers if it.status_code != 200]:
                break
    assert {code_of(it) for it in limited} == {(429, "RATE_LIMITED")}
    assert int(limited[0].headers["Retry-After"]) >= 1


async def test_a_closed_room_is_an_archive_to_read(fleet: Fleet) -> None:
    """Staff close it; students still join, resume and read, by event and by HTTP, and nobody sends."""
    room = fresh_room()
    await say(fleet, room, 5)
    async with member(fleet, room, user="lee", role="lecturer") as (lecturer, _):
        assert (await lecturer.ask("notice", {"cid": fresh_cid(), "text": "the exam is on Friday"}))["ok"]
        assert (await lecturer.ask("mode", {"cid": fresh_cid(), "mode": "closed"}))["seq"] == 7
        refused = await lecturer.ask("send", {"cid": fresh_cid(), "text": "one thing more"})
        assert refused["error"]["code"] == "MODE_CLOSED"
    async with member(fleet, room, user="ben") as (student, joined):
        assert [it["seq"] for it in joined["entries"]] == list(range(1, 8))
        assert joined["snapshot"]["mode"] == "closed"
        assert joined["snapshot"]["notice"] == "the exam is on Friday"
        refused = await student.ask("send", {"cid": fresh_cid(), "text": "may I?"})
        assert (refused["error"]["code"], refused["error"]["action"]) == ("MODE_CLOSED", "stay")
        page = await student.ask("history", {"before": 4})
        assert [it["text"] for it in page["entries"]] == ["words 1", "words 2", "words 3"]
        since = {**joined["pos"], "seq": 4}
    async with member(fleet, room, user="ben", since=since) as (_, back):
        assert (back["recovered"], [it["seq"] for it in back["entries"]]) == (True, [5, 6, 7])
    answer = await read(await route(fleet, room), "?after=0")
    assert [it["seq"] for it in answer.json()["entries"]] == list(range(1, 8))
    async with member(fleet, room, user="lee", role="lecturer") as (lecturer, _):
        assert (await lecturer.ask("mode", {"cid": fresh_cid(), "mode": "open"}))["ok"], "staff may open it again"
