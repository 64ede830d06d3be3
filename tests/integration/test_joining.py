"""Joining a room, against real processes: protocol section 3."""

import asyncio
import json
from typing import Any

import pytest
import socketio

from tests.support.fleet import Fleet
from tests.support.raw_client import fresh_cid, fresh_room, member, raw_client, route, signed_ticket


async def refusal_of(fleet: Fleet, auth: Any, *, room: str | None = None) -> dict[str, Any]:
    """How the owner of a fresh room refuses this auth."""
    place = await route(fleet, room or fresh_room())
    async with raw_client(place) as client:
        answer = await client.join(auth(place) if callable(auth) else auth)
    assert answer["ok"] is False, answer
    error: dict[str, Any] = answer["error"]
    assert set(error) == {"code", "message", "action", "temporary", "retry_after_ms"}
    return error


@pytest.mark.parametrize("auth", [None, {}, {"v": 1}, {"v": 1, "ticket": None}])
async def test_without_a_ticket_nobody_joins(fleet: Fleet, auth: object) -> None:
    error = await refusal_of(fleet, auth)
    assert (error["code"], error["action"]) == ("TICKET_INVALID", "reroute")


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "somebody else's key, of thirty-two characters"},
        {"node": "node-77"},
        {"room": "another room's name is not a room!"},
    ],
)
async def test_a_ticket_that_is_forged_or_for_elsewhere_is_invalid(fleet: Fleet, changes: dict[str, Any]) -> None:
    error = await refusal_of(fleet, lambda place: {"v": 1, "ticket": signed_ticket(fleet, place, **changes)})
    assert error["code"] in ("TICKET_INVALID", "NOT_OWNER")
    assert error["action"] == "reroute"


@pytest.mark.parametrize("ticket", ["", "x", "a.b.c", "e30.e30.", "ü" * 9_000])
async def test_what_is_no_ticket_at_all_is_invalid(fleet: Fleet, ticket: str) -> None:
    assert (await refusal_of(fleet, {"v": 1, "ticket": ticket}))["code"] == "TICKET_INVALID"


async def test_a_ticket_with_a_changed_word_is_invalid(fleet: Fleet) -> None:
    def promoted(place: Any) -> dict[str, Any]:
        head, _, signature = place.ticket.split(".")
        body = signed_ticket(fleet, place, role="lecturer").split(".")[1]
        return {"v": 1, "ticket": f"{head}.{body}.{signature}"}

    assert (await refusal_of(fleet, promoted))["code"] == "TICKET_INVALID"


async def test_an_expired_ticket_sends_the_client_back_to_the_director(fleet: Fleet) -> None:
    error = await refusal_of(fleet, lambda place: {"v": 1, "ticket": signed_ticket(fleet, place, expires_at_ms=1)})
    assert (error["code"], error["action"]) == ("TICKET_EXPIRED", "reroute")


async def test_a_ticket_of_another_room_opens_that_room_alone(fleet: Fleet) -> None:
    mine, other = fresh_room("mine"), fresh_room("other")
    place = await route(fleet, mine)
    async with raw_client(place) as client:
        joined = await client.join({"v": 1, "ticket": place.ticket})
        assert joined["room"] == mine
    error = await refusal_of(fleet, lambda _: {"v": 1, "ticket": place.ticket, "room": other}, room=mine)
    assert error["code"] == "TICKET_INVALID"


async def test_a_room_that_the_node_does_not_own_is_not_opened(fleet: Fleet) -> None:
    never_placed = fresh_room()
    error = await refusal_of(fleet, lambda place: {"v": 1, "ticket": signed_ticket(fleet, place, room=never_placed)})
    assert (error["code"], error["action"]) == ("NOT_OWNER", "reroute")


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({"tail": 201}, "BAD_REQUEST"),
        ({"tail": -1}, "BAD_REQUEST"),
        ({"tail": "50"}, "BAD_REQUEST"),
        ({"since": 5}, "BAD_REQUEST"),
        ({"since": {"log": "x"}}, "BAD_REQUEST"),
        ({"since": {"log": "x", "epoch": 1, "seq": -1}}, "BAD_REQUEST"),
        ({"since": {"log": "x", "epoch": 1, "seq": 2**60}}, "BAD_REQUEST"),
        ({"ticket": 7}, "BAD_REQUEST"),
        ({"v": 2}, "UNSUPPORTED"),
    ],
)
async def test_a_malformed_request_to_join_is_not_to_be_repeated(fleet: Fleet, auth: Any, code: str) -> None:
    error = await refusal_of(fleet, lambda place: {"v": 1, "ticket": place.ticket, **auth})
    assert (error["code"], error["action"], error["temporary"]) == (code, "fix", False)


@pytest.mark.parametrize("auth", ["text", 5, [1], True])
async def test_an_auth_that_is_no_object_is_refused_and_not_hung(fleet: Fleet, auth: object) -> None:
    assert (await refusal_of(fleet, auth))["code"] in ("BAD_REQUEST", "TICKET_INVALID")


async def test_connect_comes_first_then_joined_then_frames_then_early_answers(fleet: Fleet) -> None:
    room = fresh_room()
    place = await route(fleet, room)
    async with raw_client(place) as client:
        assert client.handshake["pingInterval"] == 10_000
        assert client.handshake["pingTimeout"] == 5_000
        assert client.handshake["maxPayload"] == 65_536
        await client.say("40" + json.dumps({"v": 1, "ticket": place.ticket}))
        await client.say("427" + json.dumps(["send", {"cid": fresh_cid(), "text": "early"}]))
        names = [(await client.packet())[0] for _ in range(4)]
    assert names[:2] == ["connect", "joined"]
    assert sorted(names[2:]) == ["ack:7", "frame"]


async def test_joined_has_the_shape_of_the_protocol(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room, user="ann") as (_, joined):
        assert joined["room"] == room
        assert joined["you"] == {"id": "ann", "name": "Ann", "role": "student"}
        assert set(joined["pos"]) == {"log", "epoch", "seq"}
        assert (joined["recovered"], joined["reason"], joined["entries"]) == (False, None, [])
        assert joined["snapshot"] == {"mode": "open", "slow_ms": 0, "notice": None, "members": 1}
        assert isinstance(joined["limits"], dict)
        assert isinstance(joined["reconnect_window_ms"], int)


async def test_a_member_that_comes_back_gets_exactly_what_it_missed(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room, user="ann") as (ann, _):
        await ann.ask("send", {"cid": fresh_cid(), "text": "one"})
        async with member(fleet, room, user="ben") as (_, joined):
            position = joined["pos"]
            assert [entry["text"] for entry in joined["entries"]] == ["one"]
        for text in ("two", "three"):
            await ann.ask("send", {"cid": fresh_cid(), "text": text})
        async with member(fleet, room, user="ben", since=position) as (_, back):
            assert (back["recovered"], back["reason"]) == (True, None)
            assert [(entry["seq"], entry["text"]) for entry in back["entries"]] == [(2, "two"), (3, "three")]
        async with member(fleet, room, user="cy", tail=1) as (_, late):
            assert [entry["text"] for entry in late["entries"]] == ["three"]
        async with member(fleet, room, user="cy", tail=0) as (_, late):
            assert (late["entries"], late["pos"]["seq"]) == ([], 3)


async def test_a_position_that_cannot_be_followed_is_answered_with_the_reason_and_the_tail(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room) as (ann, joined):
        await ann.ask("send", {"cid": fresh_cid(), "text": "one"})
        position = joined["pos"]
    for changes in ({"log": "another"}, {"seq": 99}, {"log": "another", "epoch": 2**40}):
        async with member(fleet, room, since={**position, **changes}) as (_, back):
            assert (back["recovered"], back["reason"]) == (False, "new_log")
            assert [entry["text"] for entry in back["entries"]] == ["one"]


async def test_a_position_of_a_later_owner_is_refused_by_an_earlier_one(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room) as (_, joined):
        since = {**joined["pos"], "epoch": joined["pos"]["epoch"] + 10_000}
    error = await refusal_of(fleet, lambda place: {"v": 1, "ticket": place.ticket, "since": since}, room=room)
    assert (error["code"], error["action"]) == ("NOT_OWNER", "reroute")


async def test_more_than_a_recovery_may_hold_is_too_far(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room, user="lee", role="lecturer") as (lee, joined):
        for _ in range(63):
            acks = await lee.ask_all("send", [{"cid": fresh_cid(), "text": "x"} for _ in range(8)])
            assert all(ack["ok"] for ack in acks)
        since = joined["pos"]
        async with member(fleet, room, since={**since, "seq": 4}) as (_, back):
            assert (back["recovered"], len(back["entries"])) == (True, 500)
        async with member(fleet, room, since={**since, "seq": 3}, tail=20) as (_, back):
            assert (back["recovered"], back["reason"], len(back["entries"])) == (False, "too_far", 20)


async def test_a_stock_client_reads_the_code_of_a_refusal(fleet: Fleet) -> None:
    place = await route(fleet, fresh_room())
    client = socketio.AsyncClient(reconnection=False)
    refused = asyncio.get_running_loop().create_future()
    client.on("connect_error", refused.set_result)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(
            place.url, socketio_path=place.path, auth={"v": 1, "ticket": "forged"}, transports=["websocket"]
        )
    error = await asyncio.wait_for(refused, 5)
    assert error["message"] == "TICKET_INVALID"
    assert error["data"]["error"]["code"] == "TICKET_INVALID"


async def test_only_the_default_namespace_is_served(fleet: Fleet) -> None:
    place = await route(fleet, fresh_room())
    async with raw_client(place) as client:
        await client.say("40/admin," + json.dumps({"v": 1, "ticket": place.ticket}))
        packet = await asyncio.wait_for(client.socket.recv(), 5)
        assert str(packet).startswith("44/admin,")


async def test_a_second_request_to_connect_changes_nothing(fleet: Fleet) -> None:
    room = fresh_room()
    async with member(fleet, room) as (ann, _):
        place = await route(fleet, room)
        await ann.say("40" + json.dumps({"v": 1, "ticket": place.ticket}))
        assert (await ann.ask("send", {"cid": fresh_cid(), "text": "still here"}))["seq"] == 1
